"""A canary is looked at every few minutes, and stopped as soon as it is surely worse than the champion.

Both answer the same traffic at the same time, each its own visitors. Two things are compared per unit (a visitor, or
a request without one): clicks per impression, and predicted over observed clicks. Whoever looks often finds by
chance what he fears, so that the intervals hold at all moments together (an asymptotic confidence sequence, Robbins'
normal mixture: Waudby-Smith et al. 2021, "Time-uniform central limit theory"): a canary as good as the champion is
ever stopped in at most 5 % of trials, however often it is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection

from adplatform.events.validity import COUNTED
from adplatform.learning import registry
from adplatform.learning.models import ModelVersion
from adplatform.learning.registry import Pair, Stage
from ml.schema import Floats

ALPHA = 0.025  # for each of the two questions
TIGHTEST_AT = 2_000  # units at which the sequence is narrowest
FEWEST_CLICKS = 30  # of each side, before anything is said
WIDEST_CALIBRATION = math.log(1 / 0.9)  # log of predicted over observed that is no fault

UNITS = """
    SELECT d.versions->>%(kind)s = %(canary)s, count(*), count(c.decision_id), sum(d.pctr)
    FROM events_impression AS i
    JOIN events_addecision AS d ON d.decision_id = i.decision_id
    LEFT JOIN events_click AS c
        ON c.decision_id = i.decision_id AND c.reason = ANY(%(counted)s) AND c.occurred_at < %(until)s
    WHERE i.served_at >= %(since)s AND i.served_at < %(until)s AND i.reason = ANY(%(counted)s)
        AND d.pctr IS NOT NULL AND d.versions->>%(kind)s IN (%(canary)s, %(champion)s)
    GROUP BY 1, CASE WHEN i.visitor <> '' THEN i.visitor ELSE i.decision_id::text END
"""


@dataclass(frozen=True)
class Arm:
    """One side's sums by unit."""

    impressions: Floats
    clicks: Floats
    predicted: Floats

    def __len__(self) -> int:
        return len(self.impressions)

    @property
    def ctr(self) -> tuple[float, float]:
        """Clicks per impression and its standard error over units (a ratio's, by linearisation)."""
        rate = float(self.clicks.sum() / self.impressions.sum())
        rest = self.clicks - rate * self.impressions
        return rate, float(np.sqrt((rest**2).sum()) / self.impressions.sum())

    @property
    def calibration(self) -> tuple[float, float]:
        """Logarithm of predicted over observed clicks, and its standard error over units."""
        predicted, observed = self.predicted.sum(), self.clicks.sum()
        rest = self.predicted / predicted - self.clicks / observed
        return float(np.log(predicted / observed)), float(np.sqrt((rest**2).sum()))

    def as_dict(self) -> dict[str, Any]:
        enough = self.clicks.sum() > 0
        return {
            "units": len(self),
            "impressions": int(self.impressions.sum()),
            "clicks": int(self.clicks.sum()),
            "ctr": round(self.ctr[0], 6) if len(self) else None,
            "calibration": round(math.exp(self.calibration[0]), 4) if enough else None,
        }


@dataclass(frozen=True)
class Watched:
    """What was seen: whether the canary must stop, in words, with figures."""

    is_stopped: bool
    words: str
    figures: dict[str, Any]


def half_width(units: int) -> float:
    """Half the width of the interval in standard errors, valid at all sample sizes together."""
    log_alpha = -2 * math.log(ALPHA)
    growth = units * (log_alpha + math.log(log_alpha + 1)) / TIGHTEST_AT
    return math.sqrt((1 + 1 / growth) * math.log((growth + 1) / ALPHA**2))


def verdict(canary: Arm, champion: Arm) -> Watched:
    """Stop where clicks are surely fewer, or calibration surely outside its bounds and worse than the champion's."""
    figures: dict[str, Any] = {"canary": canary.as_dict(), "champion": champion.as_dict()}
    if min(canary.clicks.sum(), champion.clicks.sum()) < FEWEST_CLICKS:
        return Watched(False, f"Too early: fewer than {FEWEST_CLICKS} clicks on one side.", figures)
    (rate, error), (rival, rival_error) = canary.ctr, champion.ctr
    width = half_width(min(len(canary), len(champion))) * math.hypot(error, rival_error)
    gap = rate - rival
    figures["ctr_difference"] = [round(number, 6) for number in (gap, gap - width, gap + width)]
    (bias, bias_error), (known, _) = canary.calibration, champion.calibration
    spread = half_width(len(canary)) * bias_error
    figures["calibration"] = [round(math.exp(number), 4) for number in (bias, bias - spread, bias + spread)]
    allowed = max(WIDEST_CALIBRATION, abs(known))
    faults = []
    if gap + width < 0:
        faults.append(f"its CTR {rate:.3%} is surely below the champion's {rival:.3%}")
    if bias - spread > allowed or bias + spread < -allowed:
        faults.append(
            f"it promises {math.exp(bias):.2f} clicks for each that comes (champion {math.exp(known):.2f})"
        )
    if faults:
        return Watched(True, f"Stopped: {' and '.join(faults)}.", figures)
    words = (
        f"No worse so far: CTR {rate:.3%} beside {rival:.3%} (difference {gap:+.3%}, {gap - width:+.3%} to "
        f"{gap + width:+.3%}), calibration {math.exp(bias):.3f}."
    )
    return Watched(False, words, figures)


def watch(*, at: datetime, dry_run: bool = False) -> Watched:
    """Compare the canary with the champion since it began; stop it where it is worse."""
    pair = registry.staged(Stage.CANARY)
    if pair is None:
        return Watched(False, "No canary.", {})
    found = verdict(*arms(pair, until=at))
    if not dry_run:
        registry.record_live(
            pair, Stage.CANARY, {"at": at.isoformat(), "words": found.words, **found.figures}
        )
        if found.is_stopped:
            registry.stop(_own(pair), why=found.words, is_refused=True)
    return found


def arms(pair: Pair, *, until: datetime) -> tuple[Arm, Arm]:
    """(canary, champion): what each showed since the canary began."""
    own = _own(pair)
    champion = registry.champions()
    values = {
        "kind": own.kind,
        "canary": own.name,
        "champion": champion.names[own.kind],
        "since": own.staged_at,
        "until": until,
        "counted": list(COUNTED),
    }
    with connection.cursor() as cursor:
        cursor.execute(UNITS, values)
        rows = cursor.fetchall()
    return _arm(rows, is_canary=True), _arm(rows, is_canary=False)


def _own(pair: Pair) -> ModelVersion:
    """The pair's own version: the blender where both are, since no champion has its name."""
    return next(one for one in reversed(pair.members) if one.stage == Stage.CANARY)


def _arm(rows: list[tuple[bool, int, int, float]], *, is_canary: bool) -> Arm:
    table = np.array([row[1:] for row in rows if row[0] is is_canary], np.float64).reshape(-1, 3)
    return Arm(table[:, 0], table[:, 1], table[:, 2])
