"""Live click statistics: ingest adds each stored fact, and all of them can be recomputed from PostgreSQL.

What a number means is decided in ml.ctr.counters and nowhere else: a batch is counted by its `Statistics`, seeded
with what Valkey holds, and the difference is written back as increments in one transaction. One ingest process
writes; a batch lost between commit and here (a kill in that moment) is repaired by `rebuild`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import redis
from django.conf import settings

from adplatform.campaigns.models import LineItem
from adplatform.events.facts import Fact
from adplatform.inventory.models import AdSlot
from adplatform.learning import export, feedback
from adplatform.learning.embeddings import stored_profiles
from adplatform.learning.statistics import (
    ENTITIES,
    LAYOUT,
    LAYOUT_KEY,
    PROFILE,
    PROFILE_ENCODER,
    REMEMBERED,
    UNTIL_KEY,
    VISITOR_CLICKS,
    VISITOR_EXPECTED,
    VISITOR_IMPRESSIONS,
    VISITOR_SECONDS,
    epoch_of,
    frequency_field,
    outdated_fields,
    recent_field,
    stat_key,
    visitor_key,
    weight,
)
from ml.ctr.counters import Keys, Statistics
from ml.ctr.replay import replay

PIPELINE = 2_000
COUNTED_KINDS = ("impression", "click")
VISITOR_FIELDS = (VISITOR_IMPRESSIONS, VISITOR_CLICKS, VISITOR_EXPECTED)
# Columns of a recent row of ml.ctr.counters.Statistics, by the letter of their field.
OF_ADS, OF_VISITORS = {b"C": 1, b"X": 2}, {b"N": 0, b"C": 1, b"X": 2}


def connect() -> redis.Redis:
    """The hot Valkey."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=10, socket_connect_timeout=2)


def prepare(redis_client: Any, until: datetime) -> bool:
    """Recompute everything where the counters are of another layout, or none are there; True where that was done.

    Called by ingest before its first batch: nothing must be added to counters that mean something else.
    """
    if redis_client.get(LAYOUT_KEY) == b"%d" % LAYOUT:
        return False
    rebuild(redis_client, until)
    return True


def apply(redis_client: Any, facts: Sequence[Fact]) -> None:
    """Count impressions and clicks that were stored for the first time, in the order in which they happened."""
    counted = sorted((fact for fact in facts if fact.kind in COUNTED_KINDS), key=_moment)
    if not counted:
        return
    keys = _Above(counted).keys
    before = _known(redis_client, [keys(fact) for fact in counted])
    after = Statistics.from_dict(before.as_dict())
    for fact in counted:
        at = _moment(fact)[0].timestamp()
        if fact.kind == "impression":
            after.observe_impression(keys(fact), at)
        else:
            after.observe_click(keys(fact), at)
    pipeline = redis_client.pipeline(transaction=True)
    _add_counts(pipeline, before, after)
    _add_visitors(pipeline, before, after)
    pipeline.execute()


def note_until(redis_client: Any, moment: datetime) -> None:
    """Say that everything which happened before this moment is counted: the age of the counters follows from it."""
    redis_client.set(UNTIL_KEY, repr(moment.timestamp()))


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
    feedback.restore(redis_client, until)
    redis_client.set(LAYOUT_KEY, LAYOUT)
    return {
        "creatives": len(statistics.creative),
        "visitors": len(statistics.visitor),
        "impressions": int(statistics.overall[0]),
        "clicks": int(statistics.overall[1]),
        "profiles": len(profiles),
    }


