"""Live click statistics: ingest adds each stored fact, and all of them can be recomputed from PostgreSQL.

What a number means is decided in ml.ctr.counters and nowhere else: a batch is counted by its `Statistics`, seeded
with what Valkey holds, and the difference is written back as increments in one transaction. One ingest process
writes; a batch lost between commit and here (a kill in that moment) is repaired by `rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

import redis
from django.conf import settings

from adplatform.events.facts import Fact
from adplatform.learning import export
from adplatform.learning.embeddings import stored_profiles
from adplatform.learning.statistics import (
    ENTITIES,
    PROFILE,
    PROFILE_ENCODER,
    VISITOR_CLICKS,
    VISITOR_EXPECTED,
    VISITOR_IMPRESSIONS,
    VISITOR_SECONDS,
    frequency_field,
    stat_key,
    visitor_key,
)
from ml.ctr.counters import Statistics
from ml.ctr.replay import replay

PIPELINE = 2_000
COUNTED_KINDS = ("impression", "click")
COUNTERS = (VISITOR_IMPRESSIONS, VISITOR_CLICKS, VISITOR_EXPECTED)


def connect() -> redis.Redis:
    """The hot Valkey."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=10, socket_connect_timeout=2)


def apply(redis_client: Any, facts: Sequence[Fact]) -> None:
    """Count impressions and clicks that were stored for the first time, in the order in which they happened."""
    counted = sorted((fact for fact in facts if fact.kind in COUNTED_KINDS), key=_moment)
    if not counted:
        return
    before = _known(redis_client, counted)
    after = Statistics.from_dict(before.as_dict())
    for fact in counted:
        keys = (fact.creative_id, fact.line_item_id, fact.slot_id, fact.visitor or None)
        if fact.kind == "impression":
            after.observe_impression(*keys)
        else:
            after.observe_click(*keys)
    pipeline = redis_client.pipeline(transaction=True)
    _add_counts(pipeline, before, after)
    _add_visitors(pipeline, before, after)
    pipeline.execute()


def rebuild(redis_client: Any, until: datetime) -> dict[str, int]:
    """Recompute every counter and profile from what PostgreSQL knows before `until`; returns how many of each.

    Used after Valkey was restored or lost. Frequency caps are serving's and are left as they are.
    """
    statistics = Statistics()
    replay(export.training_log(until=until).log, statistics=statistics)
    profiles = stored_profiles()
    _forget(redis_client)
    _write_all(redis_client, statistics)
    for batch in _batches(list(profiles.items())):
        pipeline = redis_client.pipeline(transaction=False)
        for visitor, (encoder, packed) in batch:
            pipeline.hset(visitor_key(visitor), mapping={PROFILE: packed, PROFILE_ENCODER: encoder})
            pipeline.expire(visitor_key(visitor), VISITOR_SECONDS)
        pipeline.execute()
    return {
        "creatives": len(statistics.creative),
        "visitors": len(statistics.visitor),
        "impressions": int(statistics.overall[0]),
        "clicks": int(statistics.overall[1]),
        "profiles": len(profiles),
    }


def _moment(fact: Fact) -> tuple[datetime, bool, str]:
    """An impression counts when it was served, a click when it came; at one moment impressions go first, by id."""
    is_click = fact.kind == "click"
    return (max(fact.occurred_at, fact.served_at) if is_click else fact.served_at, is_click, fact.decision_id)


def _known(redis_client: Any, facts: Sequence[Fact]) -> Statistics:
    """What Valkey holds about everything that these facts touch."""
    ids = {entity: sorted({getattr(fact, f"{entity}_id") for fact in facts}) for entity in ENTITIES}
    visitors = sorted({fact.visitor for fact in facts if fact.visitor})
    pipeline = redis_client.pipeline(transaction=False)
    for entity in ENTITIES:
        pipeline.hmget(stat_key(entity), [field for number in ids[entity] for field in _fields(number)])
    pipeline.hgetall(stat_key("slot"))
    for visitor in visitors:
        pipeline.hmget(visitor_key(visitor), COUNTERS)
    answers = pipeline.execute()
    statistics = Statistics()
    for entity, values in zip(ENTITIES, answers, strict=False):
        numbers = [float(value or 0) for value in values]
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        getattr(statistics, entity).update(
            {number: list(pair) for number, pair in zip(ids[entity], pairs, strict=True)}
        )
    for name, value in answers[len(ENTITIES)].items():
        statistics.overall[name.endswith(b":c")] += float(value)
    for visitor, values in zip(visitors, answers[len(ENTITIES) + 1 :], strict=True):
        statistics.visitor[visitor] = [float(value or 0) for value in values]
    return statistics


def _fields(number: int) -> tuple[bytes, bytes]:
    return b"%d:i" % number, b"%d:c" % number


def _add_counts(pipeline: Any, before: Statistics, after: Statistics) -> None:
    for entity in ENTITIES:
        known: dict[int, list[float]] = getattr(before, entity)
        for number, counts in getattr(after, entity).items():
            for field, old, new in zip(_fields(number), known[number], counts, strict=True):
                if new != old:
                    pipeline.hincrby(stat_key(entity), field, int(new - old))


def _add_visitors(pipeline: Any, before: Statistics, after: Statistics) -> None:
    for visitor, numbers in after.visitor.items():
        key, old = visitor_key(str(visitor)), before.visitor[visitor]
        for field, was, now in zip(COUNTERS, old, numbers, strict=True):
            if field == VISITOR_EXPECTED:
                pipeline.hincrbyfloat(key, field, now - was)
            elif now != was:
                pipeline.hincrby(key, field, int(now - was))
        for line_item, seen in after.frequency.get(visitor, {}).items():
            pipeline.hincrby(key, frequency_field(cast(int, line_item)), int(seen))
        pipeline.expire(key, VISITOR_SECONDS)


def _forget(redis_client: Any) -> None:
    """Drop all counters and profiles; what is still true is written anew."""
    redis_client.delete(*(stat_key(entity) for entity in ENTITIES))
    for batch in _batches(list(redis_client.scan_iter(match=visitor_key("*"), count=PIPELINE))):
        redis_client.unlink(*batch)


def _write_all(redis_client: Any, statistics: Statistics) -> None:
    for entity in ENTITIES:
        counts: dict[int, list[float]] = getattr(statistics, entity)
        for batch in _batches(list(counts.items())):
            mapping = {
                field: int(value)
                for number, pair in batch
                for field, value in zip(_fields(number), pair, strict=True)
                if value
            }
            if mapping:
                redis_client.hset(stat_key(entity), mapping=mapping)
    for visitors in _batches(list(statistics.visitor.items())):
        pipeline = redis_client.pipeline(transaction=False)
        for visitor, (impressions, clicks, expected) in visitors:
            key = visitor_key(str(visitor))
            seen = statistics.frequency.get(visitor, {})
            fields = {frequency_field(cast(int, line_item)): int(count) for line_item, count in seen.items()}
            fields |= {VISITOR_IMPRESSIONS: int(impressions), VISITOR_CLICKS: int(clicks)}
            pipeline.hset(key, mapping=fields | {VISITOR_EXPECTED: repr(expected)})
            pipeline.expire(key, VISITOR_SECONDS)
        pipeline.execute()


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + PIPELINE] for start in range(0, len(items), PIPELINE))
