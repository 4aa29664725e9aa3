"""Counters of one serving process, in Prometheus' text format. No Django here."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3)  # seconds
_HELP = {
    "adplatform_decisions_total": "Ad requests answered, by mode",
    "adplatform_placements_total": "Placements answered: filled, or the reason why not",
    "adplatform_events_total": "Impressions, views, clicks and conversion pixels that were acknowledged",
    "adplatform_refused_total": "Requests refused: forged token, malformed body, event that could not be stored",
    "adplatform_errors_total": "Unexpected errors that were answered with a no-ad",
    "adplatform_decision_seconds": "Time from request to answer of a decision",
}


class Metrics:
    """Counts are kept under a lock: threads of one process share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Shown from the start: a rate of Prometheus' does not see the step from nothing to one.
        self._counts: dict[tuple[str, str], int] = {("adplatform_errors_total", ""): 0}
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0

    def count(self, name: str, label: str = "", amount: int = 1) -> None:
        """Raise `adplatform_{name}_total`; `label` is its one label's value."""
        key = (f"adplatform_{name}_total", label)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + amount

    def observe(self, seconds: float) -> None:
        with self._lock:
            self._buckets[bisect_left(_BUCKETS, seconds)] += 1
            self._seconds += seconds

    def get(self, name: str, label: str = "") -> int:
        return self._counts.get((f"adplatform_{name}_total", label), 0)

    def text(self, gauges: Mapping[str, float]) -> str:
        """All counters, and these gauges by their full names."""
        lines: list[str] = []
        with self._lock:
            counts, buckets, seconds = dict(self._counts), list(self._buckets), self._seconds
        for name in sorted({name for name, _ in counts}):
            lines += [f"# HELP {name} {_HELP.get(name, name)}", f"# TYPE {name} counter"]
            lines += [
                f'{name}{{kind="{label}"}} {value}' if label else f"{name} {value}"
                for (one, label), value in sorted(counts.items())
                if one == name
            ]
        lines += _histogram("adplatform_decision_seconds", buckets, seconds)
        for name, number in gauges.items():
            lines += [f"# TYPE {name} gauge", f"{name} {number:g}"]
        return "\n".join(lines) + "\n"


def _histogram(name: str, buckets: list[int], seconds: float) -> list[str]:
    lines = [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} histogram"]
    total = 0
    for limit, count in zip((*map(str, _BUCKETS), "+Inf"), buckets, strict=True):
        total += count
        lines.append(f'{name}_bucket{{le="{limit}"}} {total}')
    return [*lines, f"{name}_sum {seconds:.6f}", f"{name}_count {total}"]
