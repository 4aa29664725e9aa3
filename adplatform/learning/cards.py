"""A card for each model: what it learned from, how good it is beside simpler ones, where its limits are, what it cost.

Energy is estimated, not measured: processor seconds times the power of one busy core, times what a data centre adds
for cooling, times the carbon of the grid. The assumptions stand on the card.
"""

from __future__ import annotations

from typing import Any

from adplatform.learning.models import ModelVersion, TrainingRun
from ml.ctr.features import NAMES

CORE_WATTS = 10.0  # one busy core of a server processor with its share of memory
OVERHEAD = 1.5  # power usage effectiveness of an ordinary machine room
GRID_GRAMS = 400.0  # CO2 for a kilowatt hour, about the world's mean
FEW_CLICKS = 1_000


def cost(cpu_seconds: float) -> dict[str, Any]:
    """Processor time, energy and carbon, with the assumption in words."""
    kilowatt_hours = cpu_seconds * CORE_WATTS * OVERHEAD / 3_600_000
    return {
        "cpu_seconds": round(cpu_seconds, 1),
        "energy_wh": round(kilowatt_hours * 1_000, 3),
        "co2_grams": round(kilowatt_hours * GRID_GRAMS, 3),
        "assumption": (
            f"{CORE_WATTS:g} W for a busy core, ×{OVERHEAD:g} for the machine room, {GRID_GRAMS:g} g CO2 per kWh; "
            "estimated, not measured"
        ),
    }


def card(version: ModelVersion, run: TrainingRun, *, cpu_seconds: float) -> dict[str, Any]:
    """The card of a version of a finished run."""
    measured = run.metrics
    beside = {name: measured.get(name) for name in ("challenger", "champion", "prior")}
    return {
        "name": version.name,
        "kind": version.get_kind_display(),
        "data": {
            "from": run.data_from.isoformat() if run.data_from else None,
            "until": run.data_until.isoformat() if run.data_until else None,
            "impressions": run.rows,
            "consent": "Only visitors who agree; impressions of the others stay without their visitor.",
        },
        "features": list(NAMES)
        if version.kind == ModelVersion.Kind.BLENDER
        else ["text of the ad", "text of the profile"],
        "encoder": version.encoder,
        "seed": run.seed,
        "own_metrics": version.metrics,
        "newest_day": {name: figures for name, figures in beside.items() if figures},
        "simpler": measured.get("compared") or {},
        "offpolicy": measured.get("offpolicy") or {},
        "verdict": run.verdict,
        "limits": limits(version, run),
        "cost": cost(cpu_seconds),
    }


def limits(version: ModelVersion, run: TrainingRun) -> list[str]:
    """What not to believe it about, in sentences."""
    day = run.metrics.get("challenger") or {}
    words = [
        "It predicts clicks on ads like those it learned from; a new format or site is judged by its parents' rates.",
        "It learned from what was shown: what the platform never showed it knows from texts alone.",
    ]
    if (clicks := day.get("clicks")) is not None and clicks < FEW_CLICKS:
        words.append(f"The newest day held {clicks:,.0f} clicks: differences of a few per cent are noise.")
    if version.kind == ModelVersion.Kind.MATCHER:
        words.append(f"It fits the vectors of {version.encoder} and of no other encoder.")
    if refusal := (run.metrics.get("offpolicy") or {}).get("refusal"):
        words.append(f"What its choices would have earned is not known: {refusal}.")
    return words


def lines(card: dict[str, Any]) -> list[str]:
    """For people."""
    data, spent = card["data"], card["cost"]
    out = [
        f"{card['name']}  {card['kind']}",
        f"  data      {data['impressions']:,} impressions, {data['from']} to {data['until']}; seed {card['seed']}",
        f"  encoder   {card['encoder'] or 'none'}",
        f"  features  {', '.join(card['features'])}",
    ]
    for name, figures in {**card["newest_day"], **card["simpler"]}.items():
        measures = ", ".join(
            f"{key} {figures[key]:.4f}"
            for key in ("ne", "auc", "calibration")
            if isinstance(figures.get(key), int | float)
        )
        if measures:
            out.append(f"  {name:18}{measures}")
    out.append(f"  verdict   {card['verdict']}")
    out += [f"  limit     {words}" for words in card["limits"]]
    out.append(
        f"  cost      {spent['cpu_seconds']:g} s of processor, {spent['energy_wh']:g} Wh, {spent['co2_grams']:g} g CO2 "
        f"({spent['assumption']})"
    )
    return out
