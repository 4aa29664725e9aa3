"""Issued invoices and payouts say whom they name to us alone, for ever the same, whatever key sealed them."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from adplatform.billing import bank_files, invoices, papers, payouts, pdf, services
from adplatform.billing.models import BillingProfile, Invoice, Payee, Payout
from adplatform.billing.verification import verify
from adplatform.core import roles
from adplatform.core.encrypted import count_old, fields
from adplatform.core.sealing import UnreadableError, place, seal
from adplatform.core.tenants import current
from tests.billing.test_invoices import JULY_4, JUNE
from tests.billing.test_payouts import LATER, SELLER
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
IBAN = "AT611904300234573201"
PERSONAL = ("Zoë Quintero", "Lindwurmgasse 7", "DE987654321", IBAN, "Zeno Papadakis", "COBADEFFXXX")
TABLES = ("billing_invoice", "billing_payout", "billing_billingprofile", "billing_payee", "billing_posting")


def paid_month() -> tuple[Invoice, Payout]:
    """A person's invoice of June and another's payout of it."""
    market = Market(currency="EUR", deposit=1_000 * MICROS)
    market.charge(100 * MICROS)
    services.settle(at=NOON + timedelta(hours=1))
    BillingProfile.objects.create(
        organisation=market.advertiser,
        **{
            "legal_name": "Zoë Quintero",
            "address": "Lindwurmgasse 7",
            "country": "DE",
            "vat_id": "DE987654321",
        },
    )
    Payee.objects.create(organisation=market.publisher, holder="Zeno Papadakis", iban=IBAN, bic="COBADEFFXXX")
    invoices.issue_month(JUNE, at=JULY_4)
    payouts.prepare(at=LATER)
    return Invoice.objects.get(), Payout.objects.get()


def stored() -> str:
    """All that the database holds of these tables."""
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT to_jsonb(t)::text FROM {table} AS t" for table in TABLES))
        return "\n".join(row for (row,) in cursor.fetchall())


def rules() -> list[tuple[str, str]]:
    return [(one.rule, one.subject) for one in verify().violations]


def put(table: str, column: str, value: str) -> None:
    """As the tables' owner would, past every guard."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE {table} SET {column} = %s", [value])
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_the_database_holds_no_word_of_them_and_the_papers_all() -> None:
    invoice, payout = paid_month()
    for word in PERSONAL:
        assert word not in stored()
    assert invoice.buyer == {
        **{"name": "Zoë Quintero", "address": "Lindwurmgasse 7", "country": "DE", "vat_id": "DE987654321"}
    }
    assert payout.account == {"holder": "Zeno Papadakis", "iban": IBAN, "bic": "COBADEFFXXX"}
    message = bank_files.sepa(payout.batch, seller=SELLER, at=LATER).decode()
    assert f"<Nm>Zeno Papadakis</Nm></Cdtr><CdtrAcct><Id><IBAN>{IBAN}</IBAN>" in message
    assert bank_files.table(payout.batch).splitlines()[1].split(",")[2:5] == [
        "Zeno Papadakis",
        IBAN,
        "COBADEFFXXX",
    ]


def test_what_papers_say_is_read_behind_their_owners_walls() -> None:
    seen: set[tuple[str, bool]] = set()

    def look(execute: Any, sql: str, *given: Any) -> Any:
        for words in ('"legal_name"', '"iban"', "campaigns_campaign", "billing_invoiceline l"):
            if str(sql).startswith(("SELECT", "\n    WITH")) and words in str(sql):
                seen.add((words, current() is not None))
        return execute(sql, *given)

    market = Market(currency="EUR", deposit=1_000 * MICROS)
    market.charge(100 * MICROS)
    services.settle(at=NOON + timedelta(hours=1))
    BillingProfile.objects.create(organisation=market.advertiser, legal_name="L", address="A", country="DE")
    Payee.objects.create(organisation=market.publisher, holder="P", iban=IBAN)
    with connection.execute_wrapper(look):
        invoices.issue_month(JUNE, at=JULY_4)
        payouts.prepare(at=LATER)
    assert seen == {(words, True) for words, _ in seen}
    assert len(seen) == 4


