"""Repacing: slower when ahead, faster when behind, never above what a bid promised."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from adplatform.bidding import services
from adplatform.bidding.models import Pace
from adplatform.campaigns.budgets import day_of
from adplatform.campaigns.models import Budget, Campaign, Status
from adplatform.inventory.models import AdSlot
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
DAY = NOON.replace(hour=0)
TICK = timedelta(minutes=5)


def running(**fields: object) -> Campaign:
    """Started two days ago, 24.00 a day: 1.00 an hour of even traffic."""
    given = {
        "status": Status.ACTIVE,
        "start_at": DAY - timedelta(days=2),
        "end_at": None,
        "daily_budget_micros": 24 * MICROS,
    }
    return factories.campaign(**given | {"flight_budget_micros": None} | fields)


def spend(campaign: Campaign, micros: int, *, at: datetime) -> None:
    """What ingest writes: the day's row and the flight's."""
    for day in (day_of(at, campaign.organisation.time_zone), None):
        row, _ = Budget.objects.get_or_create(campaign=campaign, date=day, defaults={"amount_micros": 10**12})
        row.spent_micros += micros
        row.save()


@pytest.fixture
def busy() -> AdSlot:
    """A slot with a thousand requests every hour of today: plenty to learn from, and even."""
    slot = factories.slot()
    for hours in range(24):
        factories.fill_stat(slot, hour=DAY + timedelta(hours=hours), requests=1_000)
    return slot


@pytest.mark.usefixtures("busy")
class TestMoves:
    def test_ahead_of_traffic_slows(self) -> None:
        campaign = running()
        spend(campaign, 8 * MICROS, at=DAY)  # by four o'clock, when 4.00 should be spent

        done = services.repace(at=DAY + timedelta(hours=4))

        pace = Pace.objects.get(campaign=campaign)
        # e = (8 - 4) / 4 = 1; k = exp(-0.3) = 0.74
        assert pace.multiplier == pytest.approx(0.7408, abs=1e-4)
        assert (pace.target_micros, pace.spent_micros) == (4 * MICROS, 8 * MICROS)
        assert done.words == "1 campaign: 1 slowed, 0 sped up."

    def test_behind_traffic_speeds_up_again_but_not_past_the_manual_bid(self) -> None:
        campaign = running()
        spend(campaign, 8 * MICROS, at=DAY)
        services.repace(at=DAY + timedelta(hours=4))
        paces = []
        for hour in range(5, 12):  # nothing is spent any more
            services.repace(at=DAY + timedelta(hours=hour))
            paces.append(Pace.objects.get(campaign=campaign).multiplier)
        assert paces == sorted(paces)
        assert paces[0] == pytest.approx(1.0)  # exp(-0.3) · exp(0.3)
        assert paces[-1] == 1.0

    def test_an_automatic_strategy_may_bid_more(self) -> None:
        campaign = running(bid_strategy="maximise_conversions")
        for hour in range(1, 8):
            services.repace(at=DAY + timedelta(hours=hour))
        assert 1.5 < Pace.objects.get(campaign=campaign).multiplier <= 3

    @pytest.mark.parametrize("strategy", ["target_cpa", "target_roas"])
    def test_a_target_is_never_bid_above(self, strategy: str) -> None:
        campaign = running(bid_strategy=strategy, target_roas_bp=30_000)
        for hour in range(1, 8):
            services.repace(at=DAY + timedelta(hours=hour))
        assert Pace.objects.get(campaign=campaign).multiplier == 1.0

    def test_on_target_nothing_moves(self) -> None:
        campaign = running()
        spend(campaign, 4 * MICROS + 100_000, at=DAY)
        done = services.repace(at=DAY + timedelta(hours=4))
        assert Pace.objects.get(campaign=campaign).multiplier == 1.0
        assert (done.slowed, done.sped_up) == (0, 0)

    def test_each_tick_counts_its_own_spend_against_what_is_left(self) -> None:
        campaign = running()
        spend(campaign, 14 * MICROS, at=DAY)
        services.repace(at=DAY + timedelta(hours=4))
        spend(campaign, MICROS, at=DAY)
        services.repace(at=DAY + timedelta(hours=5))

        pace = Pace.objects.get(campaign=campaign)

        # 10.00 of 24.00 are left for the 20 hours from 4 o'clock on: 0.50 for this one.
        assert (pace.target_micros, pace.spent_micros) == (500_000, MICROS)

    def test_a_flight_budget_is_spread_over_the_flight(self) -> None:
        # Four days of 24 hours are left this morning, and 8.00 of the 12.00: 2.00 for today.
        campaign = running(
            daily_budget_micros=None, flight_budget_micros=12 * MICROS, end_at=DAY + timedelta(days=4)
        )
        spend(campaign, 4 * MICROS, at=DAY - timedelta(days=1))

        services.repace(at=DAY + timedelta(hours=12))

        assert Pace.objects.get(campaign=campaign).target_micros == MICROS

    def test_the_tighter_budget_decides(self) -> None:
        campaign = running(flight_budget_micros=12 * MICROS, end_at=DAY + timedelta(days=4))
        services.repace(at=DAY + timedelta(hours=12))
        assert Pace.objects.get(campaign=campaign).target_micros == 1_500_000

    def test_the_day_is_the_organisations(self) -> None:
        # 12:00 in UTC is 21:00 in Tokyo: 21 of 24 hours are over.
        tokyo = factories.organisation(time_zone="Asia/Tokyo")
        campaign = running(organisation=tokyo)
        services.repace(at=NOON)
        assert Pace.objects.get(campaign=campaign).target_micros == 21 * MICROS

    def test_a_new_day_begins_with_a_new_budget_and_the_old_pace(self) -> None:
        campaign = running()
        spend(campaign, 20 * MICROS, at=DAY)
        services.repace(at=DAY + timedelta(hours=12))
        yesterday = Pace.objects.get(campaign=campaign).multiplier
        factories.fill_stat(hour=DAY + timedelta(hours=24), requests=1_000)
        spend(campaign, MICROS, at=DAY + timedelta(hours=24))

        services.repace(at=DAY + timedelta(hours=25))

        pace = Pace.objects.get(campaign=campaign)
        assert pace.spent_micros == MICROS
        assert pace.target_micros == pytest.approx(MICROS, rel=0.1)
        assert pace.multiplier == pytest.approx(yesterday, rel=0.1)

    def test_a_dry_run_tells_and_writes_nothing(self) -> None:
        campaign = running()
        spend(campaign, 8 * MICROS, at=DAY)
        done = services.repace(at=DAY + timedelta(hours=4), dry_run=True)
        assert [(change.campaign_id, change.before, round(change.after, 2)) for change in done.changes] == [
            (campaign.pk, 1.0, 0.74)
        ]
        assert not Pace.objects.exists()

    def test_a_budget_taken_away_ends_the_pacing(self) -> None:
        campaign = running()
        spend(campaign, 8 * MICROS, at=DAY)
        services.repace(at=DAY + timedelta(hours=4))
        Campaign.objects.update(daily_budget_micros=None)
        services.repace(at=DAY + timedelta(hours=5))
        assert Pace.objects.get(campaign=campaign).multiplier == 1.0

    def test_only_running_campaigns_with_a_budget_are_paced(self) -> None:
        running(
            daily_budget_micros=None, flight_budget_micros=MICROS
        )  # a flight without an end: nothing to spread over
        running(status=Status.PAUSED)
        running(start_at=DAY + timedelta(days=1))
        running(start_at=DAY - timedelta(days=2), end_at=DAY)
        running(source="upworthy")
        assert services.repace(at=DAY + timedelta(hours=4)).changes == []


def test_too_few_requests_say_nothing_yet() -> None:
    campaign = running()
    factories.fill_stat(hour=DAY, requests=5)
    services.repace(at=DAY + timedelta(hours=4))
    assert Pace.objects.get(campaign=campaign).multiplier == 1.0
    assert Pace.objects.get(campaign=campaign).state["pacer"]["carried_opportunities"] == 5


@pytest.mark.usefixtures("busy")
def test_the_clock_may_go_back() -> None:
    """A replay of the past after the present was paced."""
    campaign = running()
    services.repace(at=DAY + timedelta(hours=12))
    services.repace(at=DAY + timedelta(hours=4))
    assert Pace.objects.get(campaign=campaign).target_micros == 4 * MICROS
