"""What our bidder would have bought in a recorded second-price log with a part of its budget."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from django.core.management.base import BaseCommand, CommandError, CommandParser

from adplatform.decision.replay import Bidder, Bought, Dual, Linear, Log, Receding, replay_auctions
from adplatform.decision.types import DecisionError, FloatArray

COLUMNS = ("click", "market_price", "pctr")
BIDDERS = ("receding", "dual", "linear")
UNBOUNDED = 1e12


class Command(BaseCommand):
    help = __doc__ or ""
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="parquet with click, market_price and pctr, in time order")
        parser.add_argument(
            "--budget-share", type=float, required=True, help="budget as a part of the file's own cost"
        )
        parser.add_argument(
            "--mean-cost", type=float, help="cost of an auction to count with, not the file's"
        )
        parser.add_argument("--ecpc", type=float, help="most that a click is worth; without it, no limit")
        parser.add_argument("--period", type=int, help="auctions that one budget is for; default: the file")
        parser.add_argument("--tick", type=int, help="auctions between two steps of the pacing")
        parser.add_argument(
            "--bidder",
            choices=BIDDERS,
            default=BIDDERS[0],
            help="receding: solves on prices just seen; dual: sees only its own spend; linear: --ecpc · pctr",
        )
        parser.add_argument("--json", action="store_true")

    def handle(self, *, file: str, budget_share: float, json: bool, **options: Any) -> None:
        check(budget_share=budget_share, **options)
        log = read(file)
        mean_cost = options["mean_cost"] or float(log.price.mean())
        period = options["period"] or len(log)
        bought = replay_auctions(
            log,
            budget=budget_share * mean_cost * period,
            bidder=bidder(options["bidder"], log, options["ecpc"]),
            period=period,
            tick=options["tick"],
        )
        self.stdout.write(as_json(bought) if json else in_words(bought))


def check(**values: Any) -> None:
    """Numbers must be positive, and a linear bid needs the worth of a click."""
    for name in ("budget_share", "mean_cost", "ecpc", "period", "tick"):
        value = values[name]
        if value is not None and not (np.isfinite(value) and value > 0):
            raise CommandError(f"--{name.replace('_', '-')} must be more than 0.", returncode=2)
    if values["bidder"] == "linear" and values["ecpc"] is None:
        raise CommandError("--bidder linear needs --ecpc.", returncode=2)


def read(file: str) -> Log:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
        if missing := [name for name in COLUMNS if name not in table.column_names]:
            raise CommandError(f"{file} has no column {', '.join(missing)}.", returncode=2)
        log = Log(*(_column(table[name]) for name in COLUMNS))
    except (OSError, pa.ArrowException, DecisionError, ValueError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise CommandError(f"{file} cannot be replayed: {reason}", returncode=2) from None
    if not len(log):
        raise CommandError(f"{file} has no rows.", returncode=2)
    return log


def _column(column: Any) -> FloatArray:
    return np.asarray(column.to_numpy(), np.float64)


def bidder(name: str, log: Log, ecpc: float | None) -> Bidder:
    """`ecpc` limits the bid; without it a click is worth whatever the budget makes of it."""
    if name == "linear":
        return Linear(ecpc or 0.0)
    if name == "dual":
        # Without a limit the search starts where the log's whole cost would buy its predicted clicks.
        worth = ecpc or float(log.price.sum() / max(log.pctr.sum(), 1e-12))
        return Dual(worth, most=1.0 if ecpc else UNBOUNDED)
    return Receding(ecpc or 1.0, most=1.0 if ecpc else UNBOUNDED)


def as_json(bought: Bought) -> str:
    return json.dumps(
        {
            "auctions": bought.auctions,
            "impressions": bought.impressions,
            "clicks": bought.clicks,
            "value": bought.value,
            "spend": bought.spend,
            "budget": bought.budget,
            "spend_ratio": bought.spend_ratio,
        }
    )


def in_words(bought: Bought) -> str:
    return (
        f"auctions     {bought.auctions:>14,}\n"
        f"impressions  {bought.impressions:>14,}\n"
        f"clicks       {bought.clicks:>14,}\n"
        f"value        {bought.value:>14,.2f}  (sum of pctr of what was won)\n"
        f"spend        {bought.spend:>14,.0f}\n"
        f"spend_ratio  {bought.spend_ratio:>14.4f}  (of {bought.budget:,.0f})"
    )
