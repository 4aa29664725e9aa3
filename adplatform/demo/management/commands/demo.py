"""`manage.py demo`: build the market, live its month, train, pick ads per visitor, and say what came of it."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Min

from adplatform.campaigns.models import Campaign
from adplatform.core import clock
from adplatform.demo import month, paperwork
from adplatform.demo.build import OPERATOR, SECOND_OPERATOR, Market, build, person
from adplatform.demo.catalogue import market
from adplatform.demo.compare import Standing, compare
from adplatform.demo.history import History
from adplatform.demo.info import info
from adplatform.demo.models import DemoDay
from adplatform.demo.summary import Summary
from adplatform.demo.tally import Tally
from adplatform.demo.truth import Truth, generate
from adplatform.jobs import services as jobs
from adplatform.jobs.models import JobRun
from adplatform.jobs.workers import running_worker
from adplatform.learning.models import TrainingRun
from adplatform.serving.publish import publish

SEED = 7
PEOPLE = 400
SCALE = 0.5
WAIT_SECONDS = 0.5
LAST_JOBS = ("train", "embed_visitors", "learn_beliefs", "refresh_engines", "score", "explain_ads")


class Command(BaseCommand):
    help = "Builds the synthetic market with 30 days of history, trains, and picks ads for every visitor."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="for make demo: end without serving")
        parser.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout")
        parser.add_argument(
            "--people", type=int, default=PEOPLE, help="visitors of a market that is built anew"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        self._started = time.monotonic()
        # A month takes hundreds of snapshots; naming each would bury the progress.
        logging.getLogger("adplatform.serving.snapshot").setLevel(logging.WARNING)
        path = Path(settings.VAR) / "demo_summary.json"
        try:
            summary = self._built(path) or self._build(people=options["people"])
        except month.DemoError as error:
            raise CommandError(str(error)) from error
        path.write_text(json.dumps(summary.as_dict(), default=str))
        if options["json"]:
            self.stdout.write(path.read_text())
        else:
            self.stdout.write("\n".join(summary.lines()))

    def _built(self, path: Path) -> Summary | None:
        """Of a demo that is complete: what was measured when it was built, with the books as they are now."""
        lived = DemoDay.objects.order_by("date")
        if len(lived) < month.DAYS or not path.exists():
            return None
        scoring = JobRun.objects.filter(job_id="score", status=JobRun.Status.SUCCEEDED).first()
        if scoring is None:
            return None
        saved = json.loads(path.read_text())
        total = Tally()
        for day in lived:
            total.add(day.tally)
        return Summary(
            month=total,
            training=TrainingRun.objects.exclude(finished_at=None).first(),
            scoring=scoring,
            standings=[Standing(**one) for one in saved["policies"]],
            info=info(),
            seconds=saved["seconds"],
        )

    def _build(self, *, people: int) -> Summary:
        plan = market()
        first = Campaign.objects.filter(source="demo").aggregate(first=Min("start_at"))["first"]
        starts_at = first or month.start_of(clock.now().date())
        truth = generate(plan, people=people, seed=SEED)
        self._say("building the market")
        built = build(plan, starts_at=starts_at)
        month.run_job("embed_creatives", starts_at)
        history = History(plan=plan, truth=truth, market=built, seed=SEED, scale=SCALE)
        lived = month.live(history, starts_at=starts_at, say=self._progress)
        ended_at = starts_at + month.LENGTH
        paperwork.finish(
            operator=person(OPERATOR, "Olga Operator"),
            second=person(SECOND_OPERATOR, "Oskar Operator", is_staff=True),
            at=ended_at,
        )
        with running_worker(("default", "gpu")) as worker:
            self._say(f"training and scoring on {worker}")
            runs = {name: self._on_worker(name, ended_at) for name in LAST_JOBS}
        publish(at=clock.now())
        return Summary(
            month=lived,
            training=TrainingRun.objects.exclude(finished_at=None).first(),
            scoring=runs["score"],
            standings=self._standings(truth, built, history, ended_at),
            info=info(),
            seconds=time.monotonic() - self._started,
        )

    def _on_worker(self, name: str, slot: datetime) -> JobRun:
        """Have a worker run a job for this slot, unless it has; wait for its row."""
        done = JobRun.objects.filter(job_id=name, slot=slot, status=JobRun.Status.SUCCEEDED).first()
        if done:
            return done
        jobs.enqueue(name, slot=slot, trigger=JobRun.Trigger.COMMAND)
        while True:
            time.sleep(WAIT_SECONDS)
            run = JobRun.objects.filter(job_id=name, slot=slot).exclude(status=JobRun.Status.RUNNING).first()
            if run is None:
                continue
            if run.status != JobRun.Status.SUCCEEDED:
                raise month.DemoError(f"the job {name} failed: {run.summary or run.error}")
            self._say(f"{name}: {run.summary}")
            return run

    def _standings(self, truth: Truth, built: Market, history: History, until: datetime) -> list[Standing]:
        """On the page views of the day after the history: nobody has learned from it."""
        server = history.server(Random(SEED))
        server.refresh()
        return compare(
            truth=truth,
            market=built,
            seen=history.seen,
            server=server,
            visits=history.visits(until.date()),
            until=until,
            seed=SEED,
        )

    def _progress(self, day: int, total: Tally) -> None:
        self._say(f"day {day} of {month.DAYS}: {total.ads:,} ads shown, {total.clicks:,} clicks")

    def _say(self, words: str) -> None:
        seconds = time.monotonic() - self._started
        sys.stderr.write(f"demo {seconds:5.0f} s  {words}\n")
        sys.stderr.flush()
