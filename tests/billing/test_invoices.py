"""Invoices: rounded once, numbered without a gap, final; what comes late is on the next one."""

from __future__ import annotations

import threading
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from adplatform.billing import credit_notes, invoices, ledger, pdf, queries, services, tax
from adplatform.billing.models import BillingProfile, Invoice, TaxRate
from adplatform.billing.verification import verify
from adplatform.core.money import digits_of, round_half_even
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
JUNE = date(2026, 6, 1)
JULY_4 = datetime(2026, 7, 4, 4, 30, tzinfo=NOON.tzinfo)


@pytest.fixture
def seller(settings: Any) -> None:
    settings.SELLER = {
        **{"name": "Adhaus GmbH", "address": "Weg 1\n10115 Berlin", "country": "DE", "vat_id": "DE123456789"},
        **{"iban": "DE89370400440532013000", "bic": "COBADEFFXXX"},
    }


def spent(micros: int, currency: str = "EUR", **fields: Any) -> Market:
    """A market whose one campaign cost that much in June."""
    market = Market(currency=currency, **fields)
    market.charge(micros)
    services.settle(at=NOON + timedelta(hours=1))
    return market


def german(market: Market, **fields: Any) -> None:
    given_ = {"legal_name": "Käufer GmbH", "address": "Straße 2", "country": "DE"} | fields
    BillingProfile.objects.create(organisation=market.advertiser, **given_)


def test_a_month_is_rounded_once_and_the_difference_is_posted(seller: None) -> None:
    market = spent(12_345_678)
    german(market)

    done = invoices.issue_month(JUNE, at=JULY_4)

    assert done.words == "1 documents over €12.35 net."
    invoice = Invoice.objects.get()
    assert (str(invoice), invoice.exact_micros, invoice.net_micros) == (
        "INV-2026-000001",
        12_345_678,
        12_350_000,
    )
    # 19 % of 12.35 are 2.3465.
    assert (invoice.tax_micros, invoice.total_micros) == (2_350_000, 14_700_000)
    assert queries.balance(ledger.rounding("EUR")) == 4_322
    assert queries.balance(ledger.tax("EUR")) == 2_350_000
    assert queries.prepaid_balance(market.advertiser) == 100 * MICROS - 14_700_000
    assert verify().violations == []


@pytest.mark.parametrize(
    ("currency", "micros", "net"),
    [
        *(("JPY", 1_500_000, 2_000_000), ("JPY", 2_500_000, 2_000_000), ("JPY", 2_500_001, 3_000_000)),
        *(("EUR", 5_000, 0), ("EUR", 15_000, 20_000), ("EUR", 14_999, 10_000)),
        *(("KWD", 500, 0), ("KWD", 1_500, 2_000), ("KWD", 1_499, 1_000)),
    ],
)
def test_half_a_coin_goes_to_the_even_one(currency: str, micros: int, net: int) -> None:
    spent(micros, currency)
    invoices.issue_month(JUNE, at=JULY_4)
    assert Invoice.objects.get().net_micros == net
    assert queries.balance(ledger.rounding(currency)) == net - micros
    assert verify().violations == []


@given(
    micros=st.integers(-(10**15), 10**15),
    currency=st.sampled_from(["JPY", "EUR", "KWD"]),
    of=st.sampled_from([1, 10_000]),
)
def test_rounding_is_half_even_of_the_exact_fraction(micros: int, currency: str, of: int) -> None:
    coin = 10 ** (6 - digits_of(currency))
    assert round_half_even(micros, currency, of=of) == round(Fraction(micros, of * coin)) * coin


def test_again_and_five_at_once_issue_one(seller: None) -> None:
    spent(MICROS)
    invoices.issue_month(JUNE, at=JULY_4)
    assert invoices.issue_month(JUNE, at=JULY_4).words == "Nothing to invoice."
    assert Invoice.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_five_at_once_issue_once_and_without_a_gap() -> None:
    for _ in range(3):
        spent(MICROS)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            invoices.issue_month(JUNE, at=JULY_4)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(Invoice.objects.values_list("number", flat=True)) == [1, 2, 3]


def test_a_number_taken_by_a_transaction_that_fails_is_given_again() -> None:
    spent(MICROS)

    @transaction.atomic
    def fail() -> None:
        invoices.issue_month(JUNE, at=JULY_4)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    invoices.issue_month(JUNE, at=JULY_4)
    assert Invoice.objects.get().number == 1


def test_what_comes_late_is_on_the_next_invoice() -> None:
    market = spent(3 * MICROS)
    invoices.issue_month(JUNE, at=JULY_4)
    market.charge(2 * MICROS)
    market.charge(MICROS, at=JULY_4)
    services.settle(at=JULY_4 + timedelta(hours=1), everything=True)
    assert invoices.issue_month(JUNE, at=JULY_4).invoices == 0

    invoices.issue_month(date(2026, 7, 1), at=JULY_4 + timedelta(days=31))

    name = market.creative.line_item.campaign.name
    lines = Invoice.objects.get(month=date(2026, 7, 1)).lines
    assert list(lines.values_list("words", "micros")) == [
        (f"Ads of {name}, correction of June 2026", 2 * MICROS),
        (f"Ads of {name}", MICROS),
    ]


