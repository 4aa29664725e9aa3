"""What the database itself refuses, even to its owner; each refusal has a name and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from adplatform.billing import ledger, queries, services
from adplatform.billing.models import Entry, LedgerAccount, Posting
from adplatform.billing.verification import verify
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture
def books() -> tuple[LedgerAccount, LedgerAccount]:
    """(prepaid, cash) with 100 micros deposited."""
    advertiser = factories.organisation()
    services.deposit(advertiser, 100, key="bank:1", at=NOON)
    return ledger.prepaid(advertiser), ledger.cash("USD")


def refused(name: str) -> Any:
    return pytest.raises(DatabaseError, match=name)


def insert(
    lines: Sequence[tuple[LedgerAccount, str, int]], *, key: str = "by hand", now: bool = True, **changed: str
) -> Posting:
    """What ledger.post does, without its own checks; `changed` are columns to falsify. `now`: check before the commit."""
    last = Posting.objects.order_by("-pk").first()
    posting = Posting(
        key=key,
        kind="test",
        request_sha256="0" * 64,
        posted_at=NOON,
        effective_at=NOON,
        previous_sha256=last.row_sha256 if last else ledger.GENESIS,
    )
    posting.row_sha256 = ledger.row_hash(
        posting, [(account.pk, currency, micros) for account, currency, micros in lines]
    )
    for column, value in changed.items():
        setattr(posting, column, value)
    with transaction.atomic():
        posting.save()
        Entry.objects.bulk_create(
            [
                Entry(posting=posting, account=account, currency=currency, micros=micros)
                for account, currency, micros in lines
            ]
        )
        if now:
            check_now()
    return posting


def check_now() -> None:
    """Let the checks run that otherwise wait for the commit."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


Books = tuple[LedgerAccount, LedgerAccount]


def unchanged(books: Books) -> bool:
    """Only the deposit is in the books, and they are sound."""
    found = verify()
    return (found.postings, found.entries, found.violations) == (1, 2, []) and queries.balance(
        books[0]
    ) == 100


@committed
def test_a_sound_posting_by_hand_is_taken(books: Books) -> None:
    prepaid, cash = books
    insert([(prepaid, "USD", -40), (cash, "USD", 40)], now=False)
    assert queries.balance(prepaid) == 60
    assert verify().violations == []


@committed
def test_unbalanced(books: Books) -> None:
    prepaid, cash = books
    with refused("posting by hand does not add up to zero in USD"):
        insert([(prepaid, "USD", -40), (cash, "USD", 41)], now=False)
    assert unchanged(books)


def test_empty_or_single(books: Books) -> None:
    with refused("has 0 entries"):
        insert([])
    with refused("has 1 entries"):
        insert([(books[0], "USD", 1)])
    assert unchanged(books)


def test_an_entry_of_nothing(books: Books) -> None:
    with refused("entry_moves_something"):
        insert([(books[0], "USD", 0), (books[1], "USD", 0)])
    assert unchanged(books)


def test_across_currencies(books: Books) -> None:
    prepaid, _ = books
    euros = ledger.cash("EUR")
    with refused("does not add up to zero"):
        insert([(prepaid, "USD", -40), (euros, "EUR", 40)])
    assert unchanged(books)


def test_another_currency_than_the_account(books: Books) -> None:
    prepaid, _ = books
    with refused("another currency than its account"):
        insert([(prepaid, "USD", -40), (ledger.cash("EUR"), "USD", 40)])
    assert unchanged(books)


@committed
def test_overdraft(books: Books) -> None:
    prepaid, cash = books
    with refused("would be overdrawn by 1 micros"):
        insert([(prepaid, "USD", -101), (cash, "USD", 101)], now=False)
    assert unchanged(books)


@committed
def test_a_late_pair(books: Books) -> None:
    prepaid, cash = books
    deposit = Posting.objects.get()
    with refused("is sealed"), transaction.atomic():
        Entry.objects.bulk_create(
            [
                Entry(posting=deposit, account=prepaid, currency="USD", micros=5),
                Entry(posting=deposit, account=cash, currency="USD", micros=-5),
            ]
        )
    assert unchanged(books)


def test_a_late_pair_in_the_postings_own_transaction_after_its_check(books: Books) -> None:
    prepaid, cash = books
    with refused("is sealed"), transaction.atomic():
        posting = insert([(prepaid, "USD", -1), (cash, "USD", 1)])
        Entry.objects.create(posting=posting, account=prepaid, currency="USD", micros=-5)
    assert unchanged(books)


def test_a_broken_chain(books: Books) -> None:
    prepaid, cash = books
    with refused("does not continue the hash chain"):
        insert([(prepaid, "USD", -1), (cash, "USD", 1)], previous_sha256="f" * 64)
    with refused("would stand before an older one"):
        insert([(prepaid, "USD", -1), (cash, "USD", 1)], id=Posting.objects.get().pk - 1)
    assert unchanged(books)


def test_a_wrong_hash(books: Books) -> None:
    prepaid, cash = books
    with refused("does not carry its own hash"):
        insert([(prepaid, "USD", -1), (cash, "USD", 1)], row_sha256="f" * 64)
    assert unchanged(books)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_posting SET memo = 'nicer'",
        "UPDATE billing_entry SET micros = micros * 2",
        "UPDATE billing_ledgeraccount SET currency = 'EUR'",
        "UPDATE billing_balance SET micros = 1000",
        "INSERT INTO billing_balance SELECT id, 7, 0 FROM billing_ledgeraccount WHERE id NOT IN (SELECT account_id FROM billing_balance)",
        "DELETE FROM billing_entry",
        "DELETE FROM billing_posting",
        "DELETE FROM billing_balance",
        "TRUNCATE billing_entry",
        "TRUNCATE billing_posting CASCADE",
        "TRUNCATE billing_balance",
        "TRUNCATE billing_ledgeraccount CASCADE",
    ],
)
def test_changing_the_books(books: Books, statement: str) -> None:
    ledger.revenue("USD")  # an account without a balance row
    check_now()
    with refused("is refused"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL adplatform.maintenance = off")
        cursor.execute(statement)
    assert unchanged(books)


FACTS = ("addecision", "impression", "view", "click", "conversion")


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize(
    "statement", ["UPDATE {table} SET source = 'live'", "DELETE FROM {table}", "TRUNCATE {table} CASCADE"]
)
def test_changing_facts(fact: str, statement: str) -> None:
    getattr(factories, "decision" if fact == "addecision" else fact)()
    check_now()
    table = f"events_{fact}"
    with refused("is refused"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL adplatform.maintenance = off")
        cursor.execute(statement.format(table=table))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        assert cursor.fetchone() == (1,)
