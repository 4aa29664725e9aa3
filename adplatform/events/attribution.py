"""Which ad gets the credit for a conversion: the last click in the click window, else the last view in its window.

Clicks beat views even where the view is later. A touch at or before the conversion counts, up to and including the
window's end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .models import Click, Event, View
from .validity import COUNTED


@dataclass(frozen=True, slots=True)
class Touch:
    """A click or a viewable impression that may have led to a conversion."""

    kind: str  # 'click' or 'view'
    decision_id: str
    occurred_at: datetime
    slot_id: int
    publisher_id: int
    advertiser_id: int
    campaign_id: int
    line_item_id: int
    creative_id: int
    currency: str
    source: str


def credited(
    touches: Iterable[Touch], *, converted_at: datetime, click_window: timedelta, view_window: timedelta
) -> Touch | None:
    """The touch that gets the credit, or None."""
    windows = {"click": click_window, "view": view_window}
    eligible = [
        touch for touch in touches if timedelta() <= converted_at - touch.occurred_at <= windows[touch.kind]
    ]
    return max(
        eligible,
        key=lambda touch: (touch.kind == "click", touch.occurred_at, touch.decision_id),
        default=None,
    )


def touches_of(
    visitor: str,
    *,
    advertiser_id: int,
    converted_at: datetime,
    click_window: timedelta,
    view_window: timedelta,
) -> list[Touch]:
    """The visitor's last click and last view of this advertiser's ads within the windows."""
    found = []
    for kind, model, window in (("click", Click, click_window), ("view", View, view_window)):
        rows = model.objects.filter(
            visitor=visitor,
            advertiser_id=advertiser_id,
            occurred_at__gte=converted_at - window,
            occurred_at__lte=converted_at,
            reason__in=COUNTED,
        )
        if (row := rows.order_by("-occurred_at", "-decision_id").first()) is not None:
            found.append(touch_of(kind, row))
    return found


def touch_of(kind: str, row: Event) -> Touch:
    return Touch(
        kind=kind,
        decision_id=row.decision_id.hex,
        occurred_at=row.occurred_at,
        slot_id=row.slot_id,
        publisher_id=row.publisher_id,
        advertiser_id=row.advertiser_id,
        campaign_id=row.campaign_id,
        line_item_id=row.line_item_id,
        creative_id=row.creative_id,
        currency=row.currency,
        source=row.source,
    )
