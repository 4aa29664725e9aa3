"""Scheduled work on facts: hours into days, the second look at traffic."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings

from adplatform.core.money import format_micros
from adplatform.jobs.registry import Outcome, Progress, job

LONGEST_WINDOW_DAYS = 31  # conversions older than it are settled between the advertiser and its clicks


@job(
    "rollup",
    title="Add hours up to days",
    description="Rebuilds the daily statistics of every day whose hours changed.",
)
def rollup(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import rollups

    days = rollups.stale_days()
    rows = 0
    for done, day in enumerate(days, start=1):
        rows += 0 if dry_run else rollups.rebuild(day)
        progress(done, len(days))
    if not days:
        return Outcome("Every day already equals its hours.", {"days": 0, "rows": 0})
    verb = "Would rebuild" if dry_run else "Rebuilt"
    return Outcome(f"{verb} {len(days)} days, {days[0]} to {days[-1]}.", {"days": len(days), "rows": rows})


@job(
    "filter_traffic",
    title="Filter traffic",
    description="Looks at a day's clicks together; what no person did is taken out of the numbers and given back.",
)
def filter_traffic(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import backfilter
    from .thresholds import thresholds

    limits = thresholds(settings.TRAFFIC_THRESHOLDS)
    done = backfilter.run(at=at, limits=limits, sources=("live", "demo"), dry_run=dry_run)
    if not done.events:
        return Outcome("Nothing invalid was found.", {"events": 0})
    sums = " and ".join(format_micros(micros, currency) for currency, micros in sorted(done.micros.items()))
    verb = "Would invalidate" if dry_run else "Invalidated"
    words = f"{verb} {done.events:,} events" + (f" that had cost {sums}." if sums else ".")
    return Outcome(words, done.reasons | {"events": done.events})


@job(
    "credit_conversions",
    title="Credit conversions",
    description="Shares the conversions of the last weeks among clicks by every attribution model, late clicks included.",
)
def credit_conversions(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import credits
    from .models import Conversion

    since = at - timedelta(days=LONGEST_WINDOW_DAYS)
    rows = Conversion.objects.filter(occurred_at__gte=since).exclude(source="import")
    advertisers = sorted(set(rows.values_list("action__organisation_id", flat=True)))
    changed = 0
    for done, pk in enumerate(advertisers, start=1):
        changed += 0 if dry_run else credits.rebuild_all(pk, since=since, until=at)
        progress(done, len(advertisers))
    words = f"{changed:,} credits changed over {len(advertisers):,} advertisers."
    return Outcome(words, {"credits": changed, "advertisers": len(advertisers)})


@job(
    "add_delivery",
    title="Add up delivery",
    description="Adds what serving processes counted of line items to the hours that pages read.",
)
def add_delivery(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import delivery

    reports = delivery.waiting() if dry_run else delivery.add_up()
    verb = "Would add" if dry_run else "Added"
    return Outcome(f"{verb} {reports:,} reports.", {"reports": reports})


@job(
    "fold_delivery",
    title="Fold old hours of delivery",
    description="Makes one row of each day's counted opportunities once they are two weeks old.",
)
def fold_delivery(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    from . import delivery

    if dry_run:
        hours = delivery.foldable(at=at)
        return Outcome(f"Would fold {hours:,} hours of line items.", {"hours": hours})
    days, forgotten = delivery.shrink(at=at)
    return Outcome(
        f"Wrote {days:,} days, forgot {forgotten:,} old rows.", {"days": days, "forgotten": forgotten}
    )
