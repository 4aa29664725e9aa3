from __future__ import annotations

from django.contrib import admin

from adplatform.campaigns.models import (
    AdvertiserCap,
    Annotation,
    AnnotationItem,
    AnnotationTask,
    Budget,
    Campaign,
    Creative,
    LeaseEpoch,
    LineItem,
    OperatorRule,
    Purse,
)
from adplatform.core.admin import ReadOnlyAdmin, ServedAdmin


@admin.register(Campaign)
class CampaignAdmin(ServedAdmin):
    list_display = [
        "name",
        "organisation",
        "status",
        "bid_strategy",
        "currency",
        "daily_budget_micros",
        "start_at",
        "end_at",
        "source",
    ]
    list_filter = ["status", "bid_strategy", "source", "currency"]
    list_select_related = ["organisation"]
    search_fields = ["name", "public_id", "organisation__name"]
    autocomplete_fields = ["organisation"]
    readonly_fields = ["public_id", "created_at", "updated_at"]


@admin.register(LineItem)
class LineItemAdmin(ServedAdmin):
    list_display = ["name", "campaign", "status", "bid_micros", "pacing", "cap_impressions"]
    list_filter = ["status", "pacing"]
    list_select_related = ["campaign"]
    search_fields = ["name", "public_id", "campaign__name"]
    autocomplete_fields = ["campaign"]
    readonly_fields = ["public_id", "created_at", "updated_at"]


@admin.register(Creative)
class CreativeAdmin(ServedAdmin):
    """The review state is changed in the console only, where it leaves an entry in the audit log."""

    list_display = ["name", "line_item", "format", "language", "status", "review", "reviewed_at"]
    list_filter = ["review", "status", "format", "language"]
    list_select_related = ["line_item"]
    search_fields = ["name", "headline", "public_id", "landing_url", "external_key"]
    autocomplete_fields = ["line_item"]
    readonly_fields = [
        "public_id",
        "review",
        "review_note",
        "reviewed_by",
        "reviewed_at",
        "created_at",
        "updated_at",
    ]


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    list_display = ["campaign", "date", "amount_micros", "spent_micros"]
    list_select_related = ["campaign"]
    search_fields = ["campaign__name"]


@admin.register(Purse)
class PurseAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "granted_micros", "spent_micros", "granted_at"]
    list_select_related = ["organisation"]
    search_fields = ["organisation__name"]


@admin.register(AdvertiserCap)
class AdvertiserCapAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "cap_impressions", "cap_window_seconds"]
    list_select_related = ["organisation"]
    search_fields = ["organisation__name"]


@admin.register(LeaseEpoch)
class LeaseEpochAdmin(ReadOnlyAdmin):
    list_display = ["number", "serial", "began_at", "renewed_at"]


@admin.register(AnnotationTask)
class AnnotationTaskAdmin(ReadOnlyAdmin):
    list_display = ["public_id", "question", "sampling", "created_by", "created_at"]
    list_select_related = ["created_by"]


@admin.register(AnnotationItem)
class AnnotationItemAdmin(ReadOnlyAdmin):
    list_display = ["task", "creative", "place"]
    list_select_related = ["task", "creative"]


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    list_display = ["item", "annotator", "label", "at"]
    list_select_related = ["item", "annotator"]


@admin.register(OperatorRule)
class OperatorRuleAdmin(ReadOnlyAdmin):
    """Written and stopped in the console, where the effect is shown and the audit log kept."""

    list_display = [
        "action",
        "reason",
        "advertiser",
        "category",
        "topic",
        "site",
        "start_at",
        "end_at",
        "stopped_at",
    ]
    list_filter = ["action", ("stopped_at", admin.EmptyFieldListFilter)]
    list_select_related = ["advertiser", "site"]
