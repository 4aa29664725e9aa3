"""What visitors say about ads, once it is stored: it hides at the next request, and turns their profiles.

`hidden` says what lies where. Acts of feedback count in a profile (learning.export), so that ads about the same things
score lower for this visitor, or higher where he asked for more, in serving and in training alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from adplatform.events.facts import Fact
from adplatform.events.models import Feedback
from adplatform.learning import hidden
from adplatform.learning.hidden import Said


def apply(redis_client: Any, facts: Sequence[Fact]) -> None:
    """Make what was stored hold in the hot Valkey; it mostly does already."""
    hidden.write(redis_client, [_said(fact) for fact in facts if fact.kind in hidden.KINDS])


def restore(redis_client: Any, until: datetime) -> int:
    """Write again what hides at a moment, after Valkey was lost; returns how many decisions that took."""
    rows = Feedback.objects.filter(
        occurred_at__gt=until - timedelta(seconds=hidden.LONGEST_SECONDS), occurred_at__lte=until
    )
    newest = rows.order_by("decision_id", "kind", "-turn").distinct("decision_id", "kind")
    said = [
        Said(
            decision_id=row.decision_id.hex,
            kind=row.kind,
            turn=row.turn,
            is_given=row.is_given,
            visitor=row.visitor,
            line_item_id=row.line_item_id,
            advertiser_id=row.advertiser_id,
            at=row.occurred_at.timestamp(),
        )
        for row in sorted(newest, key=lambda row: row.occurred_at)
    ]
    hidden.write(redis_client, said)
    return len({one.decision_id for one in said})


def _said(fact: Fact) -> Said:
    return Said(
        decision_id=fact.decision_id,
        kind=fact.kind,
        turn=fact.turn,
        is_given=fact.is_given,
        visitor=fact.visitor,
        line_item_id=fact.line_item_id,
        advertiser_id=fact.advertiser_id,
        at=fact.occurred_at.timestamp(),
    )
