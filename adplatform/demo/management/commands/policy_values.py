"""`manage.py policy_values [--blocks N] [--days N] [--json]`: off-policy estimates beside the demo market's known truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from random import Random
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Min

from adplatform.campaigns.models import Campaign
from adplatform.demo import month, policies
from adplatform.demo.build import Market, load
from adplatform.demo.catalogue import market
from adplatform.demo.compare import Retrieval, compare_retrieval
from adplatform.demo.history import History
from adplatform.demo.management.commands.demo import PEOPLE, SCALE, SEED
from adplatform.demo.models import DemoDay
from adplatform.demo.policies import NAMED, Log, Valued
from adplatform.demo.truth import Truth, generate

BLOCKS, BLOCK_DAYS = 3, 2


class Command(BaseCommand):
    help = (
        "Values policies on the demo market by IPS, SNIPS and DR, and says how many intervals hold the truth."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--blocks", type=int, default=BLOCKS, help="blocks of days decided with more chance"
        )
        parser.add_argument("--days", type=int, default=BLOCK_DAYS, help="days of a block")
        parser.add_argument("--people", type=int, default=PEOPLE, help="as the demo was built with")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_args: Any, **options: Any) -> None:
        starts_at = Campaign.objects.filter(source="demo").aggregate(first=Min("start_at"))["first"]
        if starts_at is None or DemoDay.objects.count() < month.DAYS:
            raise CommandError("There is no complete demo market: run `manage.py demo` first.", returncode=2)
        plan = market()
        truth, built = generate(plan, people=options["people"], seed=SEED), load(plan)
        history = History(plan=plan, truth=truth, market=built, seed=SEED, scale=SCALE)
        logs = _logs(history, truth, built, starts_at, blocks=options["blocks"], days=options["days"])
        found = [one for name, log in logs for one in policies.valued(name, log) if len(log.found)]
        ends_at = starts_at + month.LENGTH
        retrieved = compare_retrieval(truth=truth, market=built, seen=history.seen, at=ends_at)
        if options["json"]:
            values = [asdict(one) | {"held": one.held} for one in found]
            self.stdout.write(
                json.dumps({"policies": values, "retrieval": [asdict(one) for one in retrieved]})
            )
        else:
            self.stdout.write("\n".join([*lines(found), *map(retrieval_line, retrieved)]))


def _logs(
    history: History, truth: Truth, built: Market, starts_at: datetime, *, blocks: int, days: int
) -> Iterator[tuple[str, Log]]:
    """The month's own choices, then blocks of days decided with more chance."""
    server = history.server(Random(SEED))
    server.refresh()
    logged = policies.as_logged(history, truth, built, starts_at=starts_at, days=month.DAYS)
    if len(logged.found):
        yield "as logged", logged
    wide = policies.Wide(history, truth, built, server)
    for block in range(blocks):
        yield f"wide {block + 1}", wide.log(starts_at + month.LENGTH + timedelta(days=block * days), days)


def retrieval_line(one: Retrieval) -> str:
    """What the engines would add to the picks, by the truth."""
    gain = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*one.gain)
    return (
        f"Picks ({one.picks}): {one.alone:.1f} true clicks per 1,000 retrieved by the transformer alone, "
        f"{one.with_engines:.1f} with the engines: {gain}."
    )


def lines(found: Sequence[Valued]) -> Iterator[str]:
    """The table, and how many intervals hold."""
    yield f"{'logs':12}{'policy':14}{'rows':>7}{'ESS':>7}{'truth':>8}  " + "".join(
        f"{name:>24}" for name in NAMED
    )
    for one in found:
        head = f"{one.log:12}{one.policy:14}{one.rows:7,}{one.ess:7.0f}{1000 * one.truth:8.2f}  "
        if one.refusal:
            yield f"{head}not valued: {one.refusal.partition(':')[0]}"
            continue
        held = one.held
        cells = (
            f"{1000 * value:7.2f} {1000 * low:6.2f}–{1000 * high:<6.2f}{' ' if held[name] else '✗'}"
            for name, (value, low, high) in one.estimates.items()
        )
        yield head + "".join(f"{cell:>24}" for cell in cells)
    hits, all_ = Counter[str](), Counter[str]()
    for one in found:
        hits.update(name for name, is_held in one.held.items() if is_held)
        all_.update(list(one.held))
    words = ", ".join(f"{name.upper()} {hits[name]} of {all_[name]}" for name in NAMED if all_[name])
    yield f"Clicks per 1,000 ads, 95 % intervals. They hold the truth: {words or 'none could be valued'}."
