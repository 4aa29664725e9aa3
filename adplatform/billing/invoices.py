"""Monthly invoices: what the books say that each campaign cost, rounded once, numbered without a gap, never changed.

An invoice holds the difference between what campaigns cost by month and what earlier documents of the advertiser
said of it; so a late settlement or a reversal appears on the next one, and nothing is invoiced twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from adplatform.accounts.models import Organisation
from adplatform.billing import credit, ledger, papers, queries
from adplatform.billing.models import BillingProfile, Invoice, InvoiceLine, LedgerAccount, Posting
from adplatform.billing.tax import Tax, tax_for
from adplatform.campaigns.models import Campaign
from adplatform.core.encrypted import next_key
from adplatform.core.money import format_micros, round_half_even
from adplatform.core.tenants import tenant

LOCK = 7_236_455  # advisory lock of the numbers; the database's trigger takes the same


@dataclass(slots=True)
class Issued:
    """What one run issued; in a dry run, what it would."""

    invoices: int = 0
    totals: dict[str, int] = field(default_factory=dict)  # by currency, net

    @property
    def words(self) -> str:
        if not self.invoices:
            return "Nothing to invoice."
        sums = " and ".join(format_micros(micros, code) for code, micros in sorted(self.totals.items()))
        return f"{self.invoices:,} documents over {sums} net."


@dataclass(frozen=True, slots=True)
class Item:
    """What one campaign cost in one month beyond what earlier documents say."""

    campaign_id: int
    month: date
    micros: int


def issue_month(month: date, *, at: datetime, dry_run: bool = False) -> Issued:
    """Invoice every advertiser for the month that begins on `month`, and for what came late of earlier ones."""
    done = Issued()
    accounts = LedgerAccount.objects.filter(kind=LedgerAccount.Kind.PREPAID).select_related("owner")
    for account in accounts.order_by("owner_id", "currency"):
        assert account.owner is not None  # prepaid accounts belong to advertisers
        with transaction.atomic():
            if not dry_run:
                credit.lock_purse(account.owner)
                ledger.lock_chain()
            with tenant(account.owner):  # what an invoice says is read behind its advertiser's walls
                items = open_items(account, month)
            if not items:
                continue
            exact = sum(item.micros for item in items)
            if not dry_run:
                _issue(account.owner, account.currency, month, items, at=at)
            done.invoices += 1
            done.totals[account.currency] = done.totals.get(account.currency, 0) + round_half_even(
                exact, account.currency
            )
    return done


def month_before(at: datetime) -> date:
    """First day of the month before that moment's (UTC)."""
    return (at.date().replace(day=1) - timedelta(days=1)).replace(day=1)


_SPENT = r"""
    WITH spent AS (
        SELECT (regexp_match(p.key, 'settle:[^:]+:(\d+):'))[1]::bigint AS campaign_id,
            date_trunc('month', p.effective_at AT TIME ZONE %(zone)s)::date AS month, -sum(e.micros) AS micros
        FROM billing_entry e JOIN billing_posting p ON p.id = e.posting_id
        WHERE e.account_id = %(account)s AND p.key LIKE '%%settle:%%' AND p.effective_at < %(end)s GROUP BY 1, 2
    ), told AS (
        SELECT l.campaign_id, l.service_month AS month, sum(l.micros) AS micros
        FROM billing_invoiceline l JOIN billing_invoice i ON i.id = l.invoice_id
        WHERE i.organisation_id = %(owner)s AND i.currency = %(currency)s AND l.campaign_id IS NOT NULL GROUP BY 1, 2
    )
    SELECT campaign_id, month, (coalesce(spent.micros, 0) - coalesce(told.micros, 0))::bigint
    FROM spent FULL JOIN told USING (campaign_id, month)
    WHERE coalesce(spent.micros, 0) <> coalesce(told.micros, 0) ORDER BY month, campaign_id
"""


