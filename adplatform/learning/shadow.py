"""A shadow scores what the champion showed: by a worker, from what the decisions kept, and never in a request.

Each shown ad's decision holds the features that the champion's blender saw. The shadow's blender is asked about the
same numbers, with its own matcher's text score in their place, and the answer is kept beside the decision (one row per
version and decision). So the comparison is on the same ads, moments and clicks; what a request costs does not change,
and a run that failed is made up for by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection

from adplatform.events.validity import COUNTED
from adplatform.learning import dataset, export, registry
from adplatform.learning.models import ModelVersion, ShadowPrediction
from adplatform.learning.registry import Pair, Stage
from ml.ctr.features import NAMES
from ml.evaluation import metrics
from ml.schema import Floats, Mask, Vectors

LOOKBACK = timedelta(hours=6)  # what a run makes up for at most
SETTLING = timedelta(minutes=15)  # clicks come within minutes; younger impressions are judged by the next run
FEWEST_CLICKS = 30
BATCH = 5_000
TEXT = NAMES.index("text_score")

DECISIONS = """
    SELECT i.decision_id, i.served_at, d.features, i.campaign_id, i.slot_id
    FROM events_impression AS i JOIN events_addecision AS d ON d.decision_id = i.decision_id
    WHERE i.served_at >= %(since)s AND i.served_at < %(until)s AND i.reason = ANY(%(counted)s)
    ORDER BY i.served_at, i.decision_id
"""

JUDGED = """
    SELECT p.pctr, d.pctr, c.decision_id IS NOT NULL, coalesce(nullif(d.visitor, ''), d.decision_id::text)
    FROM learning_shadowprediction AS p
    JOIN events_addecision AS d ON d.decision_id = p.decision_id
    LEFT JOIN events_click AS c
        ON c.decision_id = p.decision_id AND c.reason = ANY(%(counted)s) AND c.occurred_at < %(until)s
    WHERE p.version_id = %(version)s AND d.pctr IS NOT NULL
"""


@dataclass(frozen=True)
class Shadowed:
    """What a run did: predictions added, and the comparison so far."""

    predictions: int
    words: str
    figures: dict[str, Any]


def score(*, at: datetime, dry_run: bool = False) -> Shadowed:
    """Predict for what was shown since the last run, and compare with what the champion had predicted."""
    pair = registry.staged(Stage.SHADOW)
    if pair is None:
        return Shadowed(0, "No shadow.", {})
    own = next(one for one in reversed(pair.members) if one.stage == Stage.SHADOW)
    until = at - SETTLING
    since = max(own.staged_at or until, until - LOOKBACK)
    predictions = [] if dry_run else _predictions(pair, own, since=since, until=until)
    before = own.predictions.count()
    ShadowPrediction.objects.bulk_create(predictions, batch_size=BATCH, ignore_conflicts=True)
    added = own.predictions.count() - before
    words, figures = _compared(own, until=at)
    if not dry_run:
        registry.record_live(pair, Stage.SHADOW, {"at": at.isoformat(), "words": words, **figures})
    return Shadowed(added, words, figures)


def _predictions(
    pair: Pair, own: ModelVersion, *, since: datetime, until: datetime
) -> list[ShadowPrediction]:
    """Rows for decisions whose features are those of this release; without a blender there is nothing to ask."""
    if pair.blender is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(DECISIONS, {"since": since, "until": until, "counted": list(COUNTED)})
        rows = cursor.fetchall()
    usable = np.array([row[2] is not None and len(row[2]) == 4 * len(NAMES) for row in rows], np.bool_)
    if not usable.any():
        return []
    X = np.stack([np.frombuffer(row[2], "<f4") for row, good in zip(rows, usable, strict=True) if good])
    if pair.matcher is not None and pair.matcher.stage == Stage.SHADOW:
        X = _with_text(X, _text_scores(pair.matcher, since=since, until=until, rows=len(rows))[usable])
    kept = [row for row, good in zip(rows, usable, strict=True) if good]
    campaign, slot = (np.array([row[place] for row in kept], np.int64) for place in (3, 4))
    pctr = registry.load_blender(pair.blender).predict(X, campaign=campaign, slot=slot)
    return [
        ShadowPrediction(version=own, decision_id=row[0], served_at=row[1], pctr=float(p))
        for row, p in zip(kept, pctr.tolist(), strict=True)
    ]


def _text_scores(matcher: ModelVersion, *, since: datetime, until: datetime, rows: int) -> Floats:
    """The shadow matcher's score of each impression of the window, in the order of `DECISIONS`."""
    exported = export.training_log(until=until)
    window: Mask = exported.log.time >= since.timestamp() - 1e-6
    assert int(window.sum()) == rows, "both queries see the same impressions"
    part = replace(
        exported, log=exported.log.take(window), site=exported.site[window], device=exported.device[window]
    )
    return dataset.of_log(part, until=until).text_scores(registry.load_matcher(matcher))


def _with_text(X: Vectors, text: Floats) -> Vectors:
    out = X.copy()
    out[:, TEXT] = text
    return out


def _compared(own: ModelVersion, *, until: datetime) -> tuple[str, dict[str, Any]]:
    """Shadow and champion on the same clicks."""
    with connection.cursor() as cursor:
        cursor.execute(JUDGED, {"version": own.pk, "until": until, "counted": list(COUNTED)})
        rows = cursor.fetchall()
    clicks = sum(row[2] for row in rows)
    figures: dict[str, Any] = {"impressions": len(rows), "clicks": clicks}
    if clicks < FEWEST_CLICKS:
        return f"Too early: {clicks} clicks on {len(rows):,} ads that it scored.", figures
    shadow, champion = (np.array([row[column] for row in rows], np.float64) for column in (0, 1))
    clicked = np.array([row[2] for row in rows], np.float64)
    cluster = np.array([row[3] for row in rows])
    difference = metrics.mean_interval(
        metrics.row_losses(shadow, clicked) - metrics.row_losses(champion, clicked), cluster, rounds=400
    )
    figures |= {
        "ne": round(metrics.normalised_entropy(shadow, clicked), 6),
        "ne_champion": round(metrics.normalised_entropy(champion, clicked), 6),
        "calibration": round(metrics.calibration_ratio(shadow, clicked), 4),
        "calibration_champion": round(metrics.calibration_ratio(champion, clicked), 4),
        "loss_difference": [round(number, 7) for number in difference],
    }
    words = (
        f"On {len(rows):,} ads and {clicks:,} clicks: normalised entropy {figures['ne']:.4f} beside "
        f"{figures['ne_champion']:.4f} of the champion (log loss per impression {difference[0]:+.5f}, "
        f"{difference[1]:+.5f} to {difference[2]:+.5f}), calibration {figures['calibration']:.3f} beside "
        f"{figures['calibration_champion']:.3f}."
    )
    return words, figures
