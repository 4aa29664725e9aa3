"""Why an event is not charged: one table of reasons, checked in order.

Every event is stored with its reason; nothing is dropped for being invalid. Reasons in `COUNTED` say only why it
costs nothing; the event still counts as an impression, view or click. All others keep it out of the statistics.
The ads role judges who asks (serving.agents), this judges a single event, and events.backfilter judges later what only
many events together show. Following the MRC, invalid traffic is general (lists and plain facts) or sophisticated.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

import numpy as np

from .columns import Events, Ints
from .records import TokenEvent

TOO_FAST = timedelta(milliseconds=200)  # from serving an ad to a person's click on it
AHEAD = timedelta(minutes=5)  # how far a server's clock may run ahead of another's


class Reason(StrEnum):
    """Why an event is not billable. '' stands for billable."""

    TEST = "test"  # asked for as a test
    IMPORTED = "imported"  # logged by another platform and taken over from a data set
    LATE = "late"  # its token had expired
    # general invalid traffic
    BOT = "bot"  # a declared crawler or automated browser
    NOT_A_BROWSER = "not_a_browser"  # a program, or nothing that names itself
    DATA_CENTRE = "data_centre"  # asked from a server or an anonymiser
    PREFETCH = "prefetch"  # asked by a browser in advance; becomes no event of its own
    DUPLICATE = "duplicate"  # once more for one that is stored; becomes no event of its own
    HIDDEN = "hidden"  # its place has no size, is not displayed, or lies where no scrolling reaches
    STACKED = "stacked"  # another ad lies over it
    # sophisticated invalid traffic
    FROM_THE_FUTURE = "from_the_future"  # it happened before it was served, beyond what clocks differ
    TOO_FAST = "too_fast"  # clicked sooner than a person can
    OWN = "own"  # asked by a member of its advertiser or publisher, or by an operator
    UNSEEN = "unseen"  # a click on an ad that never rendered, or before it did
    REPEATED = "repeated"  # one visitor clicks again and again
    ADDRESS_BURST = "address_burst"  # one address or network clicks much in a short time
    CLICK_RATE = "click_rate"  # clicks on most of what it is shown
    REGULAR = "regular"  # clicks like a clock
    NEWCOMERS = "newcomers"  # one of too many who are seen once, click, and had nothing in view
    # what costs nothing for other causes
    PAID_BY_CLICK = "paid_by_click"  # an impression of an ad that pays for clicks
    PAID_BY_IMPRESSION = "paid_by_impression"  # a click on an ad that pays for impressions
    FREE = "free"  # views cost nothing
    BUDGET_SPENT = "budget_spent"  # the day's or the flight's budget could not pay for it
    NO_MONEY = "no_money"  # the advertiser's prepaid money could not pay for it


COUNTED = frozenset(
    {"", Reason.PAID_BY_CLICK, Reason.PAID_BY_IMPRESSION, Reason.FREE, Reason.BUDGET_SPENT, Reason.NO_MONEY}
)
GENERAL = frozenset(
    {
        *(Reason.BOT, Reason.NOT_A_BROWSER, Reason.DATA_CENTRE, Reason.PREFETCH, Reason.DUPLICATE),
        *(Reason.HIDDEN, Reason.STACKED),
    }
)
SOPHISTICATED = frozenset(
    {
        *(Reason.FROM_THE_FUTURE, Reason.TOO_FAST, Reason.OWN, Reason.UNSEEN, Reason.REPEATED),
        *(Reason.ADDRESS_BURST, Reason.CLICK_RATE, Reason.REGULAR, Reason.NEWCOMERS),
    }
)
# What the ads role may say of who asks, and the tag of the place.
_ASKED_BY = {
    "import": Reason.IMPORTED,
    **{reason.value: reason for reason in (Reason.BOT, Reason.NOT_A_BROWSER, Reason.DATA_CENTRE, Reason.OWN)},
}
_PLACED = {"hidden": Reason.HIDDEN, "stacked": Reason.STACKED}


def of_source(event: TokenEvent) -> Reason | None:
    if event.served.source == "test":
        return Reason.TEST
    return Reason.IMPORTED if event.agent == "import" else None


def of_expiry(event: TokenEvent) -> Reason | None:
    return Reason.LATE if event.occurred_at > event.served.expires_at else None


def of_asker(event: TokenEvent) -> Reason | None:
    return _ASKED_BY.get(event.agent) if event.agent else None


def of_place(event: TokenEvent) -> Reason | None:
    return _PLACED.get(event.seen) if event.seen else None


def of_timing(event: TokenEvent) -> Reason | None:
    after = event.occurred_at - event.served.served_at
    if after < -AHEAD:
        return Reason.FROM_THE_FUTURE
    return Reason.TOO_FAST if event.kind == "click" and after < TOO_FAST else None


def of_price(event: TokenEvent) -> Reason | None:
    """What is valid and still costs nothing."""
    if event.kind == "view":
        return Reason.FREE
    if event.kind == "impression":
        return Reason.PAID_BY_CLICK if event.served.price_kind == "cpc" else None
    return Reason.PAID_BY_IMPRESSION if event.served.price_kind == "cpm" else None


RULES: tuple[Callable[[TokenEvent], Reason | None], ...] = (
    of_source,
    of_expiry,
    of_asker,
    of_place,
    of_timing,
    of_price,
)


def reason_not_billable(event: TokenEvent) -> Reason | None:
    """The first reason that keeps this event from being charged, before any money is looked at."""
    for rule in RULES:
        if (reason := rule(event)) is not None:
            return reason
    return None


# A reason as a number in a column: its place here.
NAMES: tuple[str, ...] = ("", *(reason.value for reason in Reason))
CODES = {name: code for code, name in enumerate(NAMES)}


def reasons_not_billable(events: Events) -> Ints:
    """What `reason_not_billable` says of each, as places in NAMES.

    Beside words and these times rules look at nothing. So where no time speaks against an event, its words decide, and
    one event of each combination is asked for all; the others are asked one by one.
    """
    after, is_click = (
        events.occurred_at - events.served_at,
        events.by_words((words.kind == "click" for words in events.words), bool),
    )
    odd = (
        (events.occurred_at > events.expires_at)
        | (after < -_micros(AHEAD))
        | is_click & (after < _micros(TOO_FAST))
    )
    codes = np.zeros(len(events), np.int64)
    usual = np.flatnonzero(~odd)
    words, first = np.unique(events.word_of[usual], return_index=True)
    by_words = np.zeros(len(events.words), np.int64)
    by_words[words] = [_code(events.given[int(usual[place])]) for place in first]
    codes[usual] = by_words[events.word_of[usual]]
    for place in np.flatnonzero(odd).tolist():
        codes[place] = _code(events.given[place])
    return codes


def _code(event: TokenEvent) -> int:
    return CODES[reason_not_billable(event) or ""]


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
