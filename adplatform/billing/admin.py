"""The books, as they were written. Only billing.ledger writes them."""

from __future__ import annotations

from django.contrib import admin

from adplatform.billing.models import Balance, Entry, LedgerAccount, Posting, Settlement
from adplatform.core.admin import ReadOnlyAdmin


class EntryInline(admin.TabularInline):  # type: ignore[type-arg]
    model = Entry
    can_delete = False
    extra = 0


@admin.register(LedgerAccount)
class LedgerAccountAdmin(ReadOnlyAdmin):
    list_display = ["id", "owner", "kind", "currency"]
    list_filter = ["kind", "currency"]
    list_select_related = ["owner"]
    search_fields = ["owner__name"]


@admin.register(Posting)
class PostingAdmin(ReadOnlyAdmin):
    list_display = ["id", "key", "kind", "memo", "effective_at", "posted_at"]
    list_filter = ["kind"]
    search_fields = ["key", "memo"]
    ordering = ["-id"]
    inlines = [EntryInline]


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ["id", "posting", "account", "micros", "currency"]
    list_filter = ["account__kind", "currency"]
    list_select_related = ["posting", "account__owner"]
    search_fields = ["posting__key", "account__owner__name"]
    ordering = ["-id"]


@admin.register(Settlement)
class SettlementAdmin(ReadOnlyAdmin):
    list_display = ["hour", "campaign_id", "slot_id", "settled_micros", "postings"]
    search_fields = ["=campaign_id", "=slot_id"]
    ordering = ["-hour"]


@admin.register(Balance)
class BalanceAdmin(ReadOnlyAdmin):
    list_display = ["account", "micros", "settled_micros"]
    list_select_related = ["account__owner"]
    search_fields = ["account__owner__name"]
