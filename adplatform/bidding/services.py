"""Repacing: how fast each campaign with a budget may spend from now on.

What a tick should have spent comes from the day's budget, or the day's part of the flight's, and the shape of traffic;
what it did spend is on the budget's rows, exact since ingest charges them. `decision.pacing` does the rest. A tick is
the time since the last one, whatever that was: the job calls every five minutes, a replay of the past less often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q, Sum

from adplatform.bidding import traffic
from adplatform.bidding.models import Pace
from adplatform.bidding.traffic import Traffic
from adplatform.campaigns.budgets import day_of
from adplatform.campaigns.models import Budget, Campaign, Status
from adplatform.decision import pacing
from adplatform.decision.bidding import pace_limit
from adplatform.decision.types import BidStrategy
from adplatform.events.models import FillStat

_SOURCES = ("live", "demo")
_TARGETS = {BidStrategy.TARGET_CPA, BidStrategy.TARGET_ROAS}


@dataclass(frozen=True, slots=True)
class Change:
    """One campaign's multiplier before and after."""

    campaign_id: int
    before: float
    after: float


@dataclass(slots=True)
class Repaced:
    """What one run did, or would do."""

    changes: list[Change] = field(default_factory=list)

    @property
    def slowed(self) -> int:
        return sum(change.after < change.before for change in self.changes)

    @property
    def sped_up(self) -> int:
        return sum(change.after > change.before for change in self.changes)

    @property
    def words(self) -> str:
        total = len(self.changes)
        return f"{total} {'campaign' if total == 1 else 'campaigns'}: {self.slowed} slowed, {self.sped_up} sped up."


@dataclass(frozen=True, slots=True)
class _Day:
    """A campaign's day in its organisation's zone, as far as its flight covers it."""

    date: date
    start: datetime
    end: datetime

    @classmethod
    def of(cls, campaign: Campaign, at: datetime) -> _Day:
        zone = ZoneInfo(campaign.organisation.time_zone)
        today = day_of(at, campaign.organisation.time_zone)
        start = datetime.combine(today, time(), zone).astimezone(UTC)
        end = datetime.combine(today + timedelta(days=1), time(), zone).astimezone(UTC)
        return cls(today, max(start, campaign.start_at), min(end, campaign.end_at or end))


def repace(*, at: datetime, dry_run: bool = False) -> Repaced:
    """Move the pace of every running campaign that has a budget to pace; the others go at full speed."""
    campaigns = list(_campaigns(at))
    done = Repaced()
    if campaigns:
        days = {campaign.pk: _Day.of(campaign, at) for campaign in campaigns}
        spent, requests = _spent(campaigns, days), _Requests(min(day.start for day in days.values()), at)
        old = {pace.campaign_id: pace for pace in Pace.objects.filter(campaign__in=campaigns)}
        shape = traffic.learn(at)
        rows = []
        for campaign in campaigns:
            before = old.get(campaign.pk)
            row = _next(
                campaign, before, at=at, day=days[campaign.pk], spent=spent, requests=requests, shape=shape
            )
            rows.append(row)
            done.changes.append(Change(campaign.pk, before.multiplier if before else 1.0, row.multiplier))
        if not dry_run:
            _write(rows)
    if not dry_run:
        _release()
    return done


def _campaigns(at: datetime) -> Sequence[Campaign]:
    """Running campaigns with a daily budget, or a flight's budget and an end to spread it over."""
    can_be_paced = Q(daily_budget_micros__isnull=False) | Q(
        flight_budget_micros__isnull=False, end_at__isnull=False
    )
    running = Campaign.objects.filter(
        Q(end_at__isnull=True) | Q(end_at__gt=at),
        can_be_paced,
        status=Status.ACTIVE,
        start_at__lte=at,
        source__in=_SOURCES,
    )
    return list(running.select_related("organisation").order_by("pk"))


def _spent(campaigns: Sequence[Campaign], days: Mapping[int, _Day]) -> dict[tuple[int, date | None], int]:
    """Charged so far, by campaign and day (None: the whole flight)."""
    dates = {day.date for day in days.values()}
    rows = Budget.objects.filter(Q(date__in=dates) | Q(date__isnull=True), campaign__in=campaigns)
    return {(pk, day): micros for pk, day, micros in rows.values_list("campaign_id", "date", "spent_micros")}


