"""One month, told from the advertiser's transfer to the publisher's bank: deposit → serving → fraud → credit → invoice →
payout. At its end three independent checkers agree, and so does another bookkeeping program."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from adplatform.accounts.models import Organisation
from adplatform.billing import (
    anchors,
    approvals,
    bank_files,
    credit_notes,
    invoices,
    ledger,
    payments,
    payouts,
    pdf,
    queries,
)
from adplatform.billing.models import BillingProfile, Invoice, LedgerAccount, Payee, PayoutBatch
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.verification import verify
from adplatform.core import clock
from adplatform.events import backfilter
from adplatform.events.models import Impression
from adplatform.jobs.models import JobRun
from adplatform.jobs.services import run
from adplatform.serving import pipeline
from tests import factories
from tests.serving import market as m

EURO = 1_000_000
pytestmark = pytest.mark.django_db


@pytest.fixture
def calendar(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`calendar("2026-06-10 12:30")` turns the platform's clock to that moment."""

    def turn(words: str) -> datetime:
        moment = datetime.fromisoformat(words).replace(tzinfo=UTC)
        monkeypatch.setattr(clock, "now", lambda: moment)
        return moment

    return turn


@pytest.fixture
def seller(settings: Any, tmp_path: Path) -> None:
    settings.SELLER = {
        **{"name": "Adhaus GmbH", "address": "Weg 1\n10115 Berlin", "country": "DE", "vat_id": "DE123456789"},
        **{"iban": "DE89370400440532013000", "bic": "COBADEFFXXX"},
    }
    settings.PAYOUT_MINIMUM_UNITS, settings.ANCHORS_DIR = 5, tmp_path / "anchors"


def job(name: str, at: datetime) -> str:
    done = run(name, slot=at, at=at, trigger=JobRun.Trigger.SCHEDULE)
    assert (done.status, done.error) == ("succeeded", "")
    return str(done.summary)