class _Above:
    """Campaign and advertiser of line items, sites of slots: none of them ever changes its parent."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        items = LineItem.objects.filter(pk__in={fact.line_item_id for fact in facts})
        self._owners = {
            pk: (campaign, organisation)
            for pk, campaign, organisation in items.values_list(
                "pk", "campaign_id", "campaign__organisation_id"
            )
        }
        slots = AdSlot.objects.filter(pk__in={fact.slot_id for fact in facts})
        self._sites = dict(slots.values_list("pk", "site_id"))

    def keys(self, fact: Fact) -> Keys:
        campaign, advertiser = self._owners.get(fact.line_item_id, (None, None))
        return Keys(
            creative=fact.creative_id,
            line_item=fact.line_item_id,
            campaign=campaign,
            advertiser=advertiser,
            slot=fact.slot_id,
            site=self._sites.get(fact.slot_id),
            visitor=fact.visitor or None,
        )


def _moment(fact: Fact) -> tuple[datetime, bool, str]:
    """An impression counts when it was served, a click when it came; at one moment impressions go first, by id."""
    is_click = fact.kind == "click"
    return (max(fact.occurred_at, fact.served_at) if is_click else fact.served_at, is_click, fact.decision_id)


def _known(redis_client: Any, touched: Sequence[Keys]) -> Statistics:
    """What Valkey holds about everything that these events touch. Recent sums are only added to, never needed."""
    ids = {name: sorted({getattr(one, name) for one in touched} - {None}) for name in (*ENTITIES, "visitor")}
    visitors = ids.pop("visitor")
    pipeline = redis_client.pipeline(transaction=False)
    for entity, numbers in ids.items():
        pipeline.hmget(stat_key(entity), [field for number in numbers for field in _fields(number)] or [b"-"])
    pipeline.hgetall(stat_key("slot"))
    for visitor in visitors:
        pipeline.hmget(visitor_key(visitor), VISITOR_FIELDS)
    answers = pipeline.execute()
    statistics = Statistics()
    for (entity, numbers), values in zip(ids.items(), answers, strict=False):
        amounts = iter([float(value or 0) for value in values])
        getattr(statistics, entity).update({number: [next(amounts) for _ in range(3)] for number in numbers})
    for name, value in answers[len(ids)].items():
        statistics.overall[_PLACE_OF[name[-1:]]] += float(value)
    for visitor, values in zip(visitors, answers[len(ids) + 1 :], strict=True):
        statistics.visitor[visitor] = [float(value or 0) for value in values]
    return statistics


_PLACE_OF = {b"i": 0, b"c": 1, b"x": 2}


def _fields(number: int) -> tuple[bytes, bytes, bytes]:
    return b"%d:i" % number, b"%d:c" % number, b"%d:x" % number


def _add_counts(pipeline: Any, before: Statistics, after: Statistics) -> None:
    for entity in ENTITIES:
        known: dict[int, list[float]] = getattr(before, entity)
        for number, counts in getattr(after, entity).items():
            impressions, clicks, amount = (new - old for old, new in zip(known[number], counts, strict=True))
            name_i, name_c, name_x = _fields(number)
            if impressions:
                pipeline.hincrby(stat_key(entity), name_i, int(impressions))
                pipeline.hincrbyfloat(stat_key(entity), name_x, amount)
            if clicks:
                pipeline.hincrby(stat_key(entity), name_c, int(clicks))
    for entity in REMEMBERED:
        for number, recent in after.recent[entity].items():
            prefix, epoch = b"%d:" % cast(int, number), epoch_of(recent[3])
            for field, amount in _scaled(recent, OF_ADS, epoch).items():
                pipeline.hincrbyfloat(stat_key(entity), prefix + field, amount)
            pipeline.hdel(stat_key(entity), *(prefix + recent_field(letter, epoch - 2) for letter in OF_ADS))


def _scaled(recent: Sequence[float], letters: Mapping[bytes, int], epoch: int) -> dict[bytes, float]:
    """What a recent row adds to the sums of its epoch, by field."""
    faded = weight(recent[3], epoch)
    return {
        recent_field(letter, epoch): recent[column] * faded
        for letter, column in letters.items()
        if recent[column]
    }


def _add_visitors(pipeline: Any, before: Statistics, after: Statistics) -> None:
    for visitor, numbers in after.visitor.items():
        key, old = visitor_key(str(visitor)), before.visitor[visitor]
        for field, was, now in zip(VISITOR_FIELDS, old, numbers, strict=True):
            if field == VISITOR_EXPECTED:
                pipeline.hincrbyfloat(key, field, now - was)
            elif now != was:
                pipeline.hincrby(key, field, int(now - was))
        recent = after.recent["visitor"][visitor]
        epoch = epoch_of(recent[3])
        for field, amount in _scaled(recent, OF_VISITORS, epoch).items():
            pipeline.hincrbyfloat(key, field, amount)
        pipeline.hdel(key, *outdated_fields(epoch))
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
            mapping: dict[bytes, Any] = {}
            for number, row in batch:
                mapping |= _written(_fields(number), row)
                recent = statistics.recent.get(entity, {}).get(number)
                if recent and entity in REMEMBERED:
                    scaled = _scaled(recent, OF_ADS, epoch_of(recent[3]))
                    mapping |= {b"%d:%b" % (number, field): repr(sum_) for field, sum_ in scaled.items()}
            if mapping:
                redis_client.hset(stat_key(entity), mapping=mapping)
    for visitors in _batches(list(statistics.visitor.items())):
        pipeline = redis_client.pipeline(transaction=False)
        for visitor, row in visitors:
            key = visitor_key(str(visitor))
            seen = statistics.frequency.get(visitor, {})
            fields: dict[bytes, Any] = {
                frequency_field(cast(int, line_item)): int(count) for line_item, count in seen.items()
            }
            recent = statistics.recent["visitor"][visitor]
            scaled = _scaled(recent, OF_VISITORS, epoch_of(recent[3]))
            fields |= {field: repr(sum_) for field, sum_ in scaled.items()}
            pipeline.hset(key, mapping=fields | _written(VISITOR_FIELDS, row))
            pipeline.expire(key, VISITOR_SECONDS)
        pipeline.execute()


def _written(names: Sequence[bytes], row: Sequence[float]) -> dict[bytes, Any]:
    """Impressions and clicks as whole numbers, the third sum with all its digits; zeros are left out."""
    impressions, clicks, amount = row
    values = (int(impressions), int(clicks), repr(amount))
    return {name: value for name, value, number in zip(names, values, row, strict=True) if number}


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + PIPELINE] for start in range(0, len(items), PIPELINE))
