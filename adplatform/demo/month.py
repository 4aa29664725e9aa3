"""Thirty nights of the demo: what the scheduler would have run, at the moments at which it would have."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from adplatform.bidding import services as bidding
from adplatform.demo.history import History, Tally
from adplatform.demo.models import DemoDay
from adplatform.jobs import services as jobs
from adplatform.jobs.models import JobRun

DAYS = 30
LENGTH = timedelta(days=DAYS)
TRAINING_DAYS = (
    9,
    19,
)  # the first models are trained when there is something to learn; the last night's is for a worker
NIGHT = ("embed_visitors", "settle", "rollup")


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
        total.add(Tally(row.requests, row.ads, row.clicks, row.orders))
        say(number + 1, total)
    return total


def _day(history: History, number: int, day: date) -> DemoDay:
    tally = history.live(day, after_round=lambda at: bidding.repace(at=at))
    night = datetime.combine(day + timedelta(days=1), time(), UTC)
    for name in NIGHT if number not in TRAINING_DAYS else (*NIGHT, "train"):
        run_job(name, night)
    return DemoDay.objects.create(
        date=day, requests=tally.requests, ads=tally.ads, clicks=tally.clicks, orders=tally.orders
    )


def run_job(name: str, at: datetime) -> JobRun:
    """A scheduled job at a moment of the past, here and now; an earlier success of that slot counts."""
    run = jobs.run(name, slot=at, at=at, trigger=JobRun.Trigger.SCHEDULE)
    if run.status != JobRun.Status.SUCCEEDED:
        raise DemoError(f"the job {name} failed: {run.summary or run.error}")
    return run
