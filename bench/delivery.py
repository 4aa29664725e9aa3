"""What counting the fate of line items costs the database: python -m bench.delivery [--line-items N] [--processes N] [--minutes N]

Serving processes report every ten seconds what became of every line item (serving.tallies); ingest stores their reports
(events.delivery), and once a minute they are added to the hours. Processor time of the writing process and of its database
backend, for ten seconds of one serving process. The database is one of its own on the server of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import psutil

from bench import database

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
REPORTS_A_MINUTE = 6
OUTCOMES = 12  # that occur in an ordinary hour; a line item meets about half of them in ten seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--line-items", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=3)
    chosen = parser.parse_args()
    with database.own("bench_delivery"):
        measure(chosen.line_items, chosen.processes, chosen.minutes)


def measure(line_items: int, processes: int, minutes: int) -> None:
    from django.db import connection, transaction

    from adplatform.events import delivery

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = psutil.Process(cursor.fetchone()[0])
    print(f"{'CPU ms for 10 s of a serving process':38} {'process':>8} {'database':>9}")
    rounds = processes * REPORTS_A_MINUTE
    for minute in range(minutes):
        batches = list(reports(line_items, processes, minute))
        own, others = time.process_time(), cpu(backend)
        for batch in batches:
            with transaction.atomic():
                delivery.store(batch)
        delivery.add_up()
        spent = (time.process_time() - own) * 1_000 / rounds, (cpu(backend) - others) * 1_000 / rounds
        print(
            f"{f'minute {minute + 1}, {line_items:,} line items':38} {spent[0]:8.1f} {spent[1]:9.1f}",
            flush=True,
        )


def reports(line_items: int, processes: int, minute: int) -> Iterator[list[object]]:
    """What each process sends in a minute, a list for each time that it sends."""
    from adplatform.decision.tally import OUTCOMES as NAMES
    from adplatform.events.records import Tallied
    from adplatform.serving.tallies import LINE_ITEMS

    rng = np.random.default_rng(minute)
    ids = np.arange(1, line_items + 1)
    for round in range(REPORTS_A_MINUTE):
        for process in range(processes):
            counts = rng.poisson(rng.exponential(1.0, (line_items, OUTCOMES)))
            table = np.column_stack([ids, 1 + ids // 3, 1 + ids // 50, counts])
            number = (minute * REPORTS_A_MINUTE + round) * line_items
            yield [
                Tallied(
                    bytes([process]) * 16,
                    number + start,
                    NOON,
                    "live",
                    list(NAMES[-OUTCOMES:]),
                    table[start : start + LINE_ITEMS].tolist(),
                )
                for start in range(0, line_items, LINE_ITEMS)
            ]


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
