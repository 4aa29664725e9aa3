"""What carrying an event from the stream into PostgreSQL costs: python -m bench.ingest [--events N] [--processes N] [--profile]

The real ingest (validity, charges, statistics, duplicates) beside a bare sketch that only copies the rows into a table,
inserts what is new, adds up and acknowledges; then several ingest processes at once, and one with the live counters of the
models, which are written after the commit. CPU is that of the process, of its database backend and of the two Valkeys,
each measured (the servers are measured whole: nobody else may use them). What two cores allow follows from the three; the rate is by the
clock. EVENTS_URL and REDIS_URL must name empty numbers; the database is one of its own on the server of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import multiprocessing
import pstats
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psutil
import redis

from bench import database

NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
CAMPAIGNS, SLOTS, DUPLICATES = 50, 40, 0.1
BATCH = 10_000  # as ingest takes them


CORES = 2


@dataclass(slots=True)
class Cost:
    """CPU seconds of a run, and its length by the clock."""

    events: int
    process: float
    backend: float
    valkey: float
    seconds: float

    def words(self, name: str) -> str:
        parts = (self.process, self.backend, self.process + self.backend, self.valkey)
        per = [1e6 * part / self.events for part in parts]
        allowed = CORES * self.events / (self.process + self.backend + self.valkey)
        return (
            f"{name:26} {per[0]:8.1f} {per[1]:9.1f} {per[2]:8.1f} {per[3]:7.1f} {allowed:14,.0f}"
            f" {self.events / self.seconds:10,.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    with database.own("bench_ingest"):
        print(
            f"{'µs of CPU per event':26} {'process':>8} {'database':>9} {'both':>8} {'Valkey':>7} {'2 cores allow':>14}"
            f" {'events/s':>10}"
        )
        packed = records(chosen.events)
        for name, drain in (("bare sketch", sketch), ("ingest", ours)):
            print(measured(packed, drain, chosen.profile and name == "ingest").words(name), flush=True)
        print(
            at_once(records(chosen.events), chosen.processes).words(f"ingest, {chosen.processes} processes")
        )
        print(measured(records(chosen.events // 4), counted, False).words("and the live counters"))


def records(count: int) -> list[bytes]:
    """Impressions, and a click after each tenth, one in ten of them delivered twice."""
    from adplatform.accounts.models import Organisation
    from adplatform.campaigns.models import Campaign
    from adplatform.events.records import Served, TokenEvent, pack

    rng = Random(1)
    advertisers = [
        Organisation.objects.create(name=f"Bench {n}", kind=Organisation.Kind.ADVERTISER) for n in range(10)
    ]
    campaigns = [
        Campaign.objects.create(
            organisation=advertisers[n % 10], name=f"Bench {n}", currency="USD", start_at=NOON
        )
        for n in range(CAMPAIGNS)
    ]
    made: list[bytes] = []
    while len(made) < count:
        campaign = rng.choice(campaigns)
        at = NOON + timedelta(seconds=len(made) / 20_000)
        served = Served(
            uuid.uuid4().bytes, at, at + timedelta(hours=24), 1 + rng.randrange(SLOTS), 1, campaign.organisation_id,
            campaign.pk, campaign.pk, campaign.pk * 3 + rng.randrange(3), rng.randbytes(16), "cpm", 1_500, "USD",
        )  # fmt: skip
        asked = [TokenEvent("impression", served, at + timedelta(seconds=1), "", rng.randbytes(8), "yes")]
        if rng.random() < 0.1:
            asked.append(TokenEvent("click", served, at + timedelta(seconds=5), "", rng.randbytes(8)))
        for event in asked:
            made += [pack(event)] * (2 if rng.random() < DUPLICATES else 1)
    return made[:count]


def fill(client: redis.Redis, packed: list[bytes]) -> None:
    from adplatform.events.stream import FIELD, STREAM

    if client.xlen(STREAM):
        raise SystemExit("EVENTS_URL names a number that holds events: choose an empty one.")
    with client.pipeline(transaction=False) as pipe:
        for record in packed:
            pipe.xadd(STREAM, {FIELD: record})
        pipe.execute()


def measured(packed: list[bytes], drain: Callable[[redis.Redis], int], profile: bool) -> Cost:
    client = _client()
    fill(client, packed)
    backend, profiler = _backend(), cProfile.Profile()
    before = _used(client, backend)
    began = time.perf_counter()
    if profile:
        profiler.enable()
    while drain(client):
        pass
    profiler.disable()
    seconds = time.perf_counter() - began
    process, database, valkey = (now - then for now, then in zip(_used(client, backend), before, strict=True))
    cost = Cost(len(packed), process, database, valkey, seconds)
    if profile:
        told = io.StringIO()
        pstats.Stats(profiler, stream=told).sort_stats("tottime").print_stats(22)
        print(told.getvalue())
    return cost


def ours(client: redis.Redis) -> int:
    from adplatform.events import ingest

    return ingest.drain(client, granted=lambda ids: dict.fromkeys(ids, 10**15), at=NOON, limit=BATCH)


def counted(client: redis.Redis) -> int:
    """With what follows the commit."""
    from adplatform.events import ingest
    from adplatform.learning import live

    hot = _hot()
    return ingest.drain(
        client,
        granted=lambda ids: dict.fromkeys(ids, 10**15),
        after_commit=lambda facts: live.apply(hot, facts),
        at=NOON,
        limit=BATCH,
    )


_SKETCH = """
CREATE TABLE IF NOT EXISTS sketch (decision_id uuid, kind text, served_at timestamptz, campaign_id bigint, slot_id bigint,
    creative_id bigint, charge bigint, PRIMARY KEY (decision_id, kind));