def held(advertiser: Organisation, publisher: Organisation) -> dict[str, int]:
    """What every account holds, in cents; positive where somebody is owed."""
    accounts = {
        "prepaid": ledger.prepaid(advertiser),
        "due": ledger.due(advertiser),
        "earned": ledger.earned(publisher),
        **{kind: getattr(ledger, kind)("EUR") for kind in ("revenue", "tax", "rounding", "transit", "cash")},
    }
    cents = {name: queries.balance(account) / (EURO // 100) for name, account in accounts.items()}
    assert sum(cents.values()) == 0
    return {name: int(amount) for name, amount in cents.items() if amount}


def sound() -> bool:
    return (verify().violations, reconcile().violations) == ([], [])


def test_one_month(calendar: Any, seller: None, serve: Any, ask: Any, tmp_path: Path) -> None:
    # 3 June. A German shop announces a transfer of 20 euros. An operator finds it on the bank statement.
    at = calendar("2026-06-03 09:00")
    shop = m.advertiser(name="Shop", currency="EUR", money_micros=0)
    BillingProfile.objects.create(organisation=shop, legal_name="Shop GmbH", address="Gasse 3", country="DE")
    paper = factories.publisher(name="Paper", currency="EUR", revenue_share_bp=7_000)
    Payee.objects.create(organisation=paper, holder="Paper AG", iban="AT611904300234573201")
    olga, tom = factories.operator(name="Olga"), factories.operator(name="Tom")
    transfer = payments.ask(shop, 20 * EURO, gateway="bank", key=uuid.uuid4())
    assert held(shop, paper) == {}
    detail = {"payment": transfer.pk, "reference": "Line 17"}
    given = {
        "kind": "deposit",
        "organisation": shop,
        "micros": 20 * EURO,
        "words": "Transfer",
        "detail": detail,
    }
    approvals.ask(**given, key=uuid.uuid4(), by=olga, at=at)
    assert held(shop, paper) == {"prepaid": 2_000, "cash": -2_000}

    # 10 June. Its ad is shown twelve times at one euro each (a dear place: 1,000.00 per thousand).
    at = calendar("2026-06-10 12:30")
    m.ad(
        shop,
        campaign={"name": "Sandals", "bid_strategy": "manual_cpm", "daily_budget_micros": 100 * EURO},
        line_item={"bid_micros": 1_000 * EURO, "pacing": "asap", "cap_impressions": None},
    )
    slot = m.slot(site_=factories.site(paper, currency="EUR"), floor_micros=1_000 * EURO)
    market = serve()
    question = {"placements": [{"id": "a", "slot": slot.public_id}]}
    for _ in range(12):
        (ad,) = ask("POST", "/v1/decisions", question).json["placements"]["a"]["ads"]
        assert ask("GET", ad["impression_url"][ad["impression_url"].index("/", 8) :]).status == 200
    market.server.flush()
    pipeline.drain_all(market.events, market.hot)
    assert queries.available(shop) == 8 * EURO

    # The hour ends and is settled: 70 % are the publisher's.
    at = calendar("2026-06-10 13:05")
    assert job("settle", at) == "€12.00 settled in 1 postings over 1 hours."
    assert held(shop, paper) == {"prepaid": 800, "earned": 840, "revenue": 360, "cash": -2_000}

    # 12 June. Two of the twelve turn out to be a machine's. What they cost is credited, by a posting, not by an edit.
    at = calendar("2026-06-12 03:00")
    machine = [decision.hex for decision in Impression.objects.values_list("decision_id", flat=True)[:2]]
    backfilter.invalidate({("impression", decision): "repeated" for decision in machine}, at=at)
    assert queries.available(shop) == 10 * EURO
    job("settle", calendar("2026-06-12 03:05"))
    assert held(shop, paper) == {"prepaid": 1_000, "earned": 700, "revenue": 300, "cash": -2_000}
    assert sound()

    # 4 July. The invoice: ten euros, and 19 % VAT out of the prepaid money. Running the job again issues nothing.
    at = calendar("2026-07-04 04:30")
    assert job("issue_invoices", at) == "1 documents over €10.00 net."
    assert job("issue_invoices", calendar("2026-07-04 04:31")) == "Nothing to invoice."
    invoice = Invoice.objects.get()
    assert (str(invoice), invoice.net_micros, invoice.tax_micros) == ("INV-2026-000001", 10 * EURO, 1_900_000)
    assert list(invoice.lines.values_list("words", "micros")) == [("Ads of Sandals", 10 * EURO)]
    assert held(shop, paper) == {"prepaid": 810, "earned": 700, "revenue": 300, "tax": 190, "cash": -2_000}
    assert pdf.render(invoice).startswith(b"%PDF")

    # The shop complains that one ad was late: a credit note of a euro, with its VAT, at the platform's cost.
    note = credit_notes.issue(invoice, EURO, key="complaint-1", reason="Shown late", at=at)
    assert (str(note), note.total_micros) == ("CN-2026-000001", -1_190_000)
    assert held(shop, paper) == {"prepaid": 929, "earned": 700, "revenue": 200, "tax": 171, "cash": -2_000}

    # The rest of the money goes back to the account it came from; a person sends it.
    refund = payments.refund(transfer, 9_290_000, key=uuid.uuid4(), reason="Season over", by=olga, at=at)
    payments.send(refund, at=at, external_id="Line 44")
    assert held(shop, paper) == {"earned": 700, "revenue": 200, "tax": 171, "cash": -1_071}

    # 15 July. The hold of 30 days is over: a batch, seen by two people, goes to the bank as a file, and is booked.
    assert job("prepare_payouts", calendar("2026-07-09 05:00")) == "Nothing to pay out."
    at = calendar("2026-07-15 05:00")
    assert job("prepare_payouts", at) == "€7.00 to be approved."
    assert held(shop, paper) == {"transit": 700, "revenue": 200, "tax": 171, "cash": -1_071}
    batch = PayoutBatch.objects.get()
    for person in (olga, tom):
        batch = payouts.approve(batch, by=person, at=at)
    document = bank_files.sepa(
        batch, seller={"name": "Adhaus", "iban": "DE89370400440532013000", "bic": ""}, at=at
    )
    assert b'<InstdAmt Ccy="EUR">7.00</InstdAmt>' in document
    payouts.mark_paid(batch, by=tom, at=at)
    # What is left at the bank: the platform's two euros and the state's VAT.
    assert held(shop, paper) == {"revenue": 200, "tax": 171, "cash": -371}

    # Everybody reads it in words, and every checker agrees.
    month = {"start": datetime(2026, 6, 1, tzinfo=UTC), "end": datetime(2026, 8, 1, tzinfo=UTC)}
    lines = [(line.words, line.micros / EURO) for line in queries.statement(ledger.prepaid(shop), **month)]
    assert lines == [
        (f"Bank transfer {transfer.reference}", 20),
        ("Ads of Sandals", -12),
        ("Ads of Sandals", 2),
        ("VAT and rounding of INV-2026-000001", -1.9),
        ("Credit note CN-2026-000001 on INV-2026-000001: Shown late", 1.19),
        (f"On hold: Refund of {transfer.reference}", -9.29),
    ]
    job("write_anchors", calendar("2026-07-16 00:25"))
    assert (len(anchors.read()), verify().anchors) == (5, 5)
    assert sound()
    out = StringIO()
    call_command("ledger_export", stdout=out)
    (tmp_path / "books.beancount").write_text(out.getvalue())
    bean_check = [str(Path(sys.executable).with_name("bean-check")), "--no-cache", "books.beancount"]
    assert subprocess.run(bean_check, cwd=tmp_path, check=False).returncode == 0
    assert LedgerAccount.objects.filter(balance__micros__lt=0).get().kind == "cash"
    assert not invoices.open_items(ledger.prepaid(shop), datetime(2026, 8, 1, tzinfo=UTC).date())
