"""Frequency caps out of the facts, after the hot Valkey was lost: each open window as if its impressions had just come.

What was shown and is not stored yet is missing; it is no money. A worker's side: never imported by a web process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime

import redis
from django.db.models import Count

from adplatform.campaigns.models import Creative
from adplatform.decision import variety
from adplatform.decision.types import Candidate, Cap, CapScope
from adplatform.events.models import Impression
from adplatform.inventory.models import Site

from . import live
from .counters import cap_key, fields_of, seconds_kept, window_of

_PIPELINE = 2_000
_LONGEST_DAYS = 90

Counters = dict[str, dict[bytes, int]]  # by pseudonym: field → impressions


def rebuild(hot: redis.Redis, *, at: datetime) -> int:
    """Write them over what is there; returns of how many visitors."""
    counters = _counted(at)
    names = sorted(counters)
    for start in range(0, len(names), _PIPELINE):
        with hot.pipeline(transaction=False) as pipe:
            for name in names[start : start + _PIPELINE]:
                fields = counters[name]
                pipe.hset(cap_key(name), mapping=fields)  # type: ignore[arg-type]
                pipe.expire(cap_key(name), seconds_kept(fields))
            pipe.execute()
    return len(names)


def _counted(at: datetime) -> Counters:
    raised = _raised(at)
    counters: Counters = defaultdict(lambda: defaultdict(int))
    for window in sorted({window for fields in raised.values() for window in fields}):
        began = datetime.fromtimestamp(int(at.timestamp()) // window * window, UTC)
        creatives = [creative for creative, fields in raised.items() if window in fields]
        for visitor, creative, impressions in _impressions(creatives, since=began, until=at):
            for field in raised[creative][window]:
                counters[visitor][field] += impressions
    return counters


def _impressions(
    creatives: Iterable[int], *, since: datetime, until: datetime
) -> Iterable[tuple[str, int, int]]:
    rows = Impression.objects.filter(
        creative_id__in=creatives,
        occurred_at__gte=since,
        occurred_at__lte=until,
        source__in=live.SERVED_SOURCES,
    )
    counted = rows.exclude(visitor="").values_list("visitor", "creative_id").annotate(Count("decision_id"))
    return counted.iterator()


def _raised(at: datetime) -> dict[int, dict[int, list[bytes]]]:
    """By creative and window: the fields that an impression of it raises at this moment, as serving says."""
    is_variety_counted = Site.objects.filter(variety__gt=0).exists()
    found: dict[int, dict[int, list[bytes]]] = {}
    for ad in live.ads(Creative.objects.all()):
        candidate = Candidate(
            creative_id=ad.creative_id,
            line_item_id=ad.line_item_id,
            campaign_id=ad.campaign_id,
            advertiser_id=ad.advertiser_id,
            category=ad.category,
            caps=tuple(Cap(CapScope(cap.scope), cap.limit, cap.window_seconds) for cap in ad.caps()),
        )
        also = variety.counters_of(candidate) if is_variety_counted else ()
        for field in fields_of(candidate, at, also):
            found.setdefault(ad.creative_id, {}).setdefault(window_of(field), []).append(field)
    return found
