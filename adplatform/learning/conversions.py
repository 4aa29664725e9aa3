"""Clicks and what came of them: how long conversions take, how often a click converts, what a conversion is worth.

A conversion belongs to the ad that has its credit by the last click, as the facts are now: late clicks, what was taken back
or found invalid included.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import QuerySet, Sum

from adplatform.events.credits import LAST_CLICK
from adplatform.events.models import Click, Credit, HourlyStat
from adplatform.events.validity import COUNTED
from ml.ctr.features import device_code
from ml.schema import Floats, ImpressionLog
from ml.value.amounts import AmountModel, fit_amounts
from ml.value.conversion import Clicks, everybodys, smoothed
from ml.value.delay import fit_delayed_rate

__all__ = ["AmountModel", "clicks", "everybodys", "mean_delay", "smoothed", "values"]

MOST_CONVERSIONS = 20_000  # the newest say enough of the delay
MOST_CLICKS = 200_000
LOOKBACK = timedelta(days=30)
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


CLICKS = """
    SELECT extract(epoch FROM c.occurred_at)::float8, extract(epoch FROM min(v.occurred_at))::float8,
           c.advertiser_id, c.campaign_id, c.line_item_id, c.creative_id, c.slot_id, s.site_id,
           coalesce(d.device, ''), coalesce(nullif(d.visitor, ''), c.decision_id::text)
    FROM events_click AS c
    JOIN inventory_adslot AS s ON s.id = c.slot_id
    LEFT JOIN events_addecision AS d ON d.decision_id = c.decision_id
    LEFT JOIN (
        SELECT k.decision_id, v.occurred_at FROM events_credit AS k JOIN events_conversion AS v ON v.id = k.conversion_id
        WHERE k.model = %(model)s AND k.touch = 'click'
    ) AS v ON v.decision_id = c.decision_id AND v.occurred_at >= c.occurred_at AND v.occurred_at < %(until)s
    WHERE c.occurred_at >= %(since)s AND c.occurred_at < %(until)s AND c.reason = ANY(%(counted)s)
    GROUP BY c.decision_id, s.site_id, d.device, d.visitor
    ORDER BY c.occurred_at DESC, c.decision_id
    LIMIT %(most)s
"""


def clicks(log: ImpressionLog, text: Floats, *, until: datetime) -> Clicks:
    """The counted clicks of the last 30 days with their conversions so far; `text` are scores of the log's rows."""
    with connection.cursor() as cursor:
        asked: dict[str, Any] = {
            "since": until - LOOKBACK,
            "until": until,
            "counted": list(COUNTED),
            "most": MOST_CLICKS,
            "model": LAST_CLICK,
        }
        cursor.execute(CLICKS, asked)
        rows = cursor.fetchall()[::-1]
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0)] * 10
    time, converted_at = (column.astype(np.float64) for column in columns[:2])
    advertiser, campaign, line_item, creative, slot, site = (
        column.astype(np.int64) for column in columns[2:8]
    )
    scored = np.flatnonzero(~np.isnan(log.click_time))
    known = zip(
        log.click_time[scored].tolist(), log.creative[scored].tolist(), log.slot[scored].tolist(), strict=True
    )
    score = dict(zip(known, text[scored].tolist(), strict=True))
    keys = zip(time.tolist(), creative.tolist(), slot.tolist(), strict=True)
    return Clicks(
        time=time,
        converted_at=converted_at,
        advertiser=advertiser,
        campaign=campaign,
        line_item=line_item,
        site=site,
        device=np.array([device_code(name) for name in columns[8].tolist()], np.float64),
        text=np.array([score.get(key, np.nan) for key in keys], np.float64),
        cluster=columns[9].astype(str),
        until=until.timestamp(),
    )


def values(*, since: datetime, until: datetime, sources: tuple[str, ...]) -> AmountModel:
    """What a conversion is worth in micros, by (advertiser, campaign, line item)."""
    rows = _credits(since, until, sources).order_by("-conversion__occurred_at", "-conversion")
    names = ("advertiser_id", "campaign_id", "line_item_id", "value_micros")
    found = list(rows.values_list(*names)[:MOST_CONVERSIONS])
    return fit_amounts(np.array([row[3] for row in found], np.float64), [row[:3] for row in found])


def _delays(since: datetime, until: datetime, sources: tuple[str, ...]) -> np.ndarray:
    """Seconds from the click to the first conversion of each decision that led to one."""
    rows = _credits(since, until, sources).filter(touch="click").order_by("-conversion__occurred_at")
    newest = rows.values_list("decision_id", "conversion__occurred_at")[:MOST_CONVERSIONS]
    came: dict[object, datetime] = dict(newest)  # of a decision the first, which comes last
    clicks = Click.objects.filter(decision_id__in=list(came)).values_list("decision_id", "occurred_at")
    return np.array([_seconds(came[decision] - at) for decision, at in clicks], np.float64)


def _credits(since: datetime, until: datetime, sources: tuple[str, ...]) -> QuerySet[Credit]:
    return Credit.objects.filter(
        model=LAST_CLICK,
        conversion__occurred_at__gte=since,
        conversion__occurred_at__lt=until,
        source__in=sources,
    )


def _seconds(span: timedelta) -> float:
    return max(1.0, span.total_seconds())
