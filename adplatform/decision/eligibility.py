"""Who may answer a request: the rules, one candidate at a time, in words.

`rejection` is the definition, read from top to bottom; `bitmaps` answers the same for thousands at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from . import targeting
from .types import (
    AdRequest,
    Candidate,
    NoAd,
    Seen,
    Slot,
    Taken,
)

Refuses = Callable[[AdRequest, Slot, Candidate, Seen, Taken], bool]
Verdict = tuple[NoAd, int]

_START = datetime.min.replace(tzinfo=UTC)
_END = datetime.max.replace(tzinfo=UTC)

# ------------------------------------------------------------------------------- one candidate at a time


def fitting(format: str, width: int, height: int) -> tuple[object, ...]:
    """What must be equal for a creative to fit a slot: native ads adapt, banners have a size."""
    return (format,) if format == "native" else (format, width, height)


def wrong_format(_: AdRequest, slot: Slot, candidate: Candidate, __: Seen, ___: Taken) -> bool:
    return fitting(slot.format, slot.width, slot.height) != fitting(
        candidate.format, candidate.width, candidate.height
    )


def other_currency(_: AdRequest, slot: Slot, candidate: Candidate, __: Seen, ___: Taken) -> bool:
    return slot.currency != candidate.currency


def not_approved(_: AdRequest, __: Slot, candidate: Candidate, ___: Seen, ____: Taken) -> bool:
    return not candidate.is_approved


def paused(_: AdRequest, __: Slot, candidate: Candidate, ___: Seen, ____: Taken) -> bool:
    return not candidate.is_running


def outside_flight(request: AdRequest, _: Slot, candidate: Candidate, __: Seen, ___: Taken) -> bool:
    return not (candidate.start_at or _START) <= request.at < (candidate.end_at or _END)


def attributes_of(candidate: Candidate) -> frozenset[str]:
    """What publishers may block an ad by: what was said of it, and its format, size and language."""
    return _attributes(
        candidate.attributes, candidate.format, candidate.width, candidate.height, candidate.language
    )


@lru_cache(maxsize=4_096)  # few ads differ in these
def _attributes(said: frozenset[str], format: str, width: int, height: int, language: str) -> frozenset[str]:
    return said | {f"format:{format}", f"size:{width}x{height}", f"language:{language}"}


def blocked(_: AdRequest, slot: Slot, candidate: Candidate, __: Seen, ___: Taken) -> bool:
    return (
        candidate.advertiser_id in slot.blocked_advertisers
        or candidate.category in slot.blocked_categories
        or candidate.landing_domain in slot.blocked_domains
        or not slot.blocked_attributes.isdisjoint(attributes_of(candidate))
    )


def mistargeted(reason: NoAd) -> Refuses:
    """The part of targeting that gives one reason."""

    def refuses(request: AdRequest, slot: Slot, candidate: Candidate, _: Seen, __: Taken) -> bool:
        return reason in targeting.broken(candidate.targeting, request, slot, time_zone=candidate.time_zone)

    return refuses


def visitor_hid(_: AdRequest, __: Slot, candidate: Candidate, seen: Seen, ___: Taken) -> bool:
    return (
        candidate.line_item_id in seen.hidden_line_items or candidate.advertiser_id in seen.hidden_advertisers
    )


def capped(_: AdRequest, __: Slot, candidate: Candidate, seen: Seen, taken: Taken) -> bool:
    """Seen before and standing in this answer both count."""
    for cap in candidate.caps:
        id = candidate.id_in(cap.scope)
        if seen.count(cap.scope, id, cap.window_seconds) + taken.count(cap.scope, id) >= cap.limit:
            return True
    return False


def already_shown(_: AdRequest, __: Slot, candidate: Candidate, ___: Seen, taken: Taken) -> bool:
    return taken.count("creative", candidate.creative_id) > 0


def advertiser_limit(_: AdRequest, slot: Slot, candidate: Candidate, __: Seen, taken: Taken) -> bool:
    return taken.count("advertiser", candidate.advertiser_id) >= slot.per_advertiser


def competing(_: AdRequest, slot: Slot, candidate: Candidate, __: Seen, taken: Taken) -> bool:
    """Of one category, where the site keeps categories apart, or named as competitors by the publisher."""
    category = candidate.category if slot.separates_categories else ""
    return any(
        (bool(category) and other.category == category and other.advertiser_id != candidate.advertiser_id)
        or (other.advertiser_id, candidate.advertiser_id) in slot.rivals
        for other in taken.candidates
    )


def budget_spent(_: AdRequest, __: Slot, candidate: Candidate, ___: Seen, ____: Taken) -> bool:
    return candidate.remaining_micros <= 0


_TARGETING_REASONS = dict.fromkeys(
    reason for dimension in targeting.DIMENSIONS for reason in (dimension.excluded, dimension.missing)
)

RULES: tuple[tuple[NoAd, Refuses], ...] = (
    (NoAd.WRONG_FORMAT, wrong_format),
    (NoAd.CURRENCY, other_currency),
    (NoAd.NOT_APPROVED, not_approved),
    (NoAd.PAUSED, paused),
    (NoAd.OUTSIDE_FLIGHT, outside_flight),
    (NoAd.BLOCKED_BY_PUBLISHER, blocked),
    *((reason, mistargeted(reason)) for reason in _TARGETING_REASONS),
    (NoAd.OUTSIDE_DAYPART, mistargeted(NoAd.OUTSIDE_DAYPART)),
    (NoAd.VISITOR_HID, visitor_hid),
    (NoAd.FREQUENCY_CAP, capped),
    (NoAd.CREATIVE_ALREADY_SHOWN, already_shown),
    (NoAd.ADVERTISER_LIMIT, advertiser_limit),
    (NoAd.COMPETING_ADVERTISER, competing),
    (NoAd.BUDGET_SPENT, budget_spent),
)


def rejection(
    request: AdRequest,
    slot: Slot,
    candidate: Candidate,
    seen: Seen,
    taken: Taken,
    *,
    rules: Sequence[tuple[NoAd, Refuses]] = RULES,
) -> NoAd | None:
    """The first rule that refuses the candidate, or None where it may bid."""
    for reason, refuses in rules:
        if refuses(request, slot, candidate, seen, taken):
            return reason
    return None
