"""What a weight of variety would cost and bring, replayed over the choices that decisions kept.

A sample of decisions keeps who could be chosen, at what worth and how probably. Each visitor of the sample asks as often
as visitors did in these days, each time as in one of its own kept choices; what it saw before lowers the worth of what
it is shown next by decision.variety's own formula, and the platform's own choice and price follow. The same chance is
used at every weight, so that two weights differ by the weight alone. It is an estimate: choices are kept of one decision
in twenty, so that a visitor's requests are drawn again from the few that are known of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, log
from typing import Any

import numpy as np
from django.db import connection

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Creative
from adplatform.core.tenants import platform
from adplatform.decision import chance
from adplatform.decision.exploration import choose
from adplatform.decision.pricing import price_micros
from adplatform.decision.rules import folded
from adplatform.decision.variety import shrunk, together
from adplatform.events.validity import COUNTED
from adplatform.learning.ruling import ReplayedSet, read
from ml.schema import Floats

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
LOOKBACK = timedelta(days=7)
MOST_VISITORS = 80
MOST_REQUESTS = 10  # of one visitor
FEWEST_VISITORS = 20

_SETS = """
    SELECT d.choice_set, d.creative_id, false, d.visitor, d.slot_id, d.site_id, d.floor_micros, d.price_micros, d.currency
    FROM events_addecision AS d
    JOIN events_impression AS i ON i.decision_id = d.decision_id AND i.reason = ANY(%(counted)s)
    WHERE d.served_at >= %(since)s AND d.served_at < %(until)s AND d.choice_set IS NOT NULL AND d.visitor <> ''
        AND d.currency = %(currency)s AND (%(publisher)s::bigint IS NULL OR d.publisher_id = %(publisher)s)
    ORDER BY d.served_at DESC, d.decision_id
    LIMIT %(most)s
"""
_ASKED = """
    SELECT count(*)::float8 / greatest(count(DISTINCT visitor), 1) FROM events_impression
    WHERE served_at >= %(since)s AND served_at < %(until)s AND reason = ANY(%(counted)s) AND visitor <> ''
        AND (%(publisher)s::bigint IS NULL OR publisher_id = %(publisher)s)
"""


@dataclass(frozen=True, slots=True)
class _Ad:
    advertiser: int
    category: str


def curve(publisher: Organisation | None, *, currency: str, until: datetime) -> dict[str, Any]:
    """Revenue of 1,000 ads in units of the currency, and effective advertisers of a visitor, at five weights; `refusal`
    where too few visitors' choices are known."""
    values: dict[str, Any] = {
        "since": until - LOOKBACK,
        "until": until,
        "counted": list(COUNTED),
        "currency": currency,
        "publisher": publisher.pk if publisher else None,
        "most": MOST_VISITORS * MOST_REQUESTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SETS, values)
        sets = [one for row in cursor.fetchall() if (one := read(row)) is not None]
        cursor.execute(_ASKED, values)
        requests = min(max(round(cursor.fetchone()[0]), 2), MOST_REQUESTS)
    return estimated(sets, _ads(sets), requests=requests)


def estimated(sets: Sequence[ReplayedSet], ads: Mapping[int, _Ad], *, requests: int) -> dict[str, Any]:
    """The curve over these choices, where every visitor asks `requests` times."""
    known: dict[str, list[ReplayedSet]] = defaultdict(list)
    for one in sets:
        known[one.unit].append(one)
    visitors = sorted(known)[:MOST_VISITORS]
    found: dict[str, Any] = {"visitors": len(visitors), "requests": requests, "sets": len(sets)}
    if len(visitors) < FEWEST_VISITORS:
        return found | {"refusal": "few", "points": []}
    points = []
    for weight in WEIGHTS:
        walks = [_walk(known[visitor], ads, weight, requests) for visitor in visitors]
        revenue = sum(walk[0] for walk in walks) / (len(walks) * requests)
        effective = sum(walk[1] for walk in walks) / len(walks)
        points.append({"weight": weight, "revenue": revenue / 1e6, "effective": effective})
    return found | {"refusal": "", "points": points}


def _walk(
    own: Sequence[ReplayedSet], ads: Mapping[int, _Ad], weight: float, requests: int
) -> tuple[float, float]:
    """One visitor's requests: the sum of the prices (eCPM micros), and the effective number of advertisers."""
    met: Counter[int] = Counter()
    of_category: Counter[str] = Counter()
    paid = 0.0
    for number in range(requests):
        one = own[chance.mix(own[0].seed, number) % len(own)]
        factor = _factor(one, ads, met, of_category, weight)
        choice = choose(
            ids=np.array(one.creative, np.int64),
            worth=one.worth if factor is None else one.worth * factor,
            pctr=one.pctr,
            sd=one.sd,
            pays_per_click=one.by_click,
            seed=chance.mix(one.seed, number) >> 1,
            epsilon=one.epsilon,
            budget=one.budget,
        )
        paid += price_micros(
            choice,
            worth=one.worth,
            pctr=one.pctr,
            pays_per_click=one.by_click,
            floor_micros=one.floor_micros,
            factor=factor,
        )
        shown = ads[one.creative[choice.chosen]]
        met[shown.advertiser] += 1
        if shown.category:
            of_category[shown.category] += 1
    return paid, effective(met)


def _factor(
    one: ReplayedSet, ads: Mapping[int, _Ad], met: Counter[int], of_category: Counter[str], weight: float
) -> Floats | None:
    """What operator's rules said then, with the variety of this walk."""
    ruled = one.factor if one.factor is None or one.variety is None else one.factor / one.variety
    if weight <= 0 or not met:
        return ruled
    counts = [met[ads[pk].advertiser] + of_category[ads[pk].category] / 2 for pk in one.creative]
    return together(ruled, shrunk(np.array(counts, np.float64), weight))


def effective(counts: Mapping[int, int]) -> float:
    """exp of the entropy of what was seen."""
    total = sum(counts.values())
    return exp(log(total) - sum(n * log(n) for n in counts.values()) / total)


@platform()  # whose the ads are that its visitors could have seen
def _ads(sets: Sequence[ReplayedSet]) -> dict[int, _Ad]:
    wanted = {pk for one in sets for pk in one.creative}
    rows = Creative.objects.filter(pk__in=wanted).values_list(
        "pk", "line_item__campaign__organisation_id", "line_item__campaign__category"
    )
    found = {pk: _Ad(owner, folded(category)) for pk, owner, category in rows}
    return {pk: found.get(pk, _Ad(-pk, "")) for pk in wanted}
