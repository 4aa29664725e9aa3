"""Posting: balanced, named, once; reversal; what the books say afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adplatform.billing import ledger, queries, services
from adplatform.billing.ledger import Draft, LedgerConflictError, LedgerError, OverdraftError
from adplatform.billing.models import Entry, Posting
from adplatform.billing.verification import verify
from adplatform.core import money
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db


def test_a_deposit_raises_the_advertisers_money_and_the_cash_mirrors_it() -> None:
    advertiser = factories.organisation()

    posting = services.deposit(advertiser, 250 * MICROS, key="bank:1", at=NOON)

    assert queries.prepaid_balance(advertiser) == 250 * MICROS
    assert queries.balance(ledger.cash("USD")) == -250 * MICROS
    assert (posting.key, posting.kind, posting.effective_at) == ("deposit:bank:1", "deposit", NOON)


def test_the_same_deposit_again_changes_nothing() -> None:
    advertiser = factories.organisation()
    first = services.deposit(advertiser, 5 * MICROS, key="bank:1", at=NOON)

    # A retry arrives later: its time is not what makes it another payment.
    again = services.deposit(advertiser, 5 * MICROS, key="bank:1", at=NOON + timedelta(hours=1))

    assert again.pk == first.pk
    assert queries.prepaid_balance(advertiser) == 5 * MICROS
    assert Posting.objects.count() == 1


def test_the_same_key_with_another_amount_is_a_conflict() -> None:
    advertiser = factories.organisation()
    services.deposit(advertiser, 5 * MICROS, key="bank:1", at=NOON)

    with pytest.raises(LedgerConflictError):
        services.deposit(advertiser, 6 * MICROS, key="bank:1", at=NOON)

    assert queries.prepaid_balance(advertiser) == 5 * MICROS


def test_a_deposit_is_positive_and_an_advertisers() -> None:
    with pytest.raises(services.DepositError, match="more than nothing"):
        services.deposit(factories.organisation(), 0, key="bank:1", at=NOON)
    with pytest.raises(services.DepositError, match="no advertiser"):
        services.deposit(factories.publisher(), MICROS, key="bank:1", at=NOON)
    assert not Posting.objects.exists()


def test_unbalanced_empty_or_idle_postings_are_refused_before_they_are_written() -> None:
    cash, prepaid = ledger.cash("USD"), ledger.prepaid(factories.organisation())
    euros = ledger.cash("EUR")
    for entries, words in (
        ({cash: -2, prepaid: 1}, "add up to -1"),
        ({cash: -1}, "at least two"),
        ({}, "at least two"),
        ({cash: -1, prepaid: 1, euros: 0}, "moves something"),
        ({euros: -1, prepaid: 1}, "of EUR|of USD"),
    ):
        with pytest.raises(LedgerError, match=words):
            ledger.post(key="wrong", kind="test", entries=entries, effective_at=NOON)
    assert not Posting.objects.exists()


def test_a_prepaid_account_is_never_overdrawn() -> None:
    advertiser, publisher = factories.organisation(), factories.publisher()
    services.deposit(advertiser, 10, key="bank:1", at=NOON)

    with pytest.raises(OverdraftError, match="1 micros of USD too little"):
        ledger.post(
            key="spend",
            kind="settle",
            entries={ledger.prepaid(advertiser): -11, ledger.earned(publisher): 11},
            effective_at=NOON,
        )

    assert queries.prepaid_balance(advertiser) == 10
    assert not Posting.objects.filter(key="spend").exists()


def test_a_reversal_mirrors_a_posting_once() -> None:
    advertiser = factories.organisation()
    deposit = services.deposit(advertiser, 10, key="bank:1", at=NOON)

    back = ledger.reverse(deposit, effective_at=NOON + timedelta(days=1), memo="Payment bounced")
    again = ledger.reverse(deposit, effective_at=NOON + timedelta(days=2))

    assert again.pk == back.pk
    assert back.reverses == deposit
    assert queries.prepaid_balance(advertiser) == 0
    assert {(entry.account.kind, entry.micros) for entry in back.entries.all()} == {
        ("prepaid", -10),
        ("cash", 10),
    }


def test_many_postings_keep_their_order_and_repeat_none() -> None:
    advertiser = factories.organisation()
    entries = {ledger.prepaid(advertiser): 1, ledger.cash("USD"): -1}
    drafts = [Draft(key=f"d{n % 3}", kind="deposit", entries=entries, effective_at=NOON) for n in range(5)]

    postings = ledger.post_many(drafts)

    assert [posting.key for posting in postings] == ["d0", "d1", "d2", "d0", "d1"]
    assert list(Posting.objects.values_list("key", flat=True)) == ["d0", "d1", "d2"]
    assert queries.prepaid_balance(advertiser) == 3


def test_each_posting_names_the_hash_of_the_one_before() -> None:
    advertiser = factories.organisation()
    for number in range(3):
        services.deposit(advertiser, 1 + number, key=f"bank:{number}", at=NOON)

    first, second, third = Posting.objects.order_by("pk")

    assert first.previous_sha256 == ledger.GENESIS
    assert (second.previous_sha256, third.previous_sha256) == (first.row_sha256, second.row_sha256)
    assert verify().head == third.row_sha256


def test_one_currency_does_not_pay_for_another() -> None:
    advertiser = factories.organisation(currency="JPY")
    services.deposit(advertiser, 500 * MICROS, key="bank:1", at=NOON)

    with pytest.raises(LedgerError, match="not to zero"):
        ledger.post(
            key="swap",
            kind="test",
            entries={ledger.prepaid(advertiser): -MICROS, ledger.revenue("USD"): MICROS},
            effective_at=NOON,
        )


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_balances_are_the_sums_of_entries_in_any_order(data: st.DataObject) -> None:
    """Deposits, spends with a revenue share, reversals, in any order, over currencies of 0, 2 and 3 digits."""
    currency = data.draw(st.sampled_from(["JPY", "USD", "KWD"]))
    advertiser = factories.organisation(currency=currency)
    publisher = factories.publisher(currency=currency, revenue_share_bp=data.draw(st.integers(0, 10_000)))
    prepaid, earned, revenue = ledger.prepaid(advertiser), ledger.earned(publisher), ledger.revenue(currency)
    before = queries.balance(revenue)
    held = theirs = ours = 0
    for number in range(data.draw(st.integers(1, 8))):
        micros = data.draw(st.integers(1, 10**9))
        key = f"{advertiser.pk}:{number}"
        if data.draw(st.booleans()):
            services.deposit(advertiser, micros, key=key, at=NOON)
            held += micros
            continue
        share, rest = money.split(micros, publisher.revenue_share_bp)
        parts = {prepaid: -micros, earned: share, revenue: rest}
        entries = {account: part for account, part in parts.items() if part}
        try:
            ledger.post(key=key, kind="settle", entries=entries, effective_at=NOON)
        except OverdraftError:
            assert micros > held
            continue
        held, theirs, ours = held - micros, theirs + share, ours + rest
    assert queries.balance(prepaid) == held >= 0
    assert (queries.balance(earned), queries.balance(revenue) - before) == (theirs, ours)
    assert queries.granted([advertiser.pk]).get(advertiser.pk, 0) == held + theirs + ours
    for account in (prepaid, earned):
        assert queries.balance(account) == sum(
            Entry.objects.filter(account=account).values_list("micros", flat=True)
        )


def test_a_statement_tells_days_in_words() -> None:
    advertiser, publisher = factories.organisation(), factories.publisher()
    campaign = factories.campaign(advertiser, name="Spring")
    slot = factories.slot(factories.site(publisher, name="Daily"), name="Top")
    services.deposit(advertiser, 10 * MICROS, key="bank:1", at=NOON, memo="Bank transfer 17")
    for hour in range(3):
        ledger.post(
            key=f"settle:2026061{hour}T12:{campaign.pk}:{slot.pk}:1",
            kind="settle",
            entries={ledger.prepaid(advertiser): -MICROS, ledger.earned(publisher): MICROS},
            effective_at=NOON + timedelta(hours=6 * hour),
        )

    paid = queries.statement(ledger.prepaid(advertiser), start=NOON, end=NOON + timedelta(days=2))
    got = queries.statement(
        ledger.earned(publisher), start=NOON + timedelta(hours=1), end=NOON + timedelta(days=2)
    )

    assert [(line.day.day, line.words, line.micros, line.balance_micros) for line in paid] == [
        (15, "Bank transfer 17", 10 * MICROS, 10 * MICROS),
        (15, "Ads of Spring", -2 * MICROS, 8 * MICROS),
        (16, "Ads of Spring", -MICROS, 7 * MICROS),
    ]
    # The first million is from before the range: it is in the opening balance.
    assert [(line.words, line.micros, line.balance_micros) for line in got] == [
        ("Ads in Top on Daily", MICROS, 2 * MICROS),
        ("Ads in Top on Daily", MICROS, 3 * MICROS),
    ]
