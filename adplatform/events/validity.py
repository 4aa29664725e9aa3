"""Why an event is not charged: one table of reasons, checked in order.

Every event is stored with its reason; nothing is dropped for being invalid. Reasons in `COUNTED` say only why it
costs nothing; the event still counts as an impression, view or click. All others keep it out of the statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

from .records import TokenEvent

TOO_FAST = timedelta(milliseconds=200)  # from serving an ad to a person's click on it
AHEAD = timedelta(minutes=5)  # how far a server's clock may run ahead of another's


class Reason(StrEnum):
    """Why an event is not billable. '' stands for billable."""

    TEST = "test"  # asked for as a test
    IMPORTED = "imported"  # logged by another platform and taken over from a data set
    LATE = "late"  # its token had expired
    BOT = "bot"  # a declared crawler or automated browser
    FROM_THE_FUTURE = "from_the_future"  # it happened before it was served, beyond what clocks differ
    TOO_FAST = "too_fast"  # clicked sooner than a person can
    PAID_BY_CLICK = "paid_by_click"  # an impression of an ad that pays for clicks
    PAID_BY_IMPRESSION = "paid_by_impression"  # a click on an ad that pays for impressions
    FREE = "free"  # views cost nothing
    BUDGET_SPENT = "budget_spent"  # the day's or the flight's budget could not pay for it
    NO_MONEY = "no_money"  # the advertiser's prepaid money could not pay for it


COUNTED = frozenset(
    {"", Reason.PAID_BY_CLICK, Reason.PAID_BY_IMPRESSION, Reason.FREE, Reason.BUDGET_SPENT, Reason.NO_MONEY}
)


def is_test(event: TokenEvent) -> bool:
    return event.served.source == "test"


def is_imported(event: TokenEvent) -> bool:
    return event.agent == "import"


def is_late(event: TokenEvent) -> bool:
    return event.occurred_at > event.served.expires_at


def is_bot(event: TokenEvent) -> bool:
    return event.agent == "bot"


def is_from_the_future(event: TokenEvent) -> bool:
    return event.occurred_at < event.served.served_at - AHEAD


def is_too_fast(event: TokenEvent) -> bool:
    return event.kind == "click" and event.occurred_at < event.served.served_at + TOO_FAST


def is_paid_by_click(event: TokenEvent) -> bool:
    return event.kind == "impression" and event.served.price_kind == "cpc"


def is_paid_by_impression(event: TokenEvent) -> bool:
    return event.kind == "click" and event.served.price_kind == "cpm"


def is_free(event: TokenEvent) -> bool:
    return event.kind == "view"


RULES: tuple[tuple[Reason, Callable[[TokenEvent], bool]], ...] = (
    (Reason.TEST, is_test),
    (Reason.IMPORTED, is_imported),
    (Reason.LATE, is_late),
    (Reason.BOT, is_bot),
    (Reason.FROM_THE_FUTURE, is_from_the_future),
    (Reason.TOO_FAST, is_too_fast),
    (Reason.PAID_BY_CLICK, is_paid_by_click),
    (Reason.PAID_BY_IMPRESSION, is_paid_by_impression),
    (Reason.FREE, is_free),
)


def reason_not_billable(event: TokenEvent) -> Reason | None:
    """The first reason that keeps this event from being charged, before any money is looked at."""
    return next((reason for reason, holds in RULES if holds(event)), None)