CREATE TABLE IF NOT EXISTS sketch_sum (hour timestamptz, campaign_id bigint, slot_id bigint, creative_id bigint,
    n bigint, charge bigint, PRIMARY KEY (hour, creative_id, slot_id));
CREATE TEMPORARY TABLE IF NOT EXISTS arriving (LIKE sketch);
"""
_CARRY = """
WITH new AS (INSERT INTO sketch SELECT DISTINCT ON (decision_id, kind) * FROM arriving ON CONFLICT DO NOTHING RETURNING *)
INSERT INTO sketch_sum AS held SELECT date_trunc('hour', served_at), campaign_id, slot_id, creative_id, count(*), sum(charge) FROM new
GROUP BY 1, 2, 3, 4 ON CONFLICT (hour, creative_id, slot_id) DO UPDATE SET n = held.n + EXCLUDED.n, charge = held.charge + EXCLUDED.charge
"""


def sketch(client: redis.Redis) -> int:
    """Nothing but: read, unpack, COPY, insert what is new, add up, commit, acknowledge."""
    from django.db import connection, transaction

    from adplatform.events import ingest
    from adplatform.events.records import unpack
    from adplatform.events.stream import FIELD, STREAM

    ingest.prepare(client)
    reply: Any = client.xreadgroup(ingest.GROUP, "sketch", {STREAM: ">"}, count=BATCH)
    if not reply:
        return 0
    entries = reply[0][1]
    lines = []
    for _, fields in entries:
        event: Any = unpack(fields[FIELD])
        ad = event.served
        lines.append(
            f"{ad.decision_id.hex()}\t{event.kind}\t{ad.served_at.isoformat()}\t{ad.campaign_id}\t{ad.slot_id}\t{ad.creative_id}\t{ad.charge_micros}"
        )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_SKETCH)
        cursor.copy_expert("COPY arriving FROM STDIN", io.StringIO("\n".join(lines)))
        cursor.execute(_CARRY)
        cursor.execute("TRUNCATE arriving")
    ids = [entry_id for entry_id, _ in entries]
    with client.pipeline(transaction=True) as pipe:
        pipe.xack(STREAM, ingest.GROUP, *ids)
        pipe.xdel(STREAM, *ids)
        pipe.execute()
    return len(entries)


def at_once(packed: list[bytes], processes: int) -> Cost:
    """Several ingest processes on one stream: CPU is the sum of theirs, `seconds` the longest of them."""
    client = _client()
    fill(client, packed)
    from django.db import connection

    connection.close()
    valkey = _valkey(client)
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        began = time.perf_counter()
        used = pool.map(_drained, range(processes))
        seconds = time.perf_counter() - began
    process, backend = (sum(part) for part in zip(*used, strict=True))
    return Cost(len(packed), process, backend, _valkey(client) - valkey, seconds)


def _drained(number: int) -> tuple[float, float]:
    from adplatform.events import ingest

    client, backend = _client(), _backend()
    before = _used(client, backend)
    while ingest.drain(
        client,
        granted=lambda ids: dict.fromkeys(ids, 10**15),
        at=NOON,
        consumer=f"bench-{number}",
        limit=BATCH,
    ):
        pass
    process, database, _ = (now - then for now, then in zip(_used(client, backend), before, strict=True))
    return process, database


def _used(client: redis.Redis, backend: psutil.Process) -> tuple[float, float, float]:
    """CPU seconds so far: this process, its database backend, the Valkeys."""
    return time.process_time(), sum(backend.cpu_times()[:2]), _valkey(client)


def _valkey(client: redis.Redis) -> float:
    """CPU seconds of both."""
    used: Any = [server.info("cpu") for server in (client, _hot())]
    return float(sum(one["used_cpu_user"] + one["used_cpu_sys"] for one in used))


def _client() -> redis.Redis:
    from adplatform import settings
    from adplatform.events.stream import connect

    return connect(settings.EVENTS_URL, timeout_seconds=30)


def _hot() -> redis.Redis:
    from adplatform import settings
    from adplatform.events.stream import connect

    return connect(settings.REDIS_URL, timeout_seconds=30)


def _backend() -> psutil.Process:
    """The database's process that serves this connection; it must run on this machine."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return psutil.Process(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