class _Requests:
    """Ad requests by hour since the earliest of the campaigns' days began."""

    def __init__(self, first: datetime, at: datetime) -> None:
        rows = FillStat.objects.filter(
            hour__gte=first - timedelta(hours=1), hour__lte=at, source__in=_SOURCES
        )
        self._by_hour = dict(rows.values_list("hour").annotate(total=Sum("requests")))

    def since(self, start: datetime) -> int:
        return sum(requests for hour, requests in self._by_hour.items() if hour >= start)


def _next(
    campaign: Campaign,
    before: Pace | None,
    *,
    at: datetime,
    day: _Day,
    spent: Mapping[tuple[int, date | None], int],
    requests: _Requests,
    shape: Traffic,
) -> Pace:
    """The campaign's next pace. Its state remembers what the day had spent and seen when it was last computed."""
    state = before.state if before else {}
    is_same_day = state.get("day") == day.date.isoformat() and before is not None and before.computed_at < at
    since = max(before.computed_at, day.start) if before and is_same_day else day.start
    day_spent, day_requests = spent.get((campaign.pk, day.date), 0), requests.since(day.start)
    known_spent, known_requests = (state["spent"], state["requests"]) if is_same_day else (0, 0)
    budget = _budget_of_day(campaign, day, shape, spent)
    shares = (shape.between(since, at), shape.between(at, day.end))
    target = pacing.target_for(max(0, budget - known_spent), shares, 0)
    tick = pacing.Tick(
        spent_micros=day_spent - known_spent,
        target_micros=target,
        opportunities=max(0, day_requests - known_requests),
        budget_left=(budget - day_spent) / budget if budget else 0.0,
        traffic_left=shares[1] / (shape.between(day.start, day.end) or 1.0),
    )
    pacer = pacing.step(pacing.Pace.from_state(state.get("pacer", {})), tick, most=_most(campaign))
    return Pace(
        campaign=campaign,
        multiplier=pacer.multiplier,
        target_micros=round(target),
        spent_micros=tick.spent_micros,
        computed_at=at,
        state={
            "pacer": pacer.as_state(),
            "day": day.date.isoformat(),
            "spent": day_spent,
            "requests": day_requests,
        },
    )


def _budget_of_day(
    campaign: Campaign, day: _Day, shape: Traffic, spent: Mapping[tuple[int, date | None], int]
) -> int:
    """What the day may spend: its own budget, or its part (by traffic) of what the flight had left in the morning."""
    limits = []
    if campaign.daily_budget_micros is not None:
        limits.append(campaign.daily_budget_micros)
    if campaign.flight_budget_micros is not None and campaign.end_at is not None:
        earlier = spent.get((campaign.pk, None), 0) - spent.get((campaign.pk, day.date), 0)
        left = max(0, campaign.flight_budget_micros - earlier)
        to_come = shape.between(day.start, campaign.end_at)
        limits.append(round(left * shape.between(day.start, day.end) / to_come) if to_come else left)
    return min(limits)


def _most(campaign: Campaign) -> float:
    """Manual bids are promises. A bid towards a target cost is worth exactly the target: above it the target breaks."""
    strategy = BidStrategy(campaign.bid_strategy)
    return 1.0 if strategy in _TARGETS else pace_limit(strategy)


def _write(rows: Sequence[Pace]) -> None:
    fields = ["multiplier", "target_micros", "spent_micros", "state", "computed_at"]
    Pace.objects.bulk_create(rows, update_conflicts=True, unique_fields=["campaign"], update_fields=fields)


def _release() -> None:
    """A campaign whose budget was taken away is paced no more."""
    unpaced = Q(campaign__daily_budget_micros__isnull=True) & (
        Q(campaign__flight_budget_micros__isnull=True) | Q(campaign__end_at__isnull=True)
    )
    Pace.objects.filter(unpaced).exclude(multiplier=1.0).update(multiplier=1.0, state={})
