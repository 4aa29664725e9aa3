"""How far the newest day's inputs are from those of the window before it: population stability index and Kolmogorov's D.

A figure counts only where it is beyond what chance does with so many independent visitors. Drift never stops training:
the cure for data that changed is to learn from them. Features that grow with history by construction are shown, not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ml.quality.bounds import ks_noise, psi_noise
from ml.quality.report import Finding, Severity, Thresholds, graded
from ml.schema import Column, Floats, Mask

BINS = 10
MOST_CATEGORIES = 20
REST = -1.0


@dataclass(frozen=True)
class Shift:
    """`psi` over `bins` bins, `ks` over the values that are known."""

    psi: float
    ks: float
    bins: int


def codes(column: Column) -> Floats:
    """A categorical column as numbers, the commonest 20 apart, all others together."""
    names, row, count = np.unique(column.astype(str), return_inverse=True, return_counts=True)
    rank = np.empty(len(names))
    rank[np.argsort(-count, kind="stable")] = np.arange(len(names))
    return np.where(rank < MOST_CATEGORIES, rank, REST)[row]


def shift(reference: Floats, newest: Floats) -> Shift:
    """From one sample to the other. Bins are tenths of the reference, or its values where these are few; missing
    values are a bin of their own. Half an observation is added to each bin, so that an empty one is no infinity."""
    known = reference[np.isfinite(reference)]
    values = np.unique(known)
    edges = (
        values
        if len(values) <= MOST_CATEGORIES
        else np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
    )
    size = len(edges) + 2
    before, now = (
        np.bincount(
            np.where(np.isfinite(sample), np.searchsorted(edges, sample, side="left") + 1, 0), minlength=size
        )
        for sample in (reference, newest)
    )
    used = (before + now) > 0
    a, b = before[used] + 0.5, now[used] + 0.5
    a, b = a / a.sum(), b / b.sum()
    return Shift(float(((b - a) * np.log(b / a)).sum()), _ks(known, newest), int(used.sum()))


def drift(
    features: Mapping[str, Floats],
    newest: Mask,
    reference: Mask,
    *,
    independent: tuple[int, int],
    limits: Thresholds,
    judged: frozenset[str],
) -> list[Finding]:
    """One finding per feature; `independent` are the observations of (reference, newest) as bounds.independent counts."""
    alpha = limits.alpha / max(len(judged), 1)
    findings = []
    for name, column in features.items():
        found = shift(column[reference], column[newest])
        chance = (
            psi_noise(found.bins, *independent, alpha=alpha),
            ks_noise(*independent, alpha=alpha),
        )
        findings.append(_finding(name, found, by_chance=chance, limits=limits, is_judged=name in judged))
    return findings


def _finding(
    name: str, found: Shift, *, by_chance: tuple[float, float], limits: Thresholds, is_judged: bool
) -> Finding:
    psi_severity, mark = _beyond(found.psi, by_chance[0], limits)
    ks_severity, _ = _beyond(found.ks, by_chance[1], limits)
    severity = max(psi_severity, ks_severity, key=tuple(Severity).index) if is_judged else Severity.OK
    label = name.replace("_", " ")
    words = f"{label}: PSI {found.psi:.3f}, KS {found.ks:.3f} from the window before to the newest day."
    if severity is not Severity.OK:
        words += " Its mix changed: a new source of traffic, a release, or a broken field. Models learn it within days."
    elif not is_judged:
        words += " It moves with what is known, and is not judged."
    details = {"psi": found.psi, "ks": found.ks, "chance": by_chance[0], "judged": float(is_judged)}
    return Finding("drift", label, severity, found.psi, mark, words, details)


def _beyond(figure: float, chance: float, limits: Thresholds) -> tuple[Severity, float]:
    return graded(figure, warn=max(limits.drift_warn, chance), alarm=max(limits.drift_alarm, chance))


def _ks(reference: Floats, newest: Floats) -> float:
    newest = newest[np.isfinite(newest)]
    if not len(reference) or not len(newest):
        return 0.0
    values = np.unique(np.concatenate([reference, newest]))
    a = np.searchsorted(np.sort(reference), values, side="right") / len(reference)
    b = np.searchsorted(np.sort(newest), values, side="right") / len(newest)
    return float(np.abs(a - b).max())
