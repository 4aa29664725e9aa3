"""`manage.py simulate`: policies on one seeded market whose truth is known; no database takes part."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from adplatform.core import money
from adplatform.decision.simulation import Counts, Learner, Market, Oracle, Prior, Result, run

LINE_ITEMS = 60
SLOTS = 8
REQUESTS_PER_VISITOR = 8
CURRENCY = "EUR"


class Command(BaseCommand):
    help = (
        "A market with known truth: revenue, welfare, regret against the oracle and pacing error, by policy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--visitors", type=int, default=500)
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *_args: Any, **options: Any) -> None:
        seed, visitors = options["seed"], options["visitors"]
        market = Market.generate(seed, visitors, LINE_ITEMS, SLOTS)
        learners: dict[str, Learner] = {
            "prior": Prior(),
            "counts": Counts(LINE_ITEMS),
            "oracle": Oracle(market),
        }
        results = {
            name: run(market, learner, requests=visitors * REQUESTS_PER_VISITOR)
            for name, learner in learners.items()
        }
        if options["json"]:
            self.stdout.write(
                json.dumps({"seed": seed, "policies": {n: _row(r) for n, r in results.items()}})
            )
            return
        self.stdout.write(
            f"{'policy':10}{'requests':>10}{'clicks':>9}{'revenue':>12}{'welfare':>12}{'regret':>12}{'pacing error':>14}"
        )
        for name, result in results.items():
            amounts = (result.revenue_micros, result.welfare_micros, result.regret_micros)
            columns = "".join(f"{money.format_micros(round(amount), CURRENCY):>12}" for amount in amounts)
            self.stdout.write(
                f"{name:10}{result.requests:10,}{result.clicks:9,}{columns}{result.pacing_error:14.3f}"
            )


def _row(result: Result) -> dict[str, float]:
    return {
        "requests": result.requests,
        "clicks": result.clicks,
        "revenue_micros": round(result.revenue_micros),
        "welfare_micros": round(result.welfare_micros),
        "regret_micros": round(result.regret_micros),
        "pacing_error": round(result.pacing_error, 4),
    }
