"""How long conversions take to come, so that a click of an hour ago is not read as one that did not convert."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Sum

from adplatform.events.models import Click, Conversion, HourlyStat
from ml.value.delay import fit_delayed_rate

MOST_CONVERSIONS = 20_000  # the newest say enough of the delay
HALF_AN_HOUR = timedelta(minutes=30)  # clicks are counted by the hour: its middle stands for all


def mean_delay(*, since: datetime, until: datetime, sources: tuple[str, ...]) -> timedelta | None:
    """Mean time from a click to its conversion over the clicks between these moments; None where too few conversions
    came to say. Conversions still to come are expected by the exponential model of Chapelle 2014."""
    delays = _delays(since, until, sources)
    hours = HourlyStat.objects.filter(hour__gte=since, hour__lt=until, source__in=sources, clicks__gt=0)
    rows = hours.values_list("hour").annotate(clicks=Sum("clicks"), conversions=Sum("conversions"))
    waited = [
        (_seconds(until - hour - HALF_AN_HOUR), clicks - conversions) for hour, clicks, conversions in rows
    ]
    elapsed = np.array([seconds for seconds, _ in waited], np.float64)
    waiting = np.array([max(0, clicks) for _, clicks in waited], np.float64)
    fitted = fit_delayed_rate(
        np.concatenate([delays, np.full(len(elapsed), np.nan)]),
        np.concatenate([delays, elapsed]),
        np.concatenate([np.ones(len(delays)), waiting]),
    )
    return None if math.isnan(fitted.delay_seconds) else timedelta(seconds=fitted.delay_seconds)


def _delays(since: datetime, until: datetime, sources: tuple[str, ...]) -> np.ndarray:
    """Seconds from the click to the first conversion of each decision that led to one."""
    credited = Conversion.objects.filter(
        attribution=Conversion.Attribution.CLICK,
        occurred_at__gte=since,
        occurred_at__lt=until,
        source__in=sources,
        decision_id__isnull=False,
    )
    came: dict[object, datetime] = {}
    for decision, at in credited.order_by("-occurred_at").values_list("decision_id", "occurred_at")[
        :MOST_CONVERSIONS
    ]:
        came[decision] = at
    clicks = Click.objects.filter(decision_id__in=list(came)).values_list("decision_id", "occurred_at")
    return np.array([_seconds(came[decision] - at) for decision, at in clicks], np.float64)


def _seconds(span: timedelta) -> float:
    return max(1.0, span.total_seconds())
