"""What a fault did, from what the readers saw, what the ads process counted and what PostgreSQL holds afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import redis

from tests.chaos.load import Readers, Sample
from tests.chaos.platform import ROOT, Platform

DRAIN_SECONDS = 60.0
NORMAL = {"model", "blender"}
OVERSPENT = """
    SELECT coalesce(sum(greatest(spent_micros - amount_micros, 0)), 0) FROM campaigns_budget
"""
CHARGED = """
    SELECT coalesce(sum(greatest(e.charged - c.daily_budget_micros, 0)), 0)
    FROM (
        SELECT campaign_id, served_at::date AS day, sum(charge_micros) AS charged FROM (
            SELECT campaign_id, served_at, charge_micros FROM events_impression WHERE reason = ''
            UNION ALL SELECT campaign_id, served_at, charge_micros FROM events_click WHERE reason = ''
        ) AS billed GROUP BY 1, 2
    ) AS e JOIN campaigns_campaign AS c ON c.id = e.campaign_id
"""


@dataclass
class Report:
    """One line of the table. Times in milliseconds but `recovery` (seconds after the fault was lifted)."""

    fault: str
    samples: list[Sample]
    recovery: float
    drained: float
    acknowledged: int
    lost: int
    double: int
    overspent_micros: int
    violations: list[str]
    worst: float = 0.0
    worst_alone: float = 0.0  # less what the machine made it wait for a processor
    wrong: list[str] = field(default_factory=list)
    notes: str = ""

    def decisions(self) -> list[Sample]:
        return [one for one in self.samples if one.kind == "decision"]

    def server_errors(self, *kinds: str) -> int:
        return sum(one.status >= 500 for one in self.samples if not kinds or one.kind in kinds)

    def broken(self) -> int:
        return sum(one.status == 0 for one in self.samples)

    def modes(self) -> Counter[str]:
        return Counter(one.mode for one in self.decisions() if one.status == 200)

    def p99(self, mode: str = "") -> float:
        took = [one.seconds for one in self.decisions() if one.status == 200 and mode in ("", one.mode)]
        return float(np.percentile(took, 99)) * 1000 if took else 0.0

    def line(self) -> str:
        modes, count = self.modes(), max(1, len(self.decisions()))
        shares = " ".join(f"{mode} {100 * n / count:.0f}%" for mode, n in modes.most_common())
        return (
            f"{self.fault:<20}{len(self.samples):>9}{self.server_errors('decision', 'click'):>5}{self.server_errors('impression'):>8}"
            f"{self.broken():>8}{self.worst:>10.0f}{self.worst_alone:>7.0f}{self.p99():>8.0f}{self.recovery:>10.1f}{self.drained:>9.1f}{self.acknowledged:>8}"
            f"{self.lost:>6}{self.double:>8}{self.overspent_micros:>11}  {shares}"
        )

    @staticmethod
    def table(reports: Sequence[Report]) -> str:
        head = (
            f"{'fault':<20}{'requests':>9}{'5xx':>5}{'gif 503':>8}{'broken':>8}{'worst ms':>10}{'alone':>7}{'p99 ms':>8}{'recovery s':>11}"
            f"{'drained':>8}{'acked':>8}{'lost':>6}{'double':>8}{'overspend':>11}  modes"
        )
        notes = [f"{report.fault}: {report.notes}" for report in reports if report.notes]
        return "\n".join([head, *(report.line() for report in reports), *notes])


def recovery_seconds(samples: Sequence[Sample], lifted: float) -> float:
    """From the lifting of the fault until the last answer that was not as usual."""
    late = [one.at for one in samples if one.at > lifted and not _is_usual(one)]
    return max(late, default=lifted) - lifted


def _is_usual(one: Sample) -> bool:
    if one.kind == "decision":
        return one.status == 200 and one.mode in NORMAL
    return one.status in (200, 302)


def wait_until_drained(platform: Platform) -> float:
    """Until the spool and the stream are empty; the seconds that took."""
    started = time.monotonic()
    events = redis.Redis.from_url(platform.machine.urls["EVENTS_URL"])
    spool = platform.machine.var / "spool"
    while time.monotonic() < started + DRAIN_SECONDS:
        spooled = sum(path.stat().st_size for path in spool.glob("*.spool"))
        if not spooled and not events.xlen("events"):
            return time.monotonic() - started
        time.sleep(0.1)
    raise AssertionError(
        f"not drained: {spooled} bytes spooled, {events.xlen('events')} entries in the stream"
    )


def report(fault: str, platform: Platform, readers: Readers, *, lifted: float) -> Report:
    """After the fault is lifted and the readers have gone."""
    drained = wait_until_drained(platform)
    decisions = [one for one in readers.samples if one.kind == "decision" and one.status == 200]
    worst = max(decisions, key=lambda one: one.seconds)
    alone = _worst_alone(readers, decisions)
    lost, double = _missing(platform, readers)
    ((overspent,),), ((charged,),) = platform.rows(OVERSPENT), platform.rows(CHARGED)
    return Report(
        fault=fault,
        samples=readers.samples,
        recovery=recovery_seconds(readers.samples, lifted),
        drained=drained,
        acknowledged=sum(map(len, readers.acknowledged.values())),
        lost=lost,
        double=double,
        overspent_micros=int(overspent) + int(charged),
        violations=reconciled(platform),
        worst=worst.seconds * 1000,
        worst_alone=alone * 1000,
        wrong=readers.wrong,
        notes=", ".join(
            [
                f"worst {worst.at - lifted:+.1f} s from its end",
                *(f"{count} × {what}" for what, count in readers.broken.items()),
            ]
        ),
    )


def _worst_alone(readers: Readers, decisions: Sequence[Sample]) -> float:
    worst = 0.0
    for one in sorted(decisions, key=lambda one: -one.seconds):
        if one.seconds <= worst:
            break
        worst = max(worst, readers.alone(one))
    return worst


def _missing(platform: Platform, readers: Readers) -> tuple[int, int]:
    """(acknowledged events that PostgreSQL does not hold, events that it holds twice)."""
    lost = double = 0
    for kind, ids in readers.acknowledged.items():
        rows = platform.rows(f"SELECT decision_id::text, count(*) FROM events_{kind} GROUP BY 1")
        held = {row[0].replace("-", ""): row[1] for row in rows}
        lost += len(ids - held.keys())
        double += sum(count - 1 for count in held.values())
    return lost, double


def reconciled(platform: Platform) -> list[str]:
    """What `reconcile` finds wrong that it did not before."""
    told = subprocess.run(
        [sys.executable, "manage.py", "reconcile", "--json"],
        cwd=ROOT, env=platform.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = {
        f"{one['rule']} {one['subject']} {one['words']}" for one in json.loads(told.stdout)["violations"]
    }
    fresh = found - platform.known_violations
    platform.known_violations |= found
    return sorted(fresh)