def test_papers_keep_what_was_said_on_their_day() -> None:
    invoice, _ = paid_month()
    before = pdf.render(invoice)
    BillingProfile.objects.get().delete()
    Payee.objects.get().delete()
    assert pdf.render(Invoice.objects.get()) == before
    assert Payout.objects.get().account["iban"] == IBAN


def test_keys_rotate_under_issued_papers(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = ["old"]
    invoice, payout = paid_month()
    drawn, account, chain = pdf.render(invoice), payout.account, verify().head
    settings.ENCRYPTION_KEYS = ["new", "old"]
    call_command("rotate_keys", stdout=StringIO())
    assert sum(map(count_old, fields())) == 0
    settings.ENCRYPTION_KEYS = ["new"]
    assert (pdf.render(Invoice.objects.get()), Payout.objects.get().account) == (drawn, account)
    assert (verify().violations, verify().head) == ([], chain)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_invoice SET sealed_buyer = 'somebody else'",
        "UPDATE billing_invoice SET buyer_sha256 = ''",
        "UPDATE billing_invoice SET sealed_buyer = sealed_buyer, total_micros = 0, net_micros = 0, tax_micros = 0",
        "UPDATE billing_payout SET sealed_account = ''",
        "UPDATE billing_payout SET micros = 1, sealed_account = sealed_account",
        "DELETE FROM billing_payout",
    ],
)
def test_nothing_of_a_paper_changes_but_its_seal(statement: str) -> None:
    paid_month()
    before = stored()
    with (
        pytest.raises(DatabaseError, match="is refused"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert stored() == before
    assert rules() == []


def test_the_workers_role_cannot_even_seal_anew() -> None:
    paid_month()
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"SET LOCAL ROLE {roles.WORKER}; UPDATE billing_payout SET sealed_account = sealed_account"
        )


def test_another_account_under_an_issued_payout_is_named() -> None:
    _, payout = paid_month()
    theirs, _ = papers.closed({"holder": "Thief", "iban": "DE89370400440532013000", "bic": ""})
    # With our key and at the right place: the database lets a new seal through, the digest does not.
    sealed = seal(theirs, where=place("billing_payout", "sealed_account", payout.pk))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_payout SET sealed_account = %s", [sealed])
    assert rules() == [("paper_says_what_was_issued", payout.reference)]


def test_a_paper_that_nobody_can_open_is_named() -> None:
    _, payout = paid_month()
    put("billing_payout", "sealed_account", str(Invoice.objects.values_list("sealed_buyer", flat=True)[0]))
    with pytest.raises(UnreadableError):
        _ = Payout.objects.get().account
    assert rules() == [("paper_can_be_opened", payout.reference)]


@pytest.mark.django_db(transaction=True)
def test_papers_of_before_are_sealed_by_the_migration_and_opened_by_its_reversal() -> None:
    invoice, payout = paid_month()
    head = verify().head
    MigrationExecutor(connection).migrate([("billing", "0012_low_balance_mailed_at")])
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT buyer ->> 'name', buyer ->> 'vat_id' FROM billing_invoice")
            assert cursor.fetchone() == ("Zoë Quintero", "DE987654321")
            cursor.execute("SELECT holder, iban, bic FROM billing_payout")
            assert cursor.fetchone() == ("Zeno Papadakis", IBAN, "COBADEFFXXX")
            with pytest.raises(DatabaseError, match="is refused"):
                cursor.execute("UPDATE billing_payout SET iban = 'DE89370400440532013000'")
    finally:
        MigrationExecutor(connection).migrate([("billing", "0013_sealed_papers")])
    roles.apply()
    for word in PERSONAL:
        assert word not in stored()
    assert (Invoice.objects.get().buyer, Payout.objects.get().account) == (invoice.buyer, payout.account)
    assert (verify().violations, verify().head) == ([], head)