def open_items(account: LedgerAccount, month: date) -> list[Item]:
    """What is to be invoiced for that month; nothing where its invoice was issued."""
    owner = account.owner
    assert owner is not None
    documents = Invoice.objects.filter(organisation=owner, currency=account.currency, corrects=None)
    if documents.filter(month__gte=month).exists():
        return []
    values: dict[str, Any] = {
        "zone": owner.time_zone,
        "account": account.pk,
        "owner": owner.pk,
        "currency": account.currency,
        "end": _start_of(_next(month), owner.time_zone),
    }
    with connection.cursor() as cursor:
        cursor.execute(_SPENT, values)
        return [Item(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """All that an invoice or credit note says before it has a number. Amounts as in models.Invoice."""

    organisation: Organisation
    kind: str
    currency: str
    month: date
    lines: Sequence[tuple[int | None, date, str, int]]  # campaign, service month, words, micros
    tax: Tax
    reason: str = ""
    corrects: Invoice | None = None

    @property
    def exact_micros(self) -> int:
        return sum(micros for *_, micros in self.lines)

    @property
    def net_micros(self) -> int:
        return round_half_even(self.exact_micros, self.currency)

    @property
    def tax_micros(self) -> int:
        return round_half_even(self.net_micros * self.tax.rate_bp, self.currency, of=10_000)


def write(document: Document, *, at: datetime, posting_of: Any) -> Invoice:
    """Give it the next number of its year and store it; `posting_of(number)` books what goes with it. Under the ledger's
    lock, within the transaction that commits or takes back the number with the document."""
    series = f"{'CN' if document.kind == Invoice.Kind.CREDIT_NOTE else 'INV'}-{at.year}"
    latest = Invoice.objects.filter(series=series).aggregate(number=Max("number"))["number"] or 0
    number = latest + 1
    posting: Posting | None = posting_of(f"{series}-{number:06d}")
    with tenant(document.organisation):
        profile = BillingProfile.objects.filter(organisation=document.organisation).first()
    sealed_buyer, buyer_sha256 = papers.closed(_buyer(document.organisation, profile))
    invoice = Invoice.objects.create(
        pk=next_key(Invoice),
        organisation=document.organisation,
        kind=document.kind,
        series=series,
        number=number,
        month=document.month,
        currency=document.currency,
        issued_at=at,
        seller=settings.SELLER,
        sealed_buyer=sealed_buyer,
        buyer_sha256=buyer_sha256,
        exact_micros=document.exact_micros,
        net_micros=document.net_micros,
        tax_rate_bp=document.tax.rate_bp,
        tax_micros=document.tax_micros,
        tax_note=document.tax.note,
        total_micros=document.net_micros + document.tax_micros,
        line_count=len(document.lines),
        reason=document.reason,
        corrects=document.corrects,
        posting=posting,
    )
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=invoice, campaign_id=campaign, service_month=month, words=words[:200], micros=micros
        )
        for campaign, month, words, micros in document.lines
    )
    return invoice


def _issue(
    owner: Organisation, currency: str, month: date, items: Sequence[Item], *, at: datetime
) -> Invoice:
    campaigns = Campaign.objects.filter(pk__in={item.campaign_id for item in items})
    with tenant(owner):
        profile = BillingProfile.objects.filter(organisation=owner).first()
        names = dict(campaigns.values_list("pk", "name"))
    lines = [(item.campaign_id, item.month, _words(names, item, month), item.micros) for item in items]
    is_less = sum(item.micros for item in items) < 0
    document = Document(
        organisation=owner,
        kind=Invoice.Kind.CREDIT_NOTE if is_less else Invoice.Kind.INVOICE,
        currency=currency,
        month=month,
        lines=lines,
        tax=tax_for(profile, seller_country=settings.SELLER["country"], on=_next(month) - timedelta(days=1)),
        reason="More was credited than served" if is_less else "",
    )

    def book(number: str) -> Posting | None:
        """Ads are paid by settling; what is left is VAT and the fraction of a coin. Prepaid money pays it as far as
        it is not spent, the rest is due."""
        rounding = document.net_micros - document.exact_micros
        extra = rounding + document.tax_micros
        from_prepaid = min(extra, credit.own_money(owner)) if extra > 0 else extra
        entries = {
            ledger.prepaid(owner): -from_prepaid,
            ledger.due(owner): from_prepaid - extra,
            ledger.rounding(currency): rounding,
            ledger.tax(currency): document.tax_micros,
        }
        moved = {account: micros for account, micros in entries.items() if micros}
        if not moved:
            return None
        return ledger.post(
            key=f"invoice:{number}",
            kind="invoice",
            entries=moved,
            effective_at=at,
            memo=f"VAT and rounding of {number}",
        )

    return write(document, at=at, posting_of=book)


def _words(names: Mapping[int, str], item: Item, month: date) -> str:
    name = f"Ads of {names.get(item.campaign_id, f'campaign {item.campaign_id}')}"
    return name if item.month == month else f"{name}, correction of {item.month:%B %Y}"


def _buyer(organisation: Organisation, profile: BillingProfile | None) -> dict[str, str]:
    if profile is None:
        return {"name": organisation.name, "address": "", "country": "", "vat_id": ""}
    return {
        "name": profile.legal_name,
        "address": profile.address,
        "country": profile.country,
        "vat_id": profile.vat_id,
    }


def _next(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def _start_of(day: date, time_zone: str) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone))


def of(organisation: Organisation) -> Any:
    """The advertiser's documents, newest first."""
    return Invoice.objects.filter(organisation=organisation).select_related("corrects", "organisation")


def paid_from_balance(invoice: Invoice) -> int:
    """What of the total is not due any more at the moment of issue: settled ads and what prepaid money covered."""
    if invoice.posting_id is None:
        return invoice.total_micros
    due = queries.part_of(invoice.posting_id, LedgerAccount.Kind.DUE)
    return invoice.total_micros + due
