"""Quality of traffic for the operator: which events were billed, and why the others were not; no-ad reasons in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db.models import Count
from django.utils.translation import gettext_lazy

from adplatform.decision.reasons import REASONS, NoAd
from adplatform.events.models import Click, Event, Impression
from adplatform.events.validity import Reason
from adplatform.insights.metrics import Range


@dataclass(frozen=True, slots=True)
class Validity:
    """Events of one kind: how many were billed, and the others by reason."""

    billable: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def events(self) -> int:
        return self.billable + sum(self.reasons.values())

    @property
    def share(self) -> float | None:
        return self.billable / self.events if self.events else None

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
    rows = model._default_manager.filter(
        served_at__gte=range.start_at, served_at__lt=range.end_at, currency=currency
    )
    billable = 0
    reasons: dict[str, int] = {}
    for is_billable, reason, n in (
        rows.order_by().values_list("is_billable", "reason").annotate(n=Count("decision_id"))
    ):
        if is_billable:
            billable += n
        else:
            reasons[reason] = reasons.get(reason, 0) + n
    return Validity(billable, reasons)


UNBILLED = {
    Reason.TEST: gettext_lazy("Asked for as a test"),
    Reason.IMPORTED: gettext_lazy("Taken over from a data set"),
    Reason.LATE: gettext_lazy("Its token had expired"),
    Reason.BOT: gettext_lazy("A declared crawler or automated browser"),
    Reason.FROM_THE_FUTURE: gettext_lazy("It happened before its ad was served"),
    Reason.TOO_FAST: gettext_lazy("Clicked sooner than a person can"),
    Reason.PAID_BY_CLICK: gettext_lazy("The ad pays for clicks, not impressions"),
    Reason.PAID_BY_IMPRESSION: gettext_lazy("The ad pays for impressions, not clicks"),
    Reason.FREE: gettext_lazy("Views cost nothing"),
    Reason.BUDGET_SPENT: gettext_lazy("The budget could not pay for it"),
    Reason.NO_MONEY: gettext_lazy("The prepaid money could not pay for it"),
}


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
