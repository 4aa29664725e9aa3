"""Thirty nights of the demo: what the scheduler would have run, at the moments at which it would have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta

from adplatform.bidding import services as bidding
from adplatform.demo.history import SOURCE, History
from adplatform.demo.models import DemoDay
from adplatform.demo.tally import Tally
from adplatform.events.models import AdDecision, Click, Conversion, Impression
from adplatform.jobs import services as jobs
from adplatform.jobs.models import JobRun

DAYS = 30
LENGTH = timedelta(days=DAYS)
TRAINING_DAYS = (
    9,
    19,
)  # the first models are trained when there is something to learn; the last night's is for a worker
NIGHT = ("embed_visitors", "settle", "rollup")
MONTHLY = {4: "issue_invoices", 5: "prepare_payouts"}  # by the day that begins


class DemoError(Exception):
    """The demo cannot go on; the message says which part and why."""


def start_of(today: date) -> datetime:
    return datetime.combine(today - timedelta(days=DAYS), time(), UTC)


def live(history: History, *, starts_at: datetime, say: Callable[[int, Tally], object]) -> Tally:
    """Every day that has not been lived yet; returns the sums of the whole month."""
    total = Tally()
    done = DemoDay.objects.in_bulk()
    for number in range(DAYS):
        day = (starts_at + timedelta(days=number)).date()
        row = done.get(day) or _day(history, number, day)
        total.add(row.tally)
        say(number + 1, total)
    return total


def _day(history: History, number: int, day: date) -> DemoDay:
    history.live(day, after_round=lambda at: bidding.repace(at=at))
    night = datetime.combine(day + timedelta(days=1), time(), UTC)
    training = ("train",) if number in TRAINING_DAYS else ()
    monthly = (MONTHLY[night.day],) if night.day in MONTHLY else ()
    for name in (*NIGHT, *training, *monthly):
        run_job(name, night)
    return DemoDay.objects.create(date=day, **asdict(_counted(night - timedelta(days=1), night)))


def _counted(start: datetime, end: datetime) -> Tally:
    """A day as its facts tell it."""
    served = {"source": SOURCE, "served_at__gte": start, "served_at__lt": end}
    return Tally(
        requests=AdDecision.objects.filter(**served).count(),
        ads=Impression.objects.filter(**served).count(),
        clicks=Click.objects.filter(**served).count(),
        orders=Conversion.objects.filter(source=SOURCE, occurred_at__gte=start, occurred_at__lt=end).count(),
    )


def run_job(name: str, at: datetime) -> JobRun:
    """A scheduled job at a moment of the past, here and now; an earlier success of that slot counts."""
    run = jobs.run(name, slot=at, at=at, trigger=JobRun.Trigger.SCHEDULE)
    if run.status != JobRun.Status.SUCCEEDED:
        raise DemoError(f"the job {name} failed: {run.summary or run.error}")
    return run
