"""Payouts: after the hold, by two people, once; as the bank reads them."""

from __future__ import annotations

import csv
import io
import threading
from datetime import datetime, timedelta
from importlib.metadata import files
from typing import Any

import pytest
import xmlschema
from django.db import DatabaseError, connection, transaction

from adplatform.billing import bank_files, ledger, payouts, queries, services
from adplatform.billing.models import Payee, Payout, PayoutBatch, Posting
from adplatform.billing.verification import verify
from tests import factories
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
LATER = NOON + timedelta(days=31)
IBAN = "DE89370400440532013000"
SELLER = {"name": "Adhaus GmbH", "iban": IBAN, "bic": "COBADEFFXXX"}


def earned(micros: int, *, at: datetime = NOON, currency: str = "EUR", holder: str = "Zeitung Süd") -> Market:
    """A publisher with bank details that keeps everything and earned that much at that time."""
    market = Market(currency=currency, share_bp=10_000, deposit=10_000 * MICROS)
    market.charge(micros, at=at)
    services.settle(at=at + timedelta(hours=1))
    Payee.objects.create(organisation=market.publisher, holder=holder, iban=IBAN)
    return market


def approved(*, at: datetime = LATER) -> PayoutBatch:
    (batch,) = payouts.prepare(at=at, by=factories.operator())
    return payouts.approve(batch, by=factories.operator(), at=at)


def test_earnings_are_held_and_then_paid_in_whole_coins() -> None:
    market = earned(60_005_678)
    assert payouts.prepare(at=NOON + timedelta(days=29)) == []

    (batch,) = payouts.prepare(at=LATER)

    assert (batch.micros, batch.payouts.get().micros) == (60_000_000, 60_000_000)
    assert queries.earned_balance(market.publisher) == 5_678
    assert queries.balance(ledger.transit("EUR")) == 60_000_000
    assert verify().violations == []


def test_nobody_is_paid_without_bank_details_or_below_the_least_sum() -> None:
    earned(49 * MICROS)
    rich = earned(70 * MICROS)
    rich.publisher.payee.delete()
    assert payouts.prepare(at=LATER) == []


def test_what_was_taken_back_during_the_hold_is_not_paid() -> None:
    market = earned(100 * MICROS)
    ledger.reverse(Posting.objects.get(kind="settle"), effective_at=LATER)
    market.charge(60 * MICROS, at=LATER)
    services.settle(at=LATER + timedelta(hours=1))
    (item,) = payouts.payable(LATER + timedelta(hours=2))
    assert item.micros == 0


def test_two_people_approve() -> None:
    earned(60 * MICROS)
    one, two = factories.operator(), factories.operator()
    (batch,) = payouts.prepare(at=LATER)
    payouts.approve(batch, by=one, at=LATER)
    with pytest.raises(payouts.PayoutError, match="a second operator has to"):
        payouts.approve(batch, by=one, at=LATER)
    with pytest.raises(payouts.PayoutError, match="in another state"):
        payouts.mark_paid(batch, by=one, at=LATER)
    batch = payouts.approve(batch, by=two, at=LATER)
    assert batch.state == "approved"
    with pytest.raises(DatabaseError, match="two_people_approve_a_payout"), transaction.atomic():
        PayoutBatch.objects.update(second_by=one)


def test_paid_once_under_double_submit() -> None:
    earned(60 * MICROS)
    batch = approved()
    payouts.mark_paid(batch, by=factories.operator(), at=LATER)
    with pytest.raises(payouts.PayoutError, match="paid"):
        payouts.mark_paid(batch, by=factories.operator(), at=LATER)
    assert payouts.prepare(at=LATER) == []
    assert queries.balance(ledger.transit("EUR")) == 0
    assert queries.balance(ledger.cash("EUR")) == -(10_000 - 60) * MICROS
    assert verify().violations == []


def test_a_refused_batch_gives_everything_back_and_is_offered_again() -> None:
    market = earned(60 * MICROS)
    (batch,) = payouts.prepare(at=LATER)
    payouts.refuse(batch, by=factories.operator(), at=LATER)
    assert queries.earned_balance(market.publisher) == 60 * MICROS
    (again,) = payouts.prepare(at=LATER)
    assert (again.micros, Payout.objects.count()) == (60 * MICROS, 2)
    assert verify().violations == []


@pytest.mark.django_db(transaction=True)
def test_five_runs_at_once_prepare_once() -> None:
    earned(60 * MICROS)
    batches: list[PayoutBatch] = []

    def run() -> None:
        batches.extend(payouts.prepare(at=LATER))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(batches), Payout.objects.count()) == (1, 1)
    assert verify().violations == []


def schema() -> Any:
    """The ISO's own schema, as a development package carries it."""
    path = next(file for file in files("sepaxml") or [] if file.name == "pain.001.001.09.xsd")
    return xmlschema.XMLSchema(str(path.locate()))


def test_the_file_for_the_bank_follows_the_schema() -> None:
    earned(60 * MICROS)
    earned(75_500_000, holder="Čapek & Łoś <Verlag>")
    batch = approved()

    document = bank_files.sepa(batch, seller=SELLER, at=LATER)

    schema().validate(document.decode())
    text = document.decode()
    assert "<NbOfTxs>2</NbOfTxs><CtrlSum>135.50</CtrlSum>" in text
    assert '<InstdAmt Ccy="EUR">75.50</InstdAmt>' in text
    assert "<Nm>Capek + Los Verlag</Nm>" in text
    assert bank_files.sepa(batch, seller=SELLER, at=LATER) == document


def test_other_currencies_go_by_table_which_no_spreadsheet_calculates() -> None:
    earned(60 * MICROS, currency="USD", holder="=1+1")
    batch = approved()
    with pytest.raises(bank_files.BankFileError, match="euros only"):
        bank_files.sepa(batch, seller=SELLER, at=LATER)
    _, row = csv.reader(io.StringIO(bank_files.table(batch)))
    assert row[2:] == ["'=1+1", IBAN, "", "60.00", "USD"]


@pytest.mark.parametrize(
    "iban", [IBAN, "GB82WEST12345698765432", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"]
)
def test_ibans(iban: str) -> None:
    assert bank_files.is_iban(iban)
    assert not bank_files.is_iban(iban[:-1] + ("1" if iban[-1] != "1" else "2"))


@pytest.mark.parametrize("text", ["", "DE", "de89370400440532013000", "DE8937040044053201300é", "1" * 20])
def test_no_ibans(text: str) -> None:
    assert not bank_files.is_iban(text)
