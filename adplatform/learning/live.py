"""Live click statistics: ingest adds each stored fact, and all of them can be recomputed from PostgreSQL.

What a number means is decided in ml.ctr.counters and nowhere else: a batch is counted by its `Statistics`, seeded
with what Valkey holds, and the rows that come out are written back and announced in one transaction, which is done again
where another process counted meanwhile. A batch lost between commit and here (a kill in that moment) is repaired by
`rebuild`.

What is found invalid later (events.Invalidation) is taken out in the order of its findings. How far that went stands beside
the counters and is written with them: after a kill, or over a Valkey restored from yesterday, it goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import redis
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from adplatform.campaigns.models import LineItem
from adplatform.events import backfilter
from adplatform.events.facts import Fact
from adplatform.events.models import Click, Impression, Invalidation
from adplatform.events.validity import COUNTED
from adplatform.inventory.models import AdSlot
from adplatform.learning import export, feedback, live_visitors
from adplatform.learning.embeddings import stored_profiles
from adplatform.learning.statistics import (
    CHANGES_KEY,
    COLUMNS,
    ENTITIES,
    EPOCH_HALF_LIVES,
    EVERYTHING,
    HASHES,
    LAYOUT,
    LAYOUT_KEY,
    PROFILE,
    PROFILE_ENCODER,
    REMEMBERED,
    UNTIL_KEY,
    VISITOR_SECONDS,
    WITHDRAWN_KEY,
    Changes,
    announce,
    epoch_of,
    rows_from,
    start_anew,
    stat_key,
    visitor_key,
    weight,
    write,
)
from ml.ctr.counters import Keys, Statistics
from ml.ctr.replay import replay
from ml.schema import Floats

PIPELINE = 2_000
TRANSACTION = 100  # facts: Valkey answers nobody else while a transaction runs
COUNTED_KINDS = {"impression": "observe_impression", "click": "observe_click"}
WITHDRAWN_EVERY_SECONDS = 60
_ASKED_KEY = "counts:withdrawn:asked"
_UNKNOWN = bytes(8 * COLUMNS)

Rows = dict[int, Floats]


class _Event(NamedTuple):
    """`happen` names the method of Statistics, `at` is in seconds."""

    happen: str
    keys: Keys
    at: float


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
    above = _Above(counted)
    for batch in _batches(counted, TRANSACTION):
        events = [
            _Event(COUNTED_KINDS[fact.kind], above.keys(fact), _moment(fact)[0].timestamp()) for fact in batch
        ]
        while not _applied(redis_client, events):
            pass  # another process counted meanwhile: with what holds now


def withdraw_when_due(redis_client: Any) -> int:
    """`withdraw`, by whoever asks first in a minute."""
    if not redis_client.set(_ASKED_KEY, 1, nx=True, ex=WITHDRAWN_EVERY_SECONDS):
        return 0
    return withdraw(redis_client)


def withdraw(redis_client: Any) -> int:
    """Take out what was found invalid since the last time; returns how many findings that were."""
    done = 0
    while True:
        taken = redis_client.get(WITHDRAWN_KEY)
        rows = list(Invalidation.objects.filter(pk__gt=int(taken or 0)).order_by("pk")[:TRANSACTION])
        if not rows:
            return done
        if _applied(redis_client, _taken_out(rows), withdrawn=(taken, rows[-1].pk)):
            done += len(rows)


def _taken_out(rows: Sequence[Invalidation]) -> list[_Event]:
    """An impression takes its click with it; what an earlier finding took out is not taken again."""
    ids = {row.decision_id for row in rows}
    shown = Impression.objects.filter(reason__in=COUNTED).in_bulk(ids)
    clicked = Click.objects.filter(reason__in=COUNTED).in_bulk(ids)
    first: dict[Any, int] = {}
    for pk, decision in Invalidation.objects.filter(decision_id__in=ids).values_list("pk", "decision_id"):
        first[decision] = min(pk, first.get(decision, pk))
    found: list[tuple[str, Impression | Click]] = []
    for row in rows:
        if row.kind == "impression" and (impression := shown.get(row.decision_id)):
            found.append(("withdraw_impression", impression))
        if row.pk == first[row.decision_id] and (click := clicked.get(row.decision_id)):
            found.append(("withdraw_click", click))
    above = _Above([event for _, event in found])
    return [_Event(happen, above.keys(event), _counted_at(happen, event)) for happen, event in found]


def _counted_at(happen: str, event: Impression | Click) -> float:
    """The moment for which `apply` had counted it."""
    at = event.served_at if happen == "withdraw_impression" else max(event.occurred_at, event.served_at)
    return at.timestamp()


def _applied(
    redis_client: Any, events: Sequence[_Event], *, withdrawn: tuple[bytes | None, int] | None = None
) -> bool:
    """One transaction; False where nothing was written because the counters had changed under it.

    `withdrawn`: the finding up to which all is taken out, before and after it.
    """
    with redis_client.pipeline(transaction=True) as pipeline:
        pipeline.watch(CHANGES_KEY, WITHDRAWN_KEY)
        if withdrawn is not None and pipeline.get(WITHDRAWN_KEY) != withdrawn[0]:
            return False
        keys, moments = [event.keys for event in events], [event.at for event in events]
        before = _known(redis_client, keys, moments)
        after = before.statistics()
        for event in events:
            getattr(after, event.happen)(event.keys, event.at)
        changes = _changes(after, before.rows)
        pipeline.multi()
        write(pipeline, changes)
        announce(pipeline, changes, now_milliseconds=before.milliseconds)
        live_visitors.write(pipeline, after, before.visitors)
        if withdrawn is not None:
            pipeline.set(WITHDRAWN_KEY, withdrawn[1])
        try:
            pipeline.execute()
        except redis.WatchError:
            return False
    return True


def note_until(redis_client: Any, moment: datetime) -> None:
    """Say that everything which happened before this moment is counted: the age of the counters follows from it."""
    redis_client.set(UNTIL_KEY, repr(moment.timestamp()))


def rebuild(redis_client: Any, until: datetime) -> dict[str, int]:
    """Recompute every counter and profile from what PostgreSQL knows before `until`; returns how many of each.

    Used after Valkey was restored or lost. Frequency caps are serving's and are left as they are.
    """
    statistics = Statistics()
    with transaction.atomic():
        backfilter.hold()  # nothing is found between the two
        newest = Invalidation.objects.filter(found_at__lt=until).aggregate(newest=Max("pk"))["newest"] or 0
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
    with redis_client.pipeline(transaction=True) as pipeline:
        pipeline.set(LAYOUT_KEY, LAYOUT)
        pipeline.set(WITHDRAWN_KEY, newest)
        start_anew(pipeline)
        pipeline.execute()
    return {
        "creatives": len(statistics.creative),
        "visitors": len(statistics.visitor),
        "impressions": int(statistics.overall[0]),
        "clicks": int(statistics.overall[1]),
        "profiles": len(profiles),
    }


class _Above:
    """Campaign and advertiser of line items, sites of slots: none of them ever changes its parent."""

    def __init__(self, facts: Sequence[Fact | Impression | Click]) -> None:
        items = LineItem.objects.filter(pk__in={fact.line_item_id for fact in facts})
        self._owners = {
            pk: (campaign, organisation)
            for pk, campaign, organisation in items.values_list(
                "pk", "campaign_id", "campaign__organisation_id"
            )
        }
        slots = AdSlot.objects.filter(pk__in={fact.slot_id for fact in facts})
        self._sites = dict(slots.values_list("pk", "site_id"))

    def keys(self, fact: Fact | Impression | Click) -> Keys:
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


@dataclass(frozen=True)
class _Known:
    """What Valkey holds about everything that some events touch, and its time."""

    rows: dict[str, Rows]
    visitors: live_visitors.Known
    milliseconds: int

    def statistics(self) -> Statistics:
        """To count on with. Recent sums and frequencies are only added to, never needed, and so begin at nothing."""
        counted = Statistics()
        for entity in ENTITIES:
            known = {number: row[:3].tolist() for number, row in self.rows[entity].items()}
            getattr(counted, entity).update(known)
        counted.overall = self.rows[EVERYTHING][0][:3].tolist()
        for visitor, fields in self.visitors.items():
            counted.visitor[visitor] = [fields[name] for name in live_visitors.TOTALS]
        return counted


def _known(redis_client: Any, touched: Sequence[Keys], moments: Sequence[float]) -> _Known:
    ids = {name: sorted({getattr(one, name) for one in touched} - {None}) for name in ENTITIES}
    ids[EVERYTHING] = [0]
    pipeline = redis_client.pipeline(transaction=False)
    pipeline.time()
    for name, numbers in ids.items():
        pipeline.hmget(stat_key(name), numbers or ["-"])
    fields = live_visitors.ask(pipeline, touched, moments)
    (seconds, microseconds), *answers = pipeline.execute()
    rows = {
        name: dict(zip(numbers, rows_from(b"".join(value or _UNKNOWN for value in values)), strict=False))
        for (name, numbers), values in zip(ids.items(), answers, strict=False)
    }
    visitors = live_visitors.known(fields, answers[len(ids) :])
    return _Known(rows, visitors, seconds * 1_000 + microseconds // 1_000)


def _changes(after: Statistics, known: Mapping[str, Rows]) -> Changes:
    """The rows of all that was counted; `known` are those from before, whose recent sums go on."""
    made: Changes = {EVERYTHING: (np.zeros(1, np.int64), np.array([[*after.overall, 0.0, 0.0, 0.0]]))}
    for entity in ENTITIES:
        counts, recent = getattr(after, entity), after.recent.get(entity, {})
        if not counts:
            continue
        ids = np.array(list(counts), np.int64)
        rows = np.zeros((len(ids), COLUMNS))
        rows[:, :3] = list(counts.values())
        if entity in REMEMBERED:
            before = known.get(entity, {})
            rows[:, 3:] = [_recent(recent.get(number), before.get(number)) for number in counts]
        made[entity] = ids, rows
    return made


def _recent(added: Sequence[float] | None, before: Floats | None) -> tuple[float, float, float]:
    """Recent clicks and exposure and their epoch: `added` as Statistics has it, after `before`, a row."""
    clicks, exposure, epoch = (0.0, 0.0, 0.0) if before is None else before[3:].tolist()
    if added is None:
        return clicks, exposure, epoch
    newest = max(epoch, float(epoch_of(added[3])))
    kept, factor = 2.0 ** (EPOCH_HALF_LIVES * (epoch - newest)), weight(added[3], int(newest))
    return clicks * kept + added[1] * factor, exposure * kept + added[2] * factor, newest


def _forget(redis_client: Any) -> None:
    """Drop all counters and profiles; what is still true is written anew. Without a layout a kill in between is noticed."""
    redis_client.delete(LAYOUT_KEY, *(stat_key(name) for name in HASHES))
    for batch in _batches(list(redis_client.scan_iter(match=visitor_key("*"), count=PIPELINE))):
        redis_client.unlink(*batch)


def _write_all(redis_client: Any, statistics: Statistics) -> None:
    for name, (ids, rows) in _changes(statistics, {}).items():
        for start in range(0, len(ids) if statistics.overall[0] else 0, PIPELINE):
            piece = slice(start, start + PIPELINE)
            write(redis_client, {name: (ids[piece], rows[piece])})
    for visitors in _batches(list(statistics.visitor)):
        part = Statistics()
        part.visitor = {visitor: statistics.visitor[visitor] for visitor in visitors}
        part.frequency = statistics.frequency
        part.recent["visitor"] = {visitor: statistics.recent["visitor"][visitor] for visitor in visitors}
        pipeline = redis_client.pipeline(transaction=False)
        live_visitors.write(pipeline, part, {})
        pipeline.execute()


def _batches(items: Sequence[Any], size: int = PIPELINE) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
