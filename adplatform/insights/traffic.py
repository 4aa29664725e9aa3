"""Quality of traffic for the operator: which events were billed, and why the others were not; no-ad reasons in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Count, Sum
from django.utils.translation import gettext_lazy

from adplatform.decision.reasons import REASONS, NoAd
from adplatform.events.models import Click, Event, Impression, RefusedStat
from adplatform.events.validity import COUNTED, GENERAL, SOPHISTICATED, Reason
from adplatform.insights.metrics import Range


@dataclass(frozen=True, slots=True)
class Validity:
    """Events of one kind as they stand now: how many are billed, and the others by reason. `later` counts, by reason,
    those among them that were counted first and found invalid afterwards; `returned` is what these had cost, in micros."""

    billable: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    later: dict[str, int] = field(default_factory=dict)
    returned: dict[str, int] = field(default_factory=dict)

    @property
    def returned_micros(self) -> int:
        return sum(self.returned.values())

    @property
    def events(self) -> int:
        return self.billable + sum(self.reasons.values())

    @property
    def share(self) -> float | None:
        return self.billable / self.events if self.events else None

    def funnel(self) -> list[tuple[str, int]]:
        """(stage, events that are left at it): all that were asked for, less general, then less sophisticated invalid
        traffic, less tests and what came late, and what is billed of the rest."""
        general = sum(n for reason, n in self.reasons.items() if reason in GENERAL)
        sophisticated = sum(n for reason, n in self.reasons.items() if reason in SOPHISTICATED)
        valid = self.billable + sum(n for reason, n in self.reasons.items() if reason in COUNTED)
        asked = self.events
        return [
            ("asked", asked),
            ("general", asked - general),
            ("sophisticated", asked - general - sophisticated),
            ("valid", valid),
            ("billed", self.billable),
        ]

    def parts(self) -> list[tuple[str, int, float]]:
        """(reason, events, share), most frequent first, the billed ones under ""."""
        counted = {"": self.billable, **self.reasons}
        total = self.events
        return [
            (reason, n, n / total) for reason, n in sorted(counted.items(), key=lambda pair: -pair[1]) if n
        ]


def impressions_by_validity(range: Range, *, currency: str) -> Validity:
    return _by_validity(Impression, range, currency)


def clicks_by_validity(range: Range, *, currency: str) -> Validity:
    return _by_validity(Click, range, currency)


def _by_validity(model: type[Event], range: Range, currency: str) -> Validity:
    """Counted from the facts themselves: statistics keep no reasons."""
    served = {"served_at__gte": range.start_at, "served_at__lt": range.end_at, "currency": currency}
    kind = model.__name__.lower()
    counted = model._default_manager.filter(**served).order_by().values_list("is_billable", "reason")
    billable = 0
    reasons: Counter[str] = Counter()
    for is_billable, reason, n in counted.annotate(n=Count("decision_id")):
        billable += n if is_billable else 0
        reasons[reason] += 0 if is_billable else n
    later, returned = Counter[str](), Counter[str]()
    for reason, first, n, micros in _found_later(kind, served):
        later[reason] += n
        reasons[reason] += n
        returned[reason] += micros
        billable -= n if first is None else 0
        reasons[first or ""] -= 0 if first is None else n
    reasons.update(_refused(kind, range))
    return Validity(
        billable, {reason: n for reason, n in reasons.items() if reason and n}, dict(later), dict(returned)
    )


def _found_later(kind: str, served: dict[str, Any]) -> list[tuple[str, str | None, int, int]]:
    """(reason, reason before or None where it was billed, events, micros given back)."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT x.reason, CASE WHEN e.is_billable THEN NULL ELSE e.reason END, count(*), sum(x.charge_micros)::bigint "  # noqa: S608
            f"FROM events_invalidation x JOIN events_{kind} e USING (decision_id) WHERE x.kind = '{kind}' "
            "AND x.served_at >= %(served_at__gte)s AND x.served_at < %(served_at__lt)s AND x.currency = %(currency)s GROUP BY 1, 2",
            served,
        )
        return list(cursor.fetchall())


def _refused(kind: str, range: Range) -> dict[str, int]:
    """Requests that became no event of their own; they know no currency."""
    rows = RefusedStat.objects.filter(kind=kind, hour__gte=range.start_at, hour__lt=range.end_at)
    return dict(rows.order_by().values_list("reason").annotate(n=Sum("events")))


UNBILLED = {
    Reason.TEST: gettext_lazy("Asked for as a test"),
    Reason.IMPORTED: gettext_lazy("Taken over from a data set"),
    Reason.LATE: gettext_lazy("Its token had expired"),
    Reason.BOT: gettext_lazy("A declared crawler or automated browser"),
    Reason.FROM_THE_FUTURE: gettext_lazy("It happened before its ad was served"),
    Reason.TOO_FAST: gettext_lazy("Clicked sooner than a person can"),
    Reason.NOT_A_BROWSER: gettext_lazy("Asked by a program that is no browser"),
    Reason.DATA_CENTRE: gettext_lazy("Asked from a data centre or an anonymiser"),
    Reason.PREFETCH: gettext_lazy("Fetched by a browser in advance"),
    Reason.DUPLICATE: gettext_lazy("Reported again"),
    Reason.HIDDEN: gettext_lazy("In a place that nobody can see"),
    Reason.STACKED: gettext_lazy("Below another ad"),
    Reason.OWN: gettext_lazy("By the advertiser, the publisher or an operator"),
    Reason.UNSEEN: gettext_lazy("A click on an ad that did not render, or not yet"),
    Reason.REPEATED: gettext_lazy("The same visitor again and again"),
    Reason.ADDRESS_BURST: gettext_lazy("Many clicks from one address or network"),
    Reason.CLICK_RATE: gettext_lazy("Clicks on most of what it is shown"),
    Reason.REGULAR: gettext_lazy("Clicks like a clock"),
    Reason.NEWCOMERS: gettext_lazy("One of too many who came once and clicked unseen"),
    Reason.PAID_BY_CLICK: gettext_lazy("The ad pays for clicks, not impressions"),
    Reason.PAID_BY_IMPRESSION: gettext_lazy("The ad pays for impressions, not clicks"),
    Reason.FREE: gettext_lazy("Views cost nothing"),
    Reason.BUDGET_SPENT: gettext_lazy("The budget could not pay for it"),
    Reason.NO_MONEY: gettext_lazy("The prepaid money could not pay for it"),
}


STAGES = {
    "asked": gettext_lazy("Asked for"),
    "general": gettext_lazy("without general invalid traffic"),
    "sophisticated": gettext_lazy("without sophisticated invalid traffic"),
    "valid": gettext_lazy("without tests, imports and what came late"),
    "billed": gettext_lazy("billed"),
}


def stage_words(stage: str) -> str:
    """A stage of `Validity.funnel`, in words."""
    return str(STAGES[stage])


def unbilled_words(reason: str) -> str:
    """Why an event costs nothing, as a sentence; an unknown reason is shown as it is stored."""
    try:
        return str(UNBILLED[Reason(reason)])
    except (KeyError, ValueError):
        return reason.replace("_", " ").capitalize()


def no_ad_words(reason: str) -> str:
    """A reason as a sentence; a reason that this version does not know is shown as it is stored."""
    try:
        return REASONS[NoAd(reason)]
    except (KeyError, ValueError):
        return reason.replace("_", " ").capitalize()
