"""The jobs of the books: settling by the hour, invoices and payouts by the month, anchors by the day, warnings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import shared_task

from adplatform.billing import anchors, invoices, low_balance, payouts, services
from adplatform.core import clock
from adplatform.core.money import format_micros
from adplatform.jobs.acting import ActsFor
from adplatform.jobs.registry import Outcome, Progress, job


@job(
    "settle",
    title="Settle",
    description="Moves what billable events cost from advertisers to publishers and the platform, hour by hour.",
)
def settle(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    # Once a day everything is looked at: hours that were closed long ago cost a scan of all statistics.
    done = services.settle(at=at, dry_run=dry_run, everything=slot.hour == 0)
    counts = {"postings": done.postings, "hours": done.hours, "short": done.short}
    return Outcome(
        done.words, counts | {f"micros_{currency}": micros for currency, micros in done.micros.items()}
    )


@job(
    "issue_invoices",
    title="Issue invoices",
    description="Invoices every advertiser for the month before, with what came late of earlier ones.",
)
def issue_invoices(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    done = invoices.issue_month(invoices.month_before(slot), at=at, dry_run=dry_run)
    return Outcome(done.words, {"invoices": done.invoices})


@job(
    "prepare_payouts",
    title="Prepare payouts",
    description="Puts what publishers earned before the hold into batches, which two people then approve.",
)
def prepare_payouts(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    batches = payouts.prepare(at=at, dry_run=dry_run)
    sums = " and ".join(format_micros(batch.micros, batch.currency) for batch in batches)
    return Outcome(f"{sums} to be approved." if batches else "Nothing to pay out.", {"batches": len(batches)})


@job(
    "write_anchors",
    title="Anchor the books",
    description="Writes the end of each day's hash chain into a file outside the database's reach.",
)
def write_anchors(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    written = anchors.write(at=at, dry_run=dry_run)
    words = f"{len(written)} days anchored, the last {written[-1].day}." if written else "Nothing to anchor."
    return Outcome(words, {"days": len(written)})


@job(
    "watch_balances",
    title="Watch balances",
    description="Mails advertisers whose money lasts for little longer, and shows them a banner until it does.",
)
def watch_balances(*, at: datetime, slot: datetime, dry_run: bool, progress: Progress) -> Outcome:
    low, fine = low_balance.watch(at=at, dry_run=dry_run)
    for organisation in [] if dry_run else low_balance.unmailed():
        mail_low_balance.apply_async(kwargs={"organisation": organisation}, queue="default", retry=False)
    return Outcome(f"{low} run short, {fine} have enough again.", {"low": low, "fine": fine})


def _mail_low_balance(*, organisation: int, **_: object) -> None:
    """Inside the organisation's walls; a message that was lost is sent again by the next `watch_balances`."""
    low_balance.mail(organisation, at=clock.now())


mail_low_balance: Any = shared_task(name="mail_low_balance", acts_for=ActsFor.ORGANISATION)(_mail_low_balance)
