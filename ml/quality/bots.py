"""Visitors, and traffic without visitors, that behave as no person does.

Three signs: a click rate that nobody has (by its exact lower bound), requests as regular as a clock, more requests in
a minute than a person can make. Declared crawlers never get here: events.validity keeps them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.quality.bounds import binomial_bounds, has_visitor
from ml.quality.report import Finding, Severity, Thresholds, graded, listed, share
from ml.schema import Column, Floats, ImpressionLog, Ints, Mask

SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True)
class Suspects:
    """Rows by suspects: a mask for each sign."""

    click_rate: Mask
    regular: Mask
    too_many: Mask

    @property
    def any(self) -> Mask:
        return self.click_rate | self.regular | self.too_many

    def signs(self) -> dict[str, Mask]:
        return {
            "a click rate that nobody has": self.click_rate,
            "requests as regular as a clock": self.regular,
            "more requests in a minute than a person makes": self.too_many,
        }


def suspects(log: ImpressionLog, limits: Thresholds) -> Suspects:
    """Rows of visitors who show a sign, and rows without visitor of slots whose such rows show one."""
    known = has_visitor(log.visitor) & np.isfinite(log.time)
    nameless = ~has_visitor(log.visitor) & np.isfinite(log.time)
    by_visitor = _signs(log, known, log.visitor, limits, frequency=True)
    # Many people share a slot, so that its frequency says nothing; a clock and a click rate do.
    by_slot = _signs(log, nameless, log.slot, limits, frequency=False)
    return Suspects(*(one | other for one, other in zip(by_visitor, by_slot, strict=True)))


def bots(log: ImpressionLog, limits: Thresholds) -> list[Finding]:
    """How much of the clicks and impressions is not people's."""
    found = suspects(log, limits)
    rows = found.any
    clicks = log.clicked
    figure = share(clicks[rows].sum(), clicks.sum())
    severity, mark = graded(figure, warn=limits.bot_click_share_warn, refuse=limits.bot_click_share_refuse)
    details = {name: float(one.sum()) for name, one in found.signs().items()}
    details |= {"rows": float(rows.sum()), "clicks": float(clicks[rows].sum())}
    return [Finding("bots", "visitors", severity, figure, mark, _words(log, found, severity), details)]


def _words(log: ImpressionLog, found: Suspects, severity: Severity) -> str:
    rows = found.any
    if not rows.any():
        return "Nobody behaves as no person does."
    visitors = sorted({str(one) for one in log.visitor[rows & has_visitor(log.visitor)].tolist()})
    slots = sorted({str(one) for one in log.slot[rows & ~has_visitor(log.visitor)].tolist()})
    who = []
    if visitors:
        who.append(f"{len(visitors):,} visitors ({listed(visitors, most=3)})")
    if slots:
        who.append(f"traffic without visitor in {len(slots):,} slots ({listed(slots, most=3)})")
    signs = ", ".join(name for name, one in found.signs().items() if one.any())
    words = (
        f"{' and '.join(who)} with {signs}: {int(rows.sum()):,} impressions and {int(log.clicked[rows].sum()):,} of "
        f"{int(log.clicked.sum()):,} clicks."
    )
    if severity is Severity.OK:
        return words
    return (
        words
        + " Find their sites under Traffic, block what is automatic, and credit what was charged for it."
    )


def _signs(
    log: ImpressionLog, rows: Mask, groups: Column, limits: Thresholds, *, frequency: bool
) -> tuple[Mask, Mask, Mask]:
    """A mask over all rows of the log for each sign, looking only at `rows`, grouped by `groups`."""
    empty = np.zeros(len(log), bool)
    if not rows.any():
        return empty, empty, empty
    _, group = np.unique(groups[rows].astype(str), return_inverse=True)
    flags = (
        _clicks_too_much(group, log.clicked[rows], log.clicked.mean(), limits),
        _too_regular(group, log.time[rows], limits),
        _too_many(group, log.time[rows], limits) if frequency else np.zeros(group.max() + 1, bool),
    )
    masks = []
    for flag in flags:
        mask = empty.copy()
        mask[rows] = flag[group]
        masks.append(mask)
    return masks[0], masks[1], masks[2]


def _clicks_too_much(group: Ints, clicked: Floats, rate: float, limits: Thresholds) -> Mask:
    shown, clicks = np.bincount(group), np.bincount(group, clicked)
    low, _ = binomial_bounds(clicks, shown, alpha=limits.alpha / len(shown))
    most = min(limits.bot_click_rate, limits.bot_click_times * max(rate, 1e-9))
    flagged: Mask = (low > most) & (shown >= limits.bot_fewest_impressions)
    return flagged


def _moments(group: Ints, time: Floats) -> tuple[Ints, Floats]:
    """Distinct whole seconds of each group, sorted: the ads of one page are one moment."""
    second = np.floor(time)
    order = np.lexsort((second, group))
    group, second = group[order], second[order]
    new = np.append(True, (np.diff(group) != 0) | (np.diff(second) != 0))
    return group[new], second[new]


def _too_regular(group: Ints, time: Floats, limits: Thresholds) -> Mask:
    groups = int(group.max()) + 1
    owner, second = _moments(group, time)
    same = np.diff(owner) == 0
    gap, owner = np.diff(second)[same], owner[1:][same]
    order = np.lexsort((gap, owner))
    gap, owner = gap[order], owner[order]
    count = np.bincount(owner, minlength=groups)
    start = np.append(0, np.cumsum(count)[:-1])
    enough = np.flatnonzero(count >= limits.bot_fewest_gaps)
    quarter, half, three = (
        gap[start[enough] + (count[enough] * part).astype(np.int64)] for part in (0.25, 0.5, 0.75)
    )
    flagged = np.zeros(groups, bool)
    flagged[enough] = (three - quarter) / half < limits.bot_gap_spread
    return flagged


def _too_many(group: Ints, time: Floats, limits: Thresholds) -> Mask:
    owner, second = _moments(group, time)
    span = second.max() - second.min() + 10 * SECONDS_A_MINUTE
    key = owner * span + (second - second.min())
    within = np.searchsorted(key, key + SECONDS_A_MINUTE, side="left") - np.arange(len(key))
    most = np.zeros(int(group.max()) + 1)
    np.maximum.at(most, owner, within)
    flagged: Mask = most > limits.bot_requests_a_minute
    return flagged
