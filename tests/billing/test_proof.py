"""Proof for outsiders: anchors that a rewritten chain does not meet, and books that another program balances."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from adplatform.billing import anchors, credit, invoices, ledger, payouts, services
from adplatform.billing.models import Entry, Payee, Posting
from adplatform.billing.verification import verify
from adplatform.core import clock
from tests import factories
from tests.billing.test_settlement import Market
from tests.billing.test_verifiers import sql, tampering
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def days(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three days of one deposit each, anchored on the fourth."""
    settings.ANCHORS_DIR = tmp_path
    advertiser = factories.organisation()
    for number in range(3):
        moment = NOON + number * DAY
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        services.deposit(advertiser, MICROS, key=f"bank:{number}", at=moment)
    assert len(anchors.write(at=NOON + 3 * DAY)) == 3
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    return sorted(anchors.folder().iterdir())


def named() -> list[tuple[str, str]]:
    return [(violation.rule, violation.subject) for violation in verify().violations]


def test_each_day_has_a_file_that_is_written_once(days: list[Path]) -> None:
    assert [path.name for path in days] == ["2026-06-15.json", "2026-06-16.json", "2026-06-17.json"]
    assert [path.stat().st_mode & 0o777 for path in days] == [0o444] * 3
    assert anchors.write(at=NOON + 3 * DAY) == []
    assert (json.loads(days[1].read_text())["postings"], verify().anchors, named()) == (2, 3, [])


def test_a_running_day_waits(days: list[Path]) -> None:
    assert anchors.write(at=NOON + 3 * DAY + timedelta(hours=11)) == []


def rewrite() -> None:
    """What a superuser with this program can do: change the past, and every hash and balance after it."""
    with tampering():
        sql(
            "UPDATE billing_entry SET micros = micros * 2 WHERE posting_id = (SELECT min(id) FROM billing_posting)"
        )
        previous = ledger.GENESIS
        for posting in Posting.objects.order_by("pk"):
            posting.previous_sha256 = previous
            lines = list(
                Entry.objects.filter(posting=posting).values_list("account_id", "currency", "micros")
            )
            previous = ledger.row_hash(posting, lines)
            sql(
                "UPDATE billing_posting SET previous_sha256 = %s, row_sha256 = %s WHERE id = %s",
                *(posting.previous_sha256, previous, posting.pk),
            )
        sql(
            "UPDATE billing_balance b SET micros = (SELECT sum(micros) FROM billing_entry e WHERE e.account_id = b.account_id)"
        )


def test_a_rewritten_chain_is_found_by_its_anchors_only(
    days: list[Path], settings: Any, tmp_path: Path
) -> None:
    rewrite()
    assert named() == [("anchor_holds", f"2026-06-{day}") for day in (15, 16, 17)]
    settings.ANCHORS_DIR = tmp_path / "elsewhere"
    assert named() == []


def test_postings_cut_off_at_the_end_are_missed(days: list[Path]) -> None:
    with tampering():
        last = Posting.objects.order_by("-pk").first()
        assert last is not None
        sql("DELETE FROM billing_entry WHERE posting_id = %s", last.pk)
        sql("DELETE FROM billing_posting WHERE id = %s", last.pk)
        sql(
            "UPDATE billing_balance b SET micros = (SELECT sum(micros) FROM billing_entry e WHERE e.account_id = b.account_id)"
        )
    assert named() == [("anchor_holds", "2026-06-17")]


def test_an_exchanged_or_missing_anchor_is_named(days: list[Path]) -> None:
    days[1].unlink()
    assert named() == [("anchor_names_the_one_before", "2026-06-17.json")]
    days[0].chmod(0o644)
    days[0].write_text("nothing")
    assert [rule for rule, _ in named()] == ["anchor_is_readable"]


def test_beancount_accepts_the_books_and_balances_them(tmp_path: Path, settings: Any) -> None:
    settings.SELLER = settings.SELLER | {"country": "DE"}
    for currency, cost in (("EUR", 12_345_678), ("JPY", 7_500_000), ("KWD", 1_234_567)):
        market = Market(currency=currency, share_bp=6_667)
        market.charge(cost)
        services.settle(at=NOON + timedelta(hours=1))
    invoices.issue_month(date(2026, 6, 1), at=datetime(2026, 7, 4, tzinfo=UTC))
    ledger.reverse(Posting.objects.filter(kind="settle").first() or Posting(), effective_at=NOON)
    out = StringIO()
    call_command("ledger_export", "--format", "beancount", stdout=out)
    path = tmp_path / "books.beancount"
    path.write_text(out.getvalue())

    assert bean_check(path) == (0, "")

    # A balance that does not come out is noticed: the check is a real one.
    path.write_text(out.getvalue().replace("Income:Revenue:EUR  -", "Income:Revenue:EUR  -1", 1))
    assert bean_check(path)[0] == 1


def bean_check(path: Path) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("bean-check")), "--no-cache", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr + done.stdout


def tampered(table: str, statement: str) -> list[str]:
    """The rules that are named after the owner of the tables changed a document."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE {table} DISABLE TRIGGER USER; {statement}"
        )
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    return [rule for rule, _ in named()]


@pytest.mark.parametrize(
    ("table", "statement", "rule"),
    [
        (
            "billing_invoiceline",
            "UPDATE billing_invoiceline SET micros = micros + 1",
            "invoice_equals_its_lines",
        ),
        ("billing_invoice", "UPDATE billing_invoice SET number = 2", "invoice_numbers_have_no_gap"),
        (
            "billing_invoice",
            "UPDATE billing_invoice SET tax_micros = 7, total_micros = net_micros + 7",
            "invoice_vat_is_in_the_books",
        ),
        (
            "billing_invoice",
            "UPDATE billing_invoice SET posting_id = NULL",
            "invoice_posting_has_its_invoice",
        ),
        ("billing_payout", "UPDATE billing_payout SET micros = micros + 1", "payout_equals_its_posting"),
        (
            "billing_payoutbatch",
            "UPDATE billing_payoutbatch SET state = 'refused'",
            "transit_holds_open_payouts",
        ),
        ("billing_hold", "UPDATE billing_hold SET state = 'released'", "holds_equal_the_held_money"),
    ],
)
def test_a_changed_document_is_named(table: str, statement: str, rule: str) -> None:
    market = Market(currency="EUR")
    market.charge(90_000_001)
    services.settle(at=NOON + timedelta(hours=1))
    Payee.objects.create(organisation=market.publisher, holder="Paper", iban="AT611904300234573201")
    invoices.issue_month(date(2026, 6, 1), at=NOON + 30 * DAY)
    payouts.prepare(at=NOON + 60 * DAY)
    credit.hold(market.advertiser, MICROS, key="1", reason="Dispute", by=None, at=NOON)
    assert named() == []
    assert rule in tampered(table, statement)
