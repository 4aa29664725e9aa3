"""`ledger_verify` and `reconcile`: silent about sound books, exit 1 with a name for every kind of tampering."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from adplatform.billing import services
from adplatform.billing.models import Posting
from tests import factories
from tests.billing.test_settlement import AFTER, Market
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def market() -> Market:
    """A settled hour and a running one."""
    market = Market()
    market.charge(30 * MICROS)
    market.charge(5, at=AFTER)
    services.settle(at=AFTER)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return market


GUARDED = (
    "billing_posting",
    "billing_entry",
    "billing_balance",
    "events_addecision",
    "events_impression",
    "events_click",
)


@contextmanager
def tampering() -> Iterator[None]:
    """What the tables' owner can do: no trigger of ours runs."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table in GUARDED:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def said(command: str) -> tuple[int, list[tuple[str, str]]]:
    """(exit code, [(rule, subject)])."""
    out, code = StringIO(), 0
    try:
        call_command(command, "--json", stdout=out)
    except CommandError as error:
        code = error.returncode
    answer = json.loads(out.getvalue())
    assert answer["ok"] == (code == 0)
    return code, [(violation["rule"], violation["subject"]) for violation in answer["violations"]]


def test_sound_books(market: Market) -> None:
    assert said("ledger_verify") == (0, [])
    assert said("reconcile") == (0, [])


def test_words_for_people(market: Market) -> None:
    out = StringIO()
    call_command("ledger_verify", stdout=out)
    call_command("reconcile", stdout=out)
    assert "2 postings, 5 entries, 4 accounts, 0 anchors: sound. Head " in out.getvalue()
    assert (
        "USD: billable events $30.000005, hourly statistics $30.000005, settled $30.000000, ledger $30.000000, "
        "not yet settled $0.000005, not yet returned $0.000000\nEverything matches, to the micro."
        in out.getvalue()
    )


def test_a_changed_entry(market: Market) -> None:
    key = Posting.objects.get(kind="settle").key
    with tampering():
        sql("UPDATE billing_entry SET micros = micros + 1 WHERE id = (SELECT max(id) FROM billing_entry)")
    code, found = said("ledger_verify")
    assert code == 1
    assert {("posting_is_balanced", key), ("posting_carries_its_hash", key)} < set(found)


def test_both_legs_rewritten(market: Market) -> None:
    with tampering():
        sql(
            "UPDATE billing_entry SET micros = micros * 2 WHERE posting_id = (SELECT min(id) FROM billing_posting)"
        )
    code, found = said("ledger_verify")
    assert code == 1
    assert ("posting_carries_its_hash", f"deposit:bank:{market.advertiser.pk}") in found
    assert "balance_follows_entries" in {rule for rule, _ in found}


def test_a_removed_posting(market: Market) -> None:
    with tampering():
        sql("DELETE FROM billing_entry WHERE posting_id = (SELECT min(id) FROM billing_posting)")
        sql("DELETE FROM billing_posting WHERE kind = 'deposit'")
    code, found = said("ledger_verify")
    assert code == 1
    assert ("posting_continues_the_chain", Posting.objects.get().key) in found


def test_a_changed_balance(market: Market) -> None:
    with tampering():
        sql("UPDATE billing_balance SET micros = micros + 1")
    code, found = said("ledger_verify")
    assert (code, {rule for rule, _ in found}) == (1, {"balance_follows_entries"})


def test_a_changed_memo(market: Market) -> None:
    with tampering():
        sql("UPDATE billing_posting SET memo = 'nicer' WHERE kind = 'deposit'")
    assert said("ledger_verify") == (
        1,
        [("posting_carries_its_hash", f"deposit:bank:{market.advertiser.pk}")],
    )


def test_a_guard_switched_off(market: Market) -> None:
    sql("ALTER TABLE billing_entry DISABLE TRIGGER billing_entry_is_append_only")
    assert said("ledger_verify") == (1, [("guard_is_on", "billing_entry_is_append_only")])


def test_a_posting_without_its_settlement(market: Market) -> None:
    sql("DELETE FROM billing_settlement")
    cell = f"2026-06-15T12Z campaign {market.creative.line_item.campaign_id} slot {market.slot.pk}"
    assert said("reconcile") == (
        1,
        [("ledger_equals_settlements", cell), ("earnings_equal_settlements", cell)],
    )


def test_a_missing_posting(market: Market) -> None:
    with tampering():
        sql(
            "DELETE FROM billing_entry WHERE posting_id = (SELECT id FROM billing_posting WHERE kind = 'settle')"
        )
        sql("DELETE FROM billing_posting WHERE kind = 'settle'")
    code, found = said("reconcile")
    assert (code, [rule for rule, _ in found]) == (
        1,
        ["ledger_equals_settlements", "earnings_equal_settlements"],
    )


def test_statistics_that_differ_from_the_events(market: Market) -> None:
    sql("UPDATE events_hourlystat SET spend_micros = spend_micros + 1 WHERE hour = %s", NOON)
    code, found = said("reconcile")
    assert (code, [rule for rule, _ in found]) == (1, ["statistics_equal_events"])


def test_events_that_vanished(market: Market) -> None:
    with tampering():
        sql("DELETE FROM events_click WHERE served_at = %s", NOON)
    code, found = said("reconcile")
    assert (code, {rule for rule, _ in found}) == (
        1,
        {"statistics_equal_events", "settled_is_not_more_than_events"},
    )


def test_an_orphan_event(market: Market) -> None:
    decision = factories.decision(market.creative, market.slot)
    event = factories.impression(decision, decision_id="0" * 32)
    assert said("reconcile") == (
        1,
        [("event_belongs_to_a_decision", "i:00000000-0000-0000-0000-000000000000")],
    )
    assert event.charge_micros == 0


def test_an_import_that_cost_something(market: Market) -> None:
    decision = factories.decision(market.creative, market.slot, source="import")
    factories.click(decision, charge_micros=7)
    assert said("reconcile") == (1, [("tests_and_imports_cost_nothing", f"c:{decision.decision_id}")])


def test_the_audit_views_tell_the_same(market: Market) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT account_id, sum(micros) FROM audit_entry GROUP BY 1 ORDER BY 1")
        summed = cursor.fetchall()
        cursor.execute("SELECT id, balance_micros FROM audit_account ORDER BY 1")
        assert cursor.fetchall() == summed
        cursor.execute("SELECT kind, billable, sum(charge_micros) FROM audit_event GROUP BY 1, 2")
        assert cursor.fetchall() == [("click", True, 30 * MICROS + 5)]
        cursor.execute(
            "SELECT owner, currency, balance_micros FROM audit_account WHERE owner = 'Platform' ORDER BY 3"
        )
        assert cursor.fetchall() == [("Platform", "USD", -100 * MICROS), ("Platform", "USD", 9 * MICROS)]
        cursor.execute("SELECT posting_id, account_id, currency, micros, created_at FROM audit_entry LIMIT 1")
        cursor.execute(
            "SELECT event_id, kind, decision_id, campaign_id, advertiser_id, billable, reason, charge_micros, served_at FROM audit_event"
        )
        assert len(cursor.fetchall()) == 2
