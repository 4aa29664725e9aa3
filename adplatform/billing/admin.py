"""The books and documents, as they were written: only billing writes them. Tax rates are the operator's."""

from __future__ import annotations

from django.contrib import admin

from adplatform.billing.models import (
    Balance,
    BillingProfile,
    CreditLimit,
    Entry,
    GatewayEvent,
    Hold,
    Invoice,
    InvoiceLine,
    LedgerAccount,
    LowBalance,
    Payee,
    Payment,
    Payout,
    PayoutBatch,
    Posting,
    Proposal,
    Refund,
    Settlement,
    TaxRate,
)
from adplatform.core.admin import ReadOnlyAdmin


class EntryInline(admin.TabularInline):
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


@admin.register(TaxRate)
class TaxRateAdmin(admin.ModelAdmin):
    list_display = ["country", "valid_from", "rate_bp"]
    list_filter = ["country"]


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = ["reference", "organisation", "gateway", "status", "micros", "currency", "created_at"]
    list_filter = ["gateway", "status"]
    list_select_related = ["organisation"]
    search_fields = ["reference", "external_id", "organisation__name"]


@admin.register(GatewayEvent)
class GatewayEventAdmin(ReadOnlyAdmin):
    list_display = ["event_id", "gateway", "kind", "received_at"]
    list_filter = ["gateway", "kind"]
    search_fields = ["event_id"]


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "micros", "currency", "reason", "state", "placed_at"]
    list_filter = ["state"]
    list_select_related = ["organisation"]


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    list_display = ["payment", "micros", "state", "reason", "requested_at", "external_id"]
    list_filter = ["state"]
    list_select_related = ["payment"]


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    list_display = ["kind", "organisation", "micros", "state", "proposed_by", "decided_by"]
    list_filter = ["kind", "state"]
    list_select_related = ["organisation", "proposed_by", "decided_by"]


@admin.register(CreditLimit)
class CreditLimitAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "micros", "proposed_by", "approved_by", "approved_at"]
    list_select_related = ["organisation", "proposed_by", "approved_by"]


class InvoiceLineInline(admin.TabularInline):
    model = InvoiceLine
    can_delete = False
    extra = 0


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ["__str__", "organisation", "kind", "month", "net_micros", "total_micros", "currency"]
    list_filter = ["kind", "series"]
    list_select_related = ["organisation"]
    search_fields = ["organisation__name", "=number"]
    inlines = [InvoiceLineInline]
    exclude = ["sealed_buyer", "buyer_sha256"]


class PayoutInline(admin.TabularInline):
    model = Payout
    exclude = ["sealed_account", "account_sha256"]
    can_delete = False
    extra = 0


@admin.register(PayoutBatch)
class PayoutBatchAdmin(ReadOnlyAdmin):
    list_display = ["prepared_at", "currency", "micros", "state", "first_by", "second_by"]
    list_filter = ["state", "currency"]
    list_select_related = ["first_by", "second_by"]
    inlines = [PayoutInline]


@admin.register(BillingProfile)
class BillingProfileAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "legal_name", "country", "vat_id"]
    list_select_related = ["organisation"]


@admin.register(Payee)
class PayeeAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "holder"]
    list_select_related = ["organisation"]


@admin.register(LowBalance)
class LowBalanceAdmin(ReadOnlyAdmin):
    list_display = ["organisation", "since", "available_micros", "daily_micros"]
    list_select_related = ["organisation"]


@admin.register(InvoiceLine)
class InvoiceLineAdmin(ReadOnlyAdmin):
    list_display = ["invoice", "service_month", "words", "micros"]
    list_select_related = ["invoice"]


@admin.register(Payout)
class PayoutAdmin(ReadOnlyAdmin):
    list_display = ["reference", "organisation", "batch", "micros"]
    exclude = ["sealed_account", "account_sha256"]
    list_select_related = ["organisation", "batch"]
    search_fields = ["reference", "organisation__name"]
