"""Visitors appear under their pseudonym only; nothing here can be edited, and erasure has its own command."""

from __future__ import annotations

from django.contrib import admin

from adplatform.audience.models import Behaviour, Consent, Erasure, Segment, Visitor
from adplatform.core.admin import ReadOnlyAdmin


@admin.register(Visitor)
class VisitorAdmin(ReadOnlyAdmin):
    list_display = ["pseudonym", "source", "first_seen_at", "last_seen_at"]
    list_filter = ["source"]
    search_fields = ["pseudonym"]


@admin.register(Consent)
class ConsentAdmin(ReadOnlyAdmin):
    list_display = ["visitor", "is_granted", "source", "at"]
    list_filter = ["is_granted", "source"]
    list_select_related = ["visitor"]
    search_fields = ["visitor__pseudonym"]


@admin.register(Behaviour)
class BehaviourAdmin(ReadOnlyAdmin):
    list_display = ["visitor", "kind", "item", "occurred_at"]
    list_filter = ["kind"]
    list_select_related = ["visitor"]
    search_fields = ["visitor__pseudonym", "item"]


@admin.register(Segment)
class SegmentAdmin(ReadOnlyAdmin):
    list_display = ["name", "organisation"]
    list_select_related = ["organisation"]
    search_fields = ["name", "organisation__name"]
    exclude = ["visitors"]


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = ["subject", "at"]
    search_fields = ["subject"]
    ordering = ["-at"]
