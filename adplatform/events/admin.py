"""Facts and the statistics made of them: shown as they are, edited by nobody."""

from __future__ import annotations

from django.contrib import admin

from adplatform.core.admin import ReadOnlyAdmin
from adplatform.events.models import (
    AdDecision,
    Adjustment,
    Click,
    Conversion,
    ConversionAction,
    Credit,
    DailyStat,
    DeliveryHour,
    Feedback,
    FillStat,
    HourlyStat,
    Impression,
    Invalidation,
    RefusedStat,
    TallyReport,
    View,
)


@admin.register(AdDecision)
class AdDecisionAdmin(ReadOnlyAdmin):
    list_display = [
        "decision_id",
        "served_at",
        "slot_id",
        "campaign_id",
        "creative_id",
        "no_ad",
        "mode",
        "price_micros",
        "pctr",
        "propensity",
    ]
    list_filter = ["mode", "source", "price_kind", "device"]
    search_fields = ["decision_id", "request_id"]
    ordering = ["-served_at"]


@admin.register(Impression, View, Click)
class EventAdmin(ReadOnlyAdmin):
    list_display = [
        "decision_id",
        "served_at",
        "occurred_at",
        "campaign_id",
        "creative_id",
        "slot_id",
        "is_billable",
        "reason",
        "charge_micros",
    ]
    list_filter = ["is_billable", "source"]
    search_fields = ["decision_id"]
    ordering = ["-served_at"]


@admin.register(ConversionAction)
class ConversionActionAdmin(admin.ModelAdmin):
    list_display = ["name", "organisation", "click_window_days", "view_window_days", "default_value_micros"]
    list_select_related = ["organisation"]
    search_fields = ["name", "organisation__name"]
    autocomplete_fields = ["organisation"]


@admin.register(Conversion)
class ConversionAdmin(ReadOnlyAdmin):
    list_display = [
        "event_id",
        "action",
        "occurred_at",
        "value_micros",
        "currency",
        "attribution",
        "campaign_id",
    ]
    list_filter = ["attribution", "source"]
    list_select_related = ["action"]
    search_fields = ["event_id", "decision_id"]
    ordering = ["-occurred_at"]


class StatisticAdmin(ReadOnlyAdmin):
    sums = ["impressions", "views", "clicks", "conversions", "spend_micros", "revenue_micros"]
    list_filter = ["source", "currency"]


@admin.register(HourlyStat)
class HourlyStatAdmin(StatisticAdmin):
    list_display = ["hour", "campaign_id", "creative_id", "slot_id", *StatisticAdmin.sums]
    search_fields = ["=campaign_id", "=creative_id"]
    ordering = ["-hour"]


@admin.register(DailyStat)
class DailyStatAdmin(StatisticAdmin):
    list_display = ["date", "campaign_id", "creative_id", "slot_id", *StatisticAdmin.sums]
    search_fields = ["=campaign_id", "=creative_id"]
    ordering = ["-date"]


@admin.register(FillStat)
class FillStatAdmin(ReadOnlyAdmin):
    list_display = ["hour", "slot_id", "publisher_id", "reason", "requests"]
    list_filter = ["reason", "source"]
    ordering = ["-hour"]


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    list_display = ["decision_id", "kind", "turn", "is_given", "served_at", "occurred_at", "slot_id"]


@admin.register(Invalidation)
class InvalidationAdmin(ReadOnlyAdmin):
    list_display = ["decision_id", "kind", "reason", "rules", "found_at", "campaign_id", "charge_micros"]
    list_filter = ["kind", "reason", "source"]
    search_fields = ["decision_id"]
    ordering = ["-found_at"]


@admin.register(Adjustment)
class AdjustmentAdmin(ReadOnlyAdmin):
    list_display = ["adjustment_id", "event_id", "action", "kind", "value_micros", "occurred_at"]
    list_filter = ["kind"]
    list_select_related = ["action"]
    search_fields = ["event_id", "adjustment_id"]
    ordering = ["-occurred_at"]


@admin.register(Credit)
class CreditAdmin(ReadOnlyAdmin):
    list_display = ["decision_id", "model", "touch", "campaign_id", "hour", "share_ppm", "value_micros"]
    list_filter = ["model", "touch", "source"]
    search_fields = ["decision_id"]
    ordering = ["-hour"]


@admin.register(RefusedStat)
class RefusedStatAdmin(ReadOnlyAdmin):
    list_display = ["hour", "slot_id", "publisher_id", "kind", "reason", "events"]
    list_filter = ["kind", "reason", "source"]
    ordering = ["-hour"]


@admin.register(DeliveryHour)
class DeliveryHourAdmin(ReadOnlyAdmin):
    list_display = ["hour", "line_item_id", "campaign_id", "source", "outcomes"]
    list_filter = ["source"]
    search_fields = ["=line_item_id", "=campaign_id"]
    ordering = ["-hour"]


@admin.register(TallyReport)
class TallyReportAdmin(ReadOnlyAdmin):
    list_display = ["process", "number", "hour"]
    ordering = ["-hour", "process", "-number"]
