"""What it costs that late events of erased visitors are stored without them: python -m bench.privacy [--batches N]

The question that ingest asks of each batch of 5,000 events, by what the log of erasures holds. CPU of the process and of
its database backend. The database is one of its own on the server of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import psutil

from bench import database, ingest

ERASURES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=40)
    batches = parser.parse_args().batches
    with database.own("bench_privacy"):
        from adplatform.events.records import unpack

        batch = [unpack(packed) for packed in ingest.records(ingest.BATCH)]
        print(
            f"{'µs of CPU per event, ' + str(batches) + ' batches':48} {'process':>8} {'database':>9} {'per batch, ms':>14}"
        )
        ask = _asking(batch)
        _tell("nobody was ever erased", ask, batches)
        _erase([f"{number:032x}" for number in range(ERASURES)], ingest.NOON - timedelta(days=1))
        _tell(f"{ERASURES:,} erased, all before the batch", ask, batches)
        _erase(["f" * 32], ingest.NOON + timedelta(days=1))
        _tell("one erased just now, nobody of the batch", ask, batches)
        names = sorted({one.served.visitor.hex() for one in batch})
        _erase(names[::100], ingest.NOON + timedelta(days=1))
        _tell("one in 100 of its visitors erased just now", ask, batches)


def _asking(batch: list) -> Callable[[], object]:
    from django.db import transaction

    from adplatform.events.forgotten import without_erased

    def ask() -> object:
        with transaction.atomic():
            return without_erased(batch)

    return ask


def _erase(names: list[str], at: datetime) -> None:
    from adplatform.audience import erasures
    from adplatform.audience.models import Erasure

    Erasure.objects.bulk_create([Erasure(subject=erasures.subject_of(name), at=at) for name in names])


def _tell(words: str, ask: Callable[[], object], batches: int) -> None:
    from django.db import connection

    ask()
    backend = psutil.Process(connection.connection.info.backend_pid)
    before, process = sum(backend.cpu_times()[:2]), time.process_time()
    for _ in range(batches):
        ask()
    process, backend_seconds = time.process_time() - process, sum(backend.cpu_times()[:2]) - before
    events = batches * ingest.BATCH
    each = (process + backend_seconds) / batches * 1e3
    print(
        f"{words:48} {1e6 * process / events:8.3f} {1e6 * backend_seconds / events:9.3f} {each:14.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
