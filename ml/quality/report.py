"""What an examination of data says: findings with a figure, the threshold that it was held against, and words.

`ok` needs nothing. `warn` is worth a look. `alarm` must be looked at, and training goes on: data that changed must be
learned from. `refuse` stops training, since what would be learned is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    OK = "ok"
    WARN = "warn"
    ALARM = "alarm"
    REFUSE = "refuse"


ORDER = tuple(Severity)


@dataclass(frozen=True)
class Thresholds:
    """Where a figure stops being fine. Shares are of rows unless said otherwise; every one may be set by the caller.

    Defaults without a named source are this project's own, chosen so that clean generated data raise nothing over 50
    seeds and planted faults of the sizes in tests/ml/test_quality.py are found.
    """

    # One event is stored once (its decision's id is the key), so that a share of repeats is a broken import.
    duplicates_warn: float = 0.01
    duplicates_refuse: float = 0.2
    # Future, click before impression, no time at all. Clocks of servers differ; see `clock_seconds`.
    impossible_warn: float = 0.001
    impossible_refuse: float = 0.05
    clock_seconds: float = 300.0  # as events.validity.AHEAD
    # Impressions outside the flight of their line item: an edited flight makes some, so that it never refuses.
    off_flight_warn: float = 0.01
    # Keys that every row needs (creative, line item, slot).
    missing_key_refuse: float = 0.01
    # Rise of a field's missing share from the training window to the newest day.
    missing_rise_warn: float = 0.1
    missing_rise_alarm: float = 0.5
    # Visitors: the click rate that nobody has, as a multiple of the rate of all and at most `bot_click_rate`.
    bot_click_rate: float = 0.6
    bot_click_times: float = 20.0
    bot_fewest_impressions: int = 20
    # Spread of the gaps between two requests: (q75 - q25) / median; 1.58 for chance arrivals (exponential), 0 for a clock.
    bot_gap_spread: float = 0.2
    bot_fewest_gaps: int = 25
    bot_requests_a_minute: int = 40  # distinct seconds with an impression; a person reads a page in seconds
    bot_click_share_warn: float = 0.02  # share of all clicks that come from such visitors
    bot_click_share_refuse: float = 0.3
    # Robust z: |x - median| / (1.4826 MAD); 3.5 is Iglewicz and Hoaglin (1993) for one value, far stricter for many.
    outlier_z: float = 8.0
    outlier_iqr: float = 3.0  # Tukey (1977): "far out", used where half of the values are equal
    outlier_share_warn: float = 0.01
    # Creatives, line items, slots whose exact interval (Clopper and Pearson, 1934) lies beyond these multiples.
    entity_ctr_times: float = 10.0
    # One feature alone. Kaufman, Rosset and Perlich (2012): a feature too good to be true is a leak until explained.
    leak_auc_warn: float = 0.9
    leak_auc_refuse: float = 0.97
    leak_ne_refuse: float = 0.4
    leak_fewest_clicks: int = 20
    # Population stability index: 0.1 some, 0.2 to 0.25 much change (Siddiqi, 2006); Kolmogorov's D by the same marks.
    drift_warn: float = 0.1
    drift_alarm: float = 0.2
    # Clicks: fewer teach little; a rate that moved by these factors overnight is a changed world or a broken counter.
    fewest_clicks_warn: int = 100
    rate_change_warn: float = 1.5
    rate_change_alarm: float = 2.5
    # Shares of impressions below which a coverage is worth a look; unseen: creatives that training does not know.
    coverage_warn: float = 0.5
    unseen_warn: float = 0.5
    # All exact tests: chance of a false alarm, shared among the things that one check looks at.
    alpha: float = 0.001


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `figure` was held against `threshold` (NaN: nothing to hold it against)."""

    check: str
    subject: str
    severity: Severity
    figure: float
    threshold: float
    words: str
    details: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "subject": self.subject,
            "severity": str(self.severity),
            "figure": _plain(self.figure),
            "threshold": _plain(self.threshold),
            "words": self.words,
            "details": {name: _plain(value) for name, value in self.details.items()},
        }


@dataclass(frozen=True)
class Report:
    """All findings about `rows` rows."""

    rows: int
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """The worst of the findings."""
        return max((one.severity for one in self.findings), key=ORDER.index, default=Severity.OK)

    @property
    def refusals(self) -> list[str]:
        """Why nothing may be trained on these data; empty where it may."""
        return [one.words for one in self.findings if one.severity is Severity.REFUSE]

    def of(self, check: str) -> list[Finding]:
        """The findings of one check."""
        return [one for one in self.findings if one.check == check]

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "rows": self.rows,
            "severity": str(self.severity),
            "refusals": self.refusals,
            "findings": [one.as_dict() for one in self.findings],
        }


def graded(
    figure: float,
    *,
    warn: float = math.inf,
    alarm: float = math.inf,
    refuse: float = math.inf,
) -> tuple[Severity, float]:
    """The severity of a figure that is worse when it is higher, and the mark it crossed (or the first above it)."""
    marks = ((Severity.REFUSE, refuse), (Severity.ALARM, alarm), (Severity.WARN, warn))
    for severity, mark in marks:
        if figure >= mark:
            return severity, mark
    return Severity.OK, min(mark for _, mark in marks)


def share(part: float, whole: float) -> float:
    """part / whole, 0 of nothing."""
    return float(part) / float(whole) if whole else 0.0


def listed(names: Iterable[object], *, most: int = 5) -> str:
    """The first names and how many more there are."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _plain(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
