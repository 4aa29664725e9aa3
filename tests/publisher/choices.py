"""Visitors whose decisions kept who else could have been shown."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from adplatform.core import clock
from adplatform.inventory.models import AdSlot
from tests import factories

BIDS = (900_000.0, 700_000.0, 500_000.0, 400_000.0)  # per click, of four advertisers


def choices_of_visitors(slot: AdSlot, *, visitors: int, each: int, at: datetime | None = None) -> None:
    """Choices between four advertisers; the one that bids most was shown."""
    ads = [
        factories.creative(factories.line_item(factories.campaign(category=name)), pk=900_000 + number)
        for number, name in enumerate(("cars", "golf", "books", "shoes"))  # chance hangs on ids
    ]
    moment = (at or clock.now()) - timedelta(hours=2)
    for number in range(visitors * each):
        choice = {
            "creative": [ad.pk for ad in ads],
            "by_click": [True] * 4,
            "worth": list(BIDS),
            "pctr": [0.04] * 4,
            "sd": [0.1] * 4,
            "propensity": [0.97, 0.01, 0.01, 0.01],
            "seed": number + 1,
            "epsilon": 0.02,
            "budget": 0.05,
            "features": "",
        }
        made = factories.decision(
            ads[0],
            slot,
            served_at=moment,
            choice_set=choice,
            price_micros=28_000_000,
            pctr=0.04,
            visitor=f"{number % visitors:032x}",
            decision_id=UUID(int=number + 1),  # equal moments are told apart by it
        )
        factories.impression(made)
