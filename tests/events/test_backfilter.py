"""What many events show together is found later: a fact of its own, and sums, budgets and books give it back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from adplatform.billing import ledger, queries, services
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.verification import verify
from adplatform.campaigns.models import Budget, Purse
from adplatform.events import backfilter
from adplatform.events.models import Click, HourlyStat, Impression, Invalidation
from adplatform.events.records import Served, TokenEvent
from adplatform.events.thresholds import Thresholds, thresholds
from tests import factories
from tests.events.streams import again, append, drain, served
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
HOME, OTHER = bytes(range(8)), bytes(range(8, 16))


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def shown(ad: Served, seconds: float, *, origin: bytes = HOME, seen: str = "yes") -> TokenEvent:
    return TokenEvent("impression", again(ad, served_at=at(seconds)), at(seconds + 0.3), "", origin, seen)


def clicked(impression: TokenEvent, dwell: float) -> TokenEvent:
    moment = impression.occurred_at + timedelta(seconds=dwell)
    return TokenEvent("click", impression.served, moment, "", impression.origin)


def visit(ad: Served, seconds: float, dwell: float, *, origin: bytes = HOME) -> tuple[TokenEvent, TokenEvent]:
    impression = shown(ad, seconds, origin=origin)
    return impression, clicked(impression, dwell)


def money_violations() -> list[object]:
    """Records made here have no decision, which reconciling says too."""
    return [found for found in reconcile().violations if found.rule != "event_belongs_to_a_decision"]


def filtered(events, *records: TokenEvent, limits: Thresholds | None = None) -> dict[str, int]:
    append(events, *records)
    drain(events)
    return backfilter.run(at=at(7200), limits=limits or Thresholds(), sources=["live"]).reasons


def test_a_household_with_a_few_clicks_is_left_alone(events) -> None:
    ad, other = served(visitor=b"v" * 16), served(visitor=b"w" * 16)
    views = [shown(ad, 40 * n) for n in range(30)]
    clicks = [visit(ad, 11, 4), visit(other, 700, 2), visit(ad, 2_000, 9)]
    assert filtered(events, *views, *(event for pair in clicks for event in pair)) == {}
    assert Invalidation.objects.count() == 0


def test_a_click_without_an_impression_or_before_it_was_no_persons(events) -> None:
    ad = served()
    none = clicked(shown(ad, 0), 5)
    rendered = TokenEvent("impression", served(served_at=at(100)), at(120), "", HOME, "yes")
    assert filtered(events, none, clicked(rendered, -10), rendered) == {"unseen": 2}


def test_a_click_right_after_rendering_is_too_fast(events) -> None:
    # Served three seconds earlier, so that the click alone looks patient enough.
    impression = TokenEvent("impression", served(served_at=at(0)), at(3), "", HOME, "yes")
    assert filtered(events, impression, clicked(impression, 0.1)) == {"too_fast": 1}


def test_a_double_click_and_the_fourth_click_on_one_creative_are_repeats(events) -> None:
    ad = served(visitor=b"v" * 16)
    visits = [visit(ad, seconds, 5) for seconds in (0, 1, 1_500, 4_000)]
    filler = [shown(ad, 20 * n) for n in range(30)]
    assert filtered(events, *filler, *(event for pair in visits for event in pair)) == {"repeated": 2}


def test_a_visitor_who_clicks_ten_times_an_hour_clicks_for_nothing_all_day(events) -> None:
    market = [served(visitor=b"v" * 16) for _ in range(11)]
    visits = [visit(ad, 97 * n + (n % 3) * 20, 3 + n) for n, ad in enumerate(market)]
    filler = [shown(market[0], 20 * n) for n in range(40)]
    assert filtered(events, *filler, *(event for pair in visits for event in pair)) == {"repeated": 11}


def test_a_burst_from_one_address_counts_where_it_clicks_on_much(events) -> None:
    ad = served()
    visits = [visit(ad, 31 * n + 7 * (n % 4), 2 + 1.7 * n) for n in range(12)]
    crowd = [visit(ad, 31 * n + 7 * (n % 4), 2 + 1.7 * n, origin=OTHER) for n in range(12)]
    passing = [shown(ad, n, origin=OTHER) for n in range(100)]
    records = [*passing, *(event for pair in visits + crowd for event in pair)]
    assert filtered(events, *records) == {"address_burst": 12}


def test_a_clock_is_recognised_by_its_gaps(events) -> None:
    market = [served(visitor=b"v" * 16) for _ in range(6)]
    visits = [visit(ad, 600 * n, 3 + n) for n, ad in enumerate(market)]
    filler = [shown(market[0], 13 * n) for n in range(20)]
    assert filtered(events, *filler, *(event for pair in visits for event in pair)) == {"regular": 6}


def test_newcomers_who_click_on_what_they_had_not_in_view_are_too_many_in_one_place(events) -> None:
    ad, other = served(), served()  # two slots, two campaigns

    def home(n: int) -> bytes:
        return n.to_bytes(4, "big") * 2

    def person(n: int, one: Served, *, is_viewed: bool, pages: int) -> list[TokenEvent]:
        pages_shown = [shown(one, 40 * n + 3 * page, origin=home(n)) for page in range(pages)]
        first = pages_shown[0]
        view = TokenEvent(
            "view", first.served, first.occurred_at + timedelta(seconds=1.5), "", home(n), "display50"
        )
        return [*pages_shown, *([view] if is_viewed else []), clicked(first, 3.0 + n % 7)]

    regulars = [person(n, (ad, other)[n % 2], is_viewed=n % 20 != 0, pages=3) for n in range(1, 101)]
    once = [person(n, (ad, other)[n % 2], is_viewed=n % 20 != 0, pages=1) for n in range(101, 151)]
    records = [event for one in regulars + once for event in one]
    assert filtered(events, *records) == {}  # one view in twenty is lost, of newcomers' as of others'
    bots = [person(n, ad, is_viewed=False, pages=1) for n in range(151, 171)]
    found = filtered(events, *(event for one in bots for event in one))
    assert found == {"newcomers": 22}  # and the two persons whose views were lost
    assert filtered(events) == {}


def test_a_click_on_a_place_that_nobody_sees_shares_its_reason(events) -> None:
    impression = shown(served(), 0, seen="stacked")
    assert filtered(events, impression, clicked(impression, 5)) == {"stacked": 1}
    assert Impression.objects.get().reason == "stacked"


def test_thresholds_are_settings() -> None:
    assert thresholds({"clicks_per_hour": 25}).clicks_per_hour == 25
    with pytest.raises(ValueError, match="clicks_per_day is none of"):
        thresholds({"clicks_per_day": 1})


def test_a_late_finding_gives_everything_back_by_postings(events) -> None:
    advertiser = factories.organisation()
    services.deposit(advertiser, 10 * MICROS, key="one", at=NOON)
    ad = served(factories.creative(factories.line_item(factories.campaign(advertiser))))
    good, bad = visit(ad, 0, 5), visit(ad, 60, 0.1)
    append(events, *good, *bad)
    drain(events, money=10 * MICROS)
    services.settle(at=at(3_700))
    assert queries.prepaid_balance(advertiser) == 10 * MICROS - 20_000

    found = backfilter.run(at=at(7_200), limits=Thresholds(), sources=["live"])
    assert (found.reasons, found.micros) == ({"too_fast": 1}, {"USD": 10_000})
    stat = HourlyStat.objects.get()
    assert (stat.clicks, stat.billable_clicks, stat.spend_micros, stat.impressions) == (1, 1, 10_000, 2)
    assert {row.spent_micros for row in Budget.objects.all()} == {10_000}
    assert Purse.objects.get().spent_micros == 10_000
    assert Click.objects.filter(is_billable=True).count() == 2  # facts stand as they were
    assert money_violations() == []

    for _ in range(2):  # the second run changes nothing
        services.settle(at=at(7_300))
        assert queries.prepaid_balance(advertiser) == 10 * MICROS - 10_000
    assert backfilter.run(at=at(7_400), limits=Thresholds(), sources=["live"]).events == 0
    assert queries.granted([advertiser.pk]) == {advertiser.pk: 10 * MICROS}
    publisher = factories.Organisation.objects.get(pk=ad.publisher_id)
    assert ledger.earned(publisher).balance.micros == 10_000 * publisher.revenue_share_bp // 10_000
    assert (money_violations(), verify().violations) == ([], [])
    assert reconcile().totals["USD"]["not_yet_returned"] == 0
