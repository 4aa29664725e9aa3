"""How many impressions a prediction is worth, learned from the platform's own decisions: what exploration draws from.

A decision's pCTR was made before its click. So each ad and day gives a trial: what was predicted, how often the ad had
been seen before that day, and how many of the day's impressions were clicked. Days whose level was off tell nothing of
single ads: predictions are lifted to the day's clicks first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db import connection

from adplatform.events.validity import COUNTED
from adplatform.learning.models import BeliefFit
from ml import online
from ml.online import Belief, Trials

WINDOW = timedelta(days=30)
FEWEST_CLICKS = 200
LEVEL_CLICKS = 20.0  # clicks, all as expected, that a day's level starts with
NAMES = ("day", "creative", "rate", "impressions", "clicks")

BY_AD_AND_DAY = """
    SELECT extract(epoch FROM date_trunc('day', d.served_at AT TIME ZONE 'UTC'))::float8, d.creative_id,
           avg(d.pctr)::float8, count(*)::float8, count(c.decision_id)::float8
    FROM events_addecision AS d
    JOIN events_impression AS i ON i.decision_id = d.decision_id AND i.reason = ANY(%(counted)s)
    LEFT JOIN events_click AS c
        ON c.decision_id = d.decision_id AND c.reason = ANY(%(counted)s) AND c.occurred_at < %(until)s
    WHERE d.served_at < %(until)s AND d.creative_id IS NOT NULL AND d.pctr > 0 AND d.pctr < 1
    GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Learned:
    """What was found; `row` is not saved yet."""

    row: BeliefFit
    words: str


def serving() -> Belief:
    """The newest belief, the default where none was learned."""
    newest = BeliefFit.objects.first()
    return Belief(newest.strength) if newest and newest.is_kept else online.DEFAULT


def learn(*, at: datetime, dry_run: bool = False) -> Learned:
    """Fit on what was decided before `at`; snapshots built from then on carry the belief."""
    trials = read(until=at)
    clicks = int(trials.clicks.sum())
    found = online.fit(trials) if clicks >= FEWEST_CLICKS else online.fit(trials.where(np.empty(0, np.int64)))
    row = BeliefFit(
        fitted_at=at,
        rows=len(trials),
        clicks=clicks,
        strength=found.belief.strength,
        gain=found.gain[0],
        gain_error=found.gain[1],
        is_kept=found.is_kept,
    )
    if not dry_run:
        row.save()
    return Learned(row, _words(row))


def read(*, until: datetime) -> Trials:
    """A trial for each ad and day of the window."""
    with connection.cursor() as cursor:
        cursor.execute(BY_AD_AND_DAY, {"until": until, "counted": list(COUNTED)})
        table = np.array(cursor.fetchall(), np.float64).reshape(-1, len(NAMES))
    day, creative, rate, impressions, clicks = table.T
    seen = _before(creative, impressions)
    _, number = np.unique(day, return_inverse=True)
    lift = (np.bincount(number, weights=clicks) + LEVEL_CLICKS) / (
        np.bincount(number, weights=impressions * rate) + LEVEL_CLICKS
    )
    recent = day >= (until - WINDOW).timestamp()
    trials = Trials(np.minimum(rate * lift[number], 0.9), seen, impressions, clicks, day)
    return trials.where(np.flatnonzero(recent))


def _before(creative: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """Impressions of each row's ad on earlier days; rows come in order of days."""
    order = np.argsort(creative, kind="stable")
    summed = np.cumsum(impressions[order]) - impressions[order]
    starts = np.flatnonzero(np.append(True, np.diff(creative[order]) != 0)) if len(order) else order
    base = np.repeat(summed[starts], np.diff(np.append(starts, len(order))))
    found = np.empty(len(order))
    found[order] = summed - base
    return found


def _words(row: BeliefFit) -> str:
    if row.clicks < FEWEST_CLICKS:
        return f"Not learned: {row.clicks:,} clicks of decided ads ({FEWEST_CLICKS:,} are needed)."
    interval = f"{row.gain:+.4f} ± {2 * row.gain_error:.4f} log likelihood by ad and day"
    if not row.is_kept:
        return f"Kept at {row.strength:g} impressions: nothing else was surely better later ({interval})."
    return f"A prediction is worth {row.strength:g} impressions ({interval})."
