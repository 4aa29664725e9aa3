"""From the uniformly random logs: what would the other policy (Bernoulli Thompson sampling) have earned?

Its probabilities π(item | position) are the shares with which its own logs show the items at each position. It
learned all week long, so that its propensities at one moment are sharper than these; what is estimated is the policy
of its mean week. Its own logs say what it did earn: the estimates' intervals must hold that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adplatform.events.models import AdDecision, Click
from adplatform.inventory.models import AdSlot
from ml.evaluation import offpolicy
from ml.schema import Floats, Ints

SOURCE = "openbandit"
LOGGING, JUDGED = "random", "bts"
NAMES = {
    "ips": "IPS",
    "clipped_ips": "clipped IPS",
    "snips": "SNIPS",
    "dr": "doubly robust",
    "switch_dr": "SWITCH-DR",
}


@dataclass(frozen=True)
class Log:
    """One policy's rows on one site; items and positions are numbered from 0."""

    item: Ints
    position: Ints
    click: Floats
    propensity: Floats


def evaluate() -> tuple[list[str], dict[str, Any]]:
    """The table for people, and the same as an object, from what the platform holds."""
    figures = {
        site: compare(logs[LOGGING], logs[JUDGED])
        for site, logs in imported().items()
        if {LOGGING, JUDGED} <= logs.keys()
    }
    return list(lines(figures)), figures


def imported() -> dict[str, dict[str, Log]]:
    """The imported logs by site and policy."""
    sites = dict(AdSlot.objects.values_list("pk", "site__name"))
    clicked = set(Click.objects.filter(source=SOURCE).values_list("decision_id", flat=True))
    rows: dict[tuple[str, str], list[tuple[int, int, float, float]]] = {}
    columns = ("decision_id", "slot_id", "mode", "creative_id", "position", "propensity")
    found = AdDecision.objects.filter(source=SOURCE).order_by("served_at", "decision_id")
    for pk, slot, policy, creative, position, propensity in found.values_list(*columns).iterator():
        rows.setdefault((sites[slot], policy), []).append(
            (creative, position - 1, float(pk in clicked), propensity)
        )
    logs: dict[str, dict[str, Log]] = {}
    for (site, policy), table in rows.items():
        item, position, click, propensity = (np.array(column) for column in zip(*table, strict=True))
        logs.setdefault(site, {})[policy] = Log(item, position, click, propensity)
    return {site: _numbered(of_site) for site, of_site in sorted(logs.items())}


def compare(logging: Log, judged: Log) -> dict[str, Any]:
    """Every estimate of the judged policy's CTR from the logging policy's rows, beside what it did earn."""
    shares = policy_of(judged)
    q, fold = offpolicy.cross_fitted_rates(logging.click, logging.item, actions=shares.shape[1])
    rows = np.arange(len(logging.item))
    table = q[fold]
    report = offpolicy.evaluate(
        offpolicy.Logged(
            reward=logging.click,
            propensity=logging.propensity,
            target=shares[logging.position, logging.item],
            predicted=table[rows, logging.item],
            expected=(shares[logging.position] * table).sum(axis=1),
        )
    )
    earned = float(judged.click.mean())
    held = [name for name, one in report.estimates.items() if one.low <= earned <= one.high]
    return {
        **report.as_dict(),
        "logging_ctr": float(logging.click.mean()),
        "on_policy_ctr": earned,
        "on_policy_clicks": int(judged.click.sum()),
        "held_by": held,
    }


def policy_of(log: Log) -> Floats:
    """π(item | position) of shape (positions, items): the shares of a position's rows that show an item."""
    counts = np.zeros((int(log.position.max()) + 1, int(log.item.max()) + 1))
    np.add.at(counts, (log.position, log.item), 1)
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def lines(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """One block per site."""
    for site, row in figures.items():
        yield (
            f"{site}: logged at random {row['logging_ctr']:.3%}; Thompson sampling earned {row['on_policy_ctr']:.3%} "
            f"({row['on_policy_clicks']} clicks); effective sample {row['ess']:,.0f} of {row['rows']:,}"
        )
        if row["refusal"]:
            yield f"  refused: {row['refusal']}"
        for name, (value, low, high) in row["estimates"].items():
            verdict = "holds it" if name in row["held_by"] else "MISSES IT"
            yield f"  {NAMES[name]:14}{value:8.3%}   95 % {low:.3%} to {high:.3%}   {verdict}"


def _numbered(logs: dict[str, Log]) -> dict[str, Log]:
    """With the site's items numbered from 0, alike for its policies."""
    known = np.unique(np.concatenate([log.item for log in logs.values()]))
    return {
        policy: Log(
            np.searchsorted(known, log.item), log.position.astype(np.int64), log.click, log.propensity
        )
        for policy, log in logs.items()
    }
