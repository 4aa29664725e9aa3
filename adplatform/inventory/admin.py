from __future__ import annotations

from django.contrib import admin

from adplatform.core.admin import ReadOnlyAdmin, ServedAdmin
from adplatform.inventory.models import (
    AdSlot,
    BlockRule,
    Category,
    CategoryLink,
    CompetingPair,
    FloorRule,
    HouseAd,
    Site,
)


@admin.register(Site)
class SiteAdmin(ServedAdmin):
    list_display = ["name", "domain", "publisher", "category", "language", "currency", "is_active"]
    list_filter = ["is_active", "category", "language", "currency"]
    list_select_related = ["publisher"]
    search_fields = ["name", "domain", "public_id", "publisher__name"]
    autocomplete_fields = ["publisher"]
    readonly_fields = ["public_id", "created_at", "updated_at"]


@admin.register(AdSlot)
class AdSlotAdmin(ServedAdmin):
    list_display = ["name", "site", "public_id", "format", "width", "height", "floor_micros", "is_active"]
    list_filter = ["is_active", "format"]
    list_select_related = ["site"]
    search_fields = ["name", "public_id", "site__name", "site__domain"]
    autocomplete_fields = ["site"]
    readonly_fields = [
        "public_id",
        "passback",
        "created_at",
        "updated_at",
    ]  # a passback is checked in the portal


@admin.register(Category)
class CategoryAdmin(ReadOnlyAdmin):
    """Ordered in the console, where it leaves an entry in the audit log."""

    list_display = ["name", "parent", "description"]
    list_select_related = ["parent"]


@admin.register(CategoryLink)
class CategoryLinkAdmin(ReadOnlyAdmin):
    list_display = ["first", "second", "weight"]
    list_select_related = ["first", "second"]


@admin.register(BlockRule)
class BlockRuleAdmin(ReadOnlyAdmin):
    """Changed by its publisher, in the portal or through the API, where it leaves an entry in the audit log."""

    list_display = ["publisher", "kind", "advertiser", "value", "site", "slot", "created_at", "removed_at"]
    list_filter = ["kind"]
    list_select_related = ["publisher", "advertiser", "site", "slot__site"]
    search_fields = ["publisher__name", "value"]


@admin.register(FloorRule)
class FloorRuleAdmin(ReadOnlyAdmin):
    list_display = ["publisher", "site", "slot", "country", "device", "floor_micros", "removed_at"]
    list_filter = ["device"]
    list_select_related = ["publisher", "site", "slot__site"]
    search_fields = ["publisher__name", "country"]


@admin.register(HouseAd)
class HouseAdAdmin(ReadOnlyAdmin):
    list_display = [
        "name",
        "publisher",
        "site",
        "slot",
        "format",
        "width",
        "height",
        "is_active",
        "removed_at",
    ]
    list_filter = ["is_active", "format"]
    list_select_related = ["publisher", "site", "slot__site"]
    search_fields = ["name", "headline", "publisher__name"]


@admin.register(CompetingPair)
class CompetingPairAdmin(ReadOnlyAdmin):
    list_display = ["publisher", "first", "second", "created_at"]
    list_select_related = ["publisher", "first", "second"]
    search_fields = ["publisher__name", "first__name", "second__name"]