def test_a_month_of_more_reversals_than_spend_is_a_credit_note() -> None:
    market = spent(3 * MICROS)
    invoices.issue_month(JUNE, at=JULY_4)
    settled = (
        market.advertiser.ledger_accounts.get(kind="prepaid").entries.get(posting__kind="settle").posting
    )
    ledger.reverse(settled, effective_at=JULY_4)

    invoices.issue_month(date(2026, 7, 1), at=JULY_4 + timedelta(days=31))

    note = Invoice.objects.get(kind="credit_note")
    assert (str(note), note.net_micros) == ("CN-2026-000001", -3 * MICROS)


def test_vat_that_prepaid_money_does_not_cover_is_due_and_the_next_deposit_pays_it_first(
    seller: None,
) -> None:
    market = spent(10 * MICROS, deposit=11 * MICROS)
    german(market)
    invoices.issue_month(JUNE, at=JULY_4)
    assert (queries.prepaid_balance(market.advertiser), queries.due_balance(market.advertiser)) == (
        0,
        -900_000,
    )
    assert invoices.paid_from_balance(Invoice.objects.get()) == 11 * MICROS

    for _ in range(2):
        services.deposit(market.advertiser, 5 * MICROS, key="bank:2", at=JULY_4)

    assert queries.due_balance(market.advertiser) == 0
    assert queries.prepaid_balance(market.advertiser) == 4_100_000


@pytest.mark.parametrize(
    ("country", "vat_id", "rate", "note"),
    [
        ("DE", "DE999999999", 1_900, ""),
        ("FR", "FR12345678901", 0, tax.REVERSE_CHARGE),
        ("FR", "", 1_900, ""),
        ("CH", "", 0, tax.OUTSIDE),
    ],
)
def test_which_vat(seller: None, country: str, vat_id: str, rate: int, note: str) -> None:
    profile = BillingProfile(country=country, vat_id=vat_id)
    found = tax.tax_for(profile, seller_country="DE", on=JUNE)
    assert (found.rate_bp, found.note) == (rate, note)


def test_rates_change_by_the_day() -> None:
    assert [tax.rate("EE", day) for day in (date(2025, 6, 30), date(2025, 7, 1))] == [2_200, 2_400]
    TaxRate.objects.create(country="DE", valid_from=date(2026, 7, 1), rate_bp=1_600)
    assert [tax.rate("DE", day) for day in (date(2026, 6, 30), date(2026, 7, 1))] == [1_900, 1_600]


def test_a_credit_note_gives_back_net_and_vat_never_more_than_the_invoice(seller: None) -> None:
    market = spent(10 * MICROS)
    german(market)
    invoices.issue_month(JUNE, at=JULY_4)
    invoice, before = Invoice.objects.get(), queries.prepaid_balance(market.advertiser)

    for _ in range(2):
        note = credit_notes.issue(invoice, 4 * MICROS, key="a", reason="Late start", at=JULY_4)

    assert (note.net_micros, note.tax_micros, note.corrects) == (-4 * MICROS, -760_000, invoice)
    assert queries.prepaid_balance(market.advertiser) == before + 4_760_000
    with pytest.raises(credit_notes.CreditNoteError, match=r"at most €6.00 net"):
        credit_notes.issue(invoice, 7 * MICROS, key="b", reason="Late start", at=JULY_4)
    assert verify().violations == []


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE billing_invoice SET net_micros = 1, total_micros = 1", "is refused"),
        ("DELETE FROM billing_invoiceline", "is refused"),
        ("TRUNCATE billing_invoiceline", "is refused"),
        (
            "INSERT INTO billing_invoiceline (invoice_id, service_month, words, micros) SELECT id, month, 'more', 5 FROM billing_invoice",
            "it has 2 of",
        ),
        (
            "INSERT INTO billing_invoice SELECT (jsonb_populate_record(i, jsonb_build_object('id', 999999, 'public_id', gen_random_uuid(), 'number', 3, 'posting_id', NULL))).* FROM billing_invoice i",
            "would not follow 1",
        ),
    ],
)
def test_an_issued_invoice_is_final(statement: str, name: str) -> None:
    spent(MICROS)
    invoices.issue_month(JUNE, at=JULY_4)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
    with pytest.raises(DatabaseError, match=name), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL adplatform.maintenance = off; {statement}; SET CONSTRAINTS ALL IMMEDIATE")
    assert Invoice.objects.get().line_count == 1


def test_the_pdf_is_the_same_every_time_and_prints_accents(seller: None) -> None:
    market = spent(12_345_678)
    german(market, legal_name="Žlutý kůň & Söhne, Łódź")
    invoices.issue_month(JUNE, at=JULY_4)
    invoice = Invoice.objects.get()
    drawn = pdf.render(invoice)
    assert drawn[:5] == b"%PDF-"
    assert len(drawn) > 5_000
    assert pdf.render(invoice) == drawn
