"""`manage.py explain DECISION_ID [--json]`: what a stored decision chose, and what became of everybody else."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from adplatform.campaigns.models import Creative
from adplatform.events.models import AdDecision
from adplatform.serving import choices


class Command(BaseCommand):
    help = "Shows a decision: its ad, price and propensity, the others by reason, and the table of a sampled one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("decision_id", help="as in the answer of POST /v1/decisions")
        parser.add_argument("--json", action="store_true", help="one object instead of text")

    def handle(self, *_: object, decision_id: str, **options: Any) -> None:
        told = explained(_found(decision_id))
        self.stdout.write(json.dumps(told, default=str) if options["json"] else "\n".join(_lines(told)))


def explained(found: AdDecision) -> dict[str, Any]:
    """All that is kept of a decision. `table` is None where it is not in the sample; `replayed` says whether its kept
    choice, made again, is the same."""
    table = found.candidate_table
    ranked = _ranked(table["ranked"]) if table else []
    return {
        "decision_id": found.decision_id,
        "served_at": found.served_at,
        "slot_id": found.slot_id,
        "mode": found.mode,
        "no_ad": found.no_ad,
        "ad": _named(found.creative_id),
        "bid_micros": found.bid_micros,
        "price_micros": found.price_micros,
        "floor_micros": found.floor_micros,
        "runner_up_micros": found.runner_up_micros,
        "pctr": found.pctr,
        "propensity": found.propensity,
        "explored": found.explored,
        "seed": found.seed,
        "versions": found.versions,
        "candidates": found.candidates,
        "refused": dict(sorted(found.refused.items(), key=lambda pair: -pair[1])),
        "table": {"ranked": ranked, "refused": table["refused"]} if table else None,
        "replayed": _replayed(found),
    }


def _found(decision_id: str) -> AdDecision:
    try:
        return AdDecision.objects.get(decision_id=UUID(decision_id))
    except ValueError:
        raise CommandError(f"“{decision_id}” is not a decision's id.") from None
    except AdDecision.DoesNotExist:
        raise CommandError(f"No decision {decision_id} is stored (yet): ingest may be behind.") from None


def _replayed(found: AdDecision) -> bool | None:
    """None where no choice was kept."""
    if not found.choice_set or found.creative_id is None:
        return None
    again = choices.chosen_again(
        found.choice_set, floor_micros=found.floor_micros, bid_micros=found.bid_micros
    )
    stored = choices.Chosen(found.creative_id, found.propensity or 0.0, found.price_micros)
    return again == stored


def _ranked(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """One line per ranked ad: who was shown first, then by offer."""
    if not columns:
        return []
    lines = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    names = _names(columns["creative"])
    for line in lines:
        line["name"] = names.get(line["creative"], "")
    return sorted(lines, key=lambda line: (line["outcome"] != "won", -(line["ecpm_micros"] or 0)))


def _names(ids: list[int]) -> dict[int, str]:
    rows = Creative.objects.filter(pk__in=ids).select_related("line_item__campaign")
    return {row.pk: f"{row.line_item.campaign} · {row.line_item} · {row}" for row in rows}


def _named(creative_id: int | None) -> str:
    return "" if creative_id is None else _names([creative_id]).get(creative_id, str(creative_id))


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [
        f"decision {told['decision_id']} at {told['served_at']:%Y-%m-%d %H:%M:%S}, slot {told['slot_id']}, {told['mode']}"
    ]
    if told["no_ad"]:
        lines.append(f"no ad: {told['no_ad']}")
    else:
        lines += [
            f"shown: {told['ad']}",
            f"bid {told['bid_micros']} price {told['price_micros']} floor {told['floor_micros']} "
            f"runner-up {told['runner_up_micros']} (eCPM, micros)",
            f"pCTR {told['pctr']} propensity {told['propensity']} explored {told['explored']} seed {told['seed']}",
        ]
    lines.append(f"of {told['candidates']} candidates were refused:")
    lines += [f"  {count:>8} {reason}" for reason, count in told["refused"].items()]
    if told["table"] is None:
        return [*lines, "It is not in the sample whose whole table is kept."]
    lines.append("ranked:")
    for one in told["table"]["ranked"]:
        pctr = "–" if one["pctr"] is None else f"{one['pctr']:.5f}"
        lines.append(f"  {one['ecpm_micros'] or 0:>12.0f} {pctr:>8} {one['outcome']:<12} {one['name']}")
    if told["replayed"] is not None:
        lines.append(f"replayed from its seed: {'the same' if told['replayed'] else 'DIFFERENT'}")
    return lines
