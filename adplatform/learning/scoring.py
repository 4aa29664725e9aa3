"""Ads picked for every visitor, sharded over workers; the coordinator never waits for a worker that is not there.

Shards go to the gpu queue. A shard may run twice and nothing changes: it replaces its visitors' picks under a lock.
Who coordinates watches Valkey for finished shards, and after a silence works on them itself: so a lost message, a
missing worker, or one worker child for both queues cost some seconds and never the run.
"""

from __future__ import annotations

import io
import json
import time
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection, transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from adplatform.audience import queries
from adplatform.jobs.registry import JobError, Progress
from adplatform.learning import live, picks
from adplatform.learning.models import Pick

SHARD_VISITORS = 1_000
SILENCE_SECONDS = 5.0
POLL_SECONDS = 0.1
KEPT_SECONDS = 86_400
LOCK_CLASS = 0x5C04E
CLOSED = "closed"
COLUMNS = ("visitor", "rank", "creative_id", "text_score", "pctr", "versions", "computed_at")


@dataclass(frozen=True)
class Scored:
    """What a run did. `pairs`: visitors × ads that the transformer scored; `device`, `dtype` of that product."""

    visitors: int
    ads: int
    pairs: int
    picks: int
    seconds: float
    device: str
    dtype: str

    @property
    def pairs_per_second(self) -> float:
        return self.pairs / self.seconds if self.seconds > 0 else 0.0

    def words(self) -> str:
        """As the console and the command say it."""
        return (
            f"{self.picks:,} picks for {self.visitors:,} visitors out of {self.ads:,} ads: {self.pairs:,} pairs in "
            f"{self.seconds:.1f} s ({self.pairs_per_second:,.0f} a second, {self.device}, {self.dtype})."
        )


@dataclass(frozen=True)
class Shard:
    """Visitors with first ≤ id ≤ last."""

    number: int
    first: int
    last: int


def score(*, at: datetime, progress: Progress, limit: int | None = None) -> Scored:
    """Pick ads for every consenting visitor (or the first `limit`) as of `at`."""
    started = time.monotonic()
    shards = shards_of(at, limit)
    run = f"score:{uuid.uuid4().hex}"
    client = live.connect()
    try:
        _dispatch(run, shards, at)
        done = _wait_and_help(client, run, shards, at, progress)
    finally:
        client.hset(run, CLOSED, 1)
        client.expire(run, KEPT_SECONDS)
    _remove_strangers(at) if limit is None else None
    counts = [json.loads(value) for value in done.values()]
    ads = max((one["ads"] for one in counts), default=0)
    device, dtype = (counts[0]["device"], counts[0]["dtype"]) if counts else picks.device()
    return Scored(
        visitors=sum(one["visitors"] for one in counts),
        ads=ads,
        pairs=sum(one["visitors"] * one["ads"] for one in counts),
        picks=sum(one["picks"] for one in counts),
        seconds=time.monotonic() - started,
        device=device,
        dtype=dtype,
    )


def shards_of(at: datetime, limit: int | None = None) -> list[Shard]:
    """Consenting visitors in ranges of their ids."""
    ids = list(queries.consented(at).order_by("pk").values_list("pk", flat=True)[:limit])
    cuts = range(0, len(ids), SHARD_VISITORS)
    return [
        Shard(number, ids[start], ids[min(start + SHARD_VISITORS, len(ids)) - 1])
        for number, start in enumerate(cuts)
    ]


def run_shard(run: str, shard: Shard, at: datetime) -> None:
    """Pick for the shard's visitors, unless somebody has, or the run is over."""
    client = live.connect()
    if client.hexists(run, str(shard.number)) or client.hexists(run, CLOSED):
        return
    visitors = queries.consented(at).filter(pk__gte=shard.first, pk__lte=shard.last).order_by("pk")
    names = list(visitors.values_list("pseudonym", flat=True))
    shelf = _library(run, at)
    written = (
        _replace(names, shelf, picks.best(shelf, names, at=at), at, shard) if len(shelf) and names else 0
    )
    device, dtype = picks.device()
    result = {"visitors": len(names), "ads": len(shelf), "picks": written, "device": device, "dtype": dtype}
    client.hset(run, str(shard.number), json.dumps(result))
    client.expire(run, KEPT_SECONDS)


@lru_cache(maxsize=1)
def _library(run: str, at: datetime) -> picks.Library:  # noqa: ARG001 - one library per run and process
    return picks.library(at)


def _dispatch(run: str, shards: Sequence[Shard], at: datetime) -> None:
    from adplatform.learning.tasks import score_shard

    for shard in shards:
        message = {
            "run": run,
            "number": shard.number,
            "first": shard.first,
            "last": shard.last,
            "at": at.isoformat(),
        }
        try:
            score_shard.apply_async(kwargs=message, queue="gpu", retry=False)
        except (OperationalError, RedisError, OSError) as error:
            raise JobError(f"the job queue cannot be reached ({error})") from error


def _wait_and_help(
    client: Any, run: str, shards: Sequence[Shard], at: datetime, progress: Progress
) -> dict[bytes, bytes]:
    """Until every shard is done; returns their results."""
    seen, heard_at, helping = 0, time.monotonic(), False
    while True:
        done: dict[bytes, bytes] = client.hgetall(run)
        if len(done) > seen and not helping:
            heard_at = time.monotonic()
        seen = len(done)
        progress(seen, len(shards))
        waiting = [shard for shard in shards if str(shard.number).encode() not in done]
        if not waiting:
            return done
        helping = time.monotonic() - heard_at > SILENCE_SECONDS
        if helping:
            run_shard(run, waiting[-1], at)  # workers take them from the front
        else:
            time.sleep(POLL_SECONDS)


def _replace(names: list[str], shelf: picks.Library, best: picks.Best, at: datetime, shard: Shard) -> int:
    """Write the shard's picks in place of what these visitors had, by COPY."""
    versions = json.dumps(shelf.versions)
    buffer = io.StringIO()
    for row, name in enumerate(names):
        for rank, (ad, text, pctr) in enumerate(
            zip(best.ad[row].tolist(), best.text[row].tolist(), best.pctr[row].tolist(), strict=True), start=1
        ):
            written = r"\N" if text != text else repr(text)  # noqa: PLR0124 - NaN: no score is no number
            buffer.write(
                f"{name}\t{rank}\t{shelf.creative[ad]}\t{written}\t{pctr!r}\t{versions}\t{at.isoformat()}\n"
            )
    buffer.seek(0)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, %s)", [LOCK_CLASS, _signed(f"{shard.first}-{shard.last}")]
        )
        Pick.objects.filter(visitor__in=names).delete()
        cursor.copy_expert(f"COPY learning_pick ({', '.join(COLUMNS)}) FROM STDIN", buffer)
    return int(best.ad.size)


def _remove_strangers(at: datetime) -> None:
    """Picks of visitors who no longer agree go."""
    agreed = queries.consented(at).values("pseudonym")
    Pick.objects.exclude(visitor__in=agreed).delete()


def _signed(name: str) -> int:
    number = zlib.crc32(name.encode())
    return number - 2**32 if number >= 2**31 else number
