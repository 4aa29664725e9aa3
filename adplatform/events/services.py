"""Recording conversions: once per the advertiser's own event id, each with its result, attributed and counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.db import transaction

from adplatform.accounts.models import Organisation

from . import bulk
from .attribution import Touch, credited, touch_of, touches_of
from .models import Click, Conversion, ConversionAction
from .records import Served
from .statistics import Sums, hour_of
from .validity import COUNTED

AHEAD = timedelta(minutes=5)  # how far an advertiser's clock may run ahead of ours
LONGEST_ID = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A conversion as an advertiser reports it. `click` is the proven content of its click id; `visitor` a keyed
    pseudonym; without `value_micros` the action's default value counts."""

    event_id: str
    action: str
    occurred_at: datetime
    value_micros: int | None = None
    currency: str = ""
    click: Served | None = None
    visitor: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one report. `reason` says why it was rejected; `attribution` is click, view or none."""

    event_id: str
    status: Literal["recorded", "duplicate", "rejected"]
    reason: str = ""
    attribution: str = ""


def record_conversions(
    *, advertiser: Organisation, reports: Sequence[Report], at: datetime, source: str = "live"
) -> list[Result]:
    """Store what is new and valid; a result per report, in order. Reporting again changes nothing."""
    actions = {action.name: action for action in ConversionAction.objects.filter(organisation=advertiser)}
    results: list[Result] = []
    with transaction.atomic():
        bulk.lock_advertisers([advertiser.pk])
        known = _known(actions, reports)
        sums = Sums()
        for report in reports:
            if reason := _rejection(report, actions, advertiser, at):
                results.append(Result(report.event_id, "rejected", reason))
                continue
            key = (actions[report.action].pk, report.event_id)
            if key in known:
                results.append(Result(report.event_id, "duplicate"))
                continue
            known.add(key)
            stored = _record(report, actions[report.action], advertiser, sums, at=at, source=source)
            results.append(Result(report.event_id, "recorded", attribution=stored.attribution))
        sums.write()
    return results


def _known(actions: dict[str, ConversionAction], reports: Sequence[Report]) -> set[tuple[int, str]]:
    rows = Conversion.objects.filter(
        action__in=[action.pk for action in actions.values()],
        event_id__in=[report.event_id for report in reports],
    )
    return set(rows.values_list("action_id", "event_id"))


def _rejection(
    report: Report, actions: dict[str, ConversionAction], advertiser: Organisation, at: datetime
) -> str:
    """Why a report cannot be stored, or ''."""
    value, click = report.value_micros, report.click
    rules = (
        ("invalid_event_id", not 0 < len(report.event_id) <= LONGEST_ID),
        ("unknown_action", report.action not in actions),
        ("wrong_currency", report.currency not in {"", advertiser.currency}),
        ("invalid_value", value is not None and not 0 <= value < 2**62),
        ("in_the_future", report.occurred_at > at + AHEAD),
        ("foreign_click", click is not None and click.advertiser_id != advertiser.pk),
    )
    return next((reason for reason, holds in rules if holds), "")


def _record(
    report: Report,
    action: ConversionAction,
    advertiser: Organisation,
    sums: Sums,
    *,
    at: datetime,
    source: str,
) -> Conversion:
    touch = _credited(report, action, advertiser)
    value = action.default_value_micros if report.value_micros is None else report.value_micros
    conversion = Conversion.objects.create(
        action=action,
        event_id=report.event_id,
        occurred_at=report.occurred_at,
        received_at=at,
        value_micros=value,
        currency=advertiser.currency,
        visitor=report.visitor,
        attribution=touch.kind if touch else Conversion.Attribution.NONE,
        source=touch.source if touch else source,
        **({name: getattr(touch, name) for name in _CREDIT} if touch else {}),
    )
    if touch is not None:
        hour = hour_of(report.occurred_at)
        sums.add(hour, touch, touch.source, conversions=1, revenue_micros=value)
    return conversion


_CREDIT = ("decision_id", "campaign_id", "line_item_id", "creative_id", "slot_id", "publisher_id")


def _credited(report: Report, action: ConversionAction, advertiser: Organisation) -> Touch | None:
    windows = {
        "click_window": timedelta(days=action.click_window_days),
        "view_window": timedelta(days=action.view_window_days),
    }
    touches: list[Touch] = []
    if report.click is not None:
        touches += _proven(report.click)
    if report.visitor:
        touches += touches_of(
            report.visitor, advertiser_id=advertiser.pk, converted_at=report.occurred_at, **windows
        )
    return credited(touches, converted_at=report.occurred_at, **windows)


def _proven(served: Served) -> list[Touch]:
    """The click of a signed click id. One that ingest has not stored yet counts from when its ad was served."""
    row = Click.objects.filter(decision_id=served.decision_id.hex()).first()
    if row is not None:
        return [touch_of("click", row)] if row.reason in COUNTED else []
    if served.source == "test":
        return []
    touch = Touch(
        kind="click",
        decision_id=served.decision_id.hex(),
        occurred_at=served.served_at,
        slot_id=served.slot_id,
        publisher_id=served.publisher_id,
        advertiser_id=served.advertiser_id,
        campaign_id=served.campaign_id,
        line_item_id=served.line_item_id,
        creative_id=served.creative_id,
        currency=served.currency,
        source=served.source,
    )
    return [touch]
