"""Recording conversions and what becomes of them: once per the advertiser's own ids, each with its result, credited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from django.db import transaction

from adplatform.accounts.models import Organisation

from . import bulk, credits, forgotten
from .attribution import Touch, credited, touch_of, touches_of
from .models import Adjustment, Click, Conversion, ConversionAction
from .records import Served
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
    *,
    advertiser: Organisation,
    reports: Sequence[Report],
    at: datetime,
    source: str = "live",
    dry_run: bool = False,
) -> list[Result]:
    """Store what is new and valid; a result per report, in order. Reporting again changes nothing, nor does a dry run."""
    actions = {action.name: action for action in ConversionAction.objects.filter(organisation=advertiser)}
    results: list[Result] = []
    with transaction.atomic():
        reports = _without_erased(reports)
        bulk.lock_advertisers([advertiser.pk])
        known = _known(actions, reports)
        stored: list[int] = []
        for report in reports:
            if reason := _rejection(report, actions, advertiser, at):
                results.append(Result(report.event_id, "rejected", reason))
                continue
            key = (actions[report.action].pk, report.event_id)
            if key in known:
                results.append(Result(report.event_id, "duplicate"))
                continue
            known.add(key)
            conversion = _record(report, actions[report.action], advertiser, at=at, source=source)
            stored.append(conversion.pk)
            results.append(Result(report.event_id, "recorded", attribution=conversion.attribution))
        if stored:
            credits.rebuild(advertiser.pk, stored)
        if dry_run:
            transaction.set_rollback(True)
    return results


def _without_erased(reports: Sequence[Report]) -> Sequence[Report]:
    """Visitors who were forgotten since their conversion are left out of it; what it is worth still counts."""
    of_erased = forgotten.gone(
        (report.occurred_at for report in reports), lambda place: reports[place].visitor
    )
    return [
        replace(report, visitor="") if place in of_erased else report for place, report in enumerate(reports)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of a conversion: `value_micros` is what it is worth now, None where it is taken back."""

    event_id: str
    action: str
    adjustment_id: str
    occurred_at: datetime
    value_micros: int | None = None


def adjust_conversions(
    *, advertiser: Organisation, changes: Sequence[Change], at: datetime, dry_run: bool = False
) -> list[Result]:
    """Store what is new and valid, each as a fact of its own; the latest of a conversion holds, also where it came before
    its conversion."""
    actions = {action.name: action for action in ConversionAction.objects.filter(organisation=advertiser)}
    results: list[Result] = []
    with transaction.atomic():
        bulk.lock_advertisers([advertiser.pk])
        touched: list[tuple[int, str]] = []
        for change in changes:
            if reason := _rejected_change(change, actions, at):
                results.append(Result(change.event_id, "rejected", reason))
                continue
            action = actions[change.action]
            is_new = _store_change(change, action, at)
            results.append(Result(change.event_id, "recorded" if is_new else "duplicate"))
            touched += [(action.pk, change.event_id)] if is_new else []
        rows = Conversion.objects.filter(
            action__in={pk for pk, _ in touched}, event_id__in={name for _, name in touched}
        )
        credits.rebuild(advertiser.pk, list(rows.values_list("pk", flat=True)))
        if dry_run:
            transaction.set_rollback(True)
    return results


def _rejected_change(change: Change, actions: dict[str, ConversionAction], at: datetime) -> str:
    value = change.value_micros
    rules = (
        ("invalid_event_id", not 0 < len(change.event_id) <= LONGEST_ID),
        ("invalid_adjustment_id", not 0 < len(change.adjustment_id) <= LONGEST_ID),
        ("unknown_action", change.action not in actions),
        ("invalid_value", value is not None and not 0 <= value < 2**62),
        ("in_the_future", change.occurred_at > at + AHEAD),
    )
    return next((reason for reason, holds in rules if holds), "")


def _store_change(change: Change, action: ConversionAction, at: datetime) -> bool:
    kind = Adjustment.Kind.RETRACTION if change.value_micros is None else Adjustment.Kind.RESTATEMENT
    _row, is_new = Adjustment.objects.get_or_create(
        action=action,
        event_id=change.event_id,
        adjustment_id=change.adjustment_id,
        defaults={
            "kind": kind,
            "value_micros": worth(action, change.value_micros) if change.value_micros is not None else 0,
            "occurred_at": change.occurred_at,
            "received_at": at,
        },
    )
    return is_new


def worth(action: ConversionAction, reported_micros: int | None) -> int:
    """What a conversion counts, by the rule of its action."""
    if reported_micros is None or action.value_rule == ConversionAction.ValueRule.FIXED:
        return action.default_value_micros
    return reported_micros * action.value_share_bp // 10_000


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
    *,
    at: datetime,
    source: str,
) -> Conversion:
    named = _named(report.click) if report.click is not None else None
    touch = _credited(report, named, action, advertiser)
    kept = named or touch
    return Conversion.objects.create(
        action=action,
        event_id=report.event_id,
        occurred_at=report.occurred_at,
        received_at=at,
        value_micros=worth(action, report.value_micros),
        currency=advertiser.currency,
        visitor=report.visitor,
        attribution=touch.kind if touch else Conversion.Attribution.NONE,
        names_click=named is not None,
        source=kept.source if kept else source,
        **({name: getattr(kept, name) for name in _KEPT} if kept else {}),
    )


_KEPT = ("decision_id", "campaign_id", "line_item_id", "creative_id", "slot_id", "publisher_id")


def _credited(
    report: Report, named: Touch | None, action: ConversionAction, advertiser: Organisation
) -> Touch | None:
    """Who would get the credit by what is known now."""
    windows = {
        "click_window": timedelta(days=action.click_window_days),
        "view_window": timedelta(days=action.view_window_days),
    }
    touches = [named] if named is not None and _counts(named.decision_id) else []
    if report.visitor:
        touches += touches_of(
            report.visitor, advertiser_id=advertiser.pk, converted_at=report.occurred_at, **windows
        )
    return credited(touches, converted_at=report.occurred_at, **windows)


def _counts(decision_id: str) -> bool:
    """Whether a click counts; one that ingest has not stored yet does."""
    reasons = Click.objects.filter(decision_id=decision_id).values_list("reason", flat=True)
    return all(reason in COUNTED for reason in reasons)


def _named(served: Served) -> Touch | None:
    """The click of a signed click id. One that ingest has not stored yet counts from when its ad was served."""
    if served.source == "test":
        return None
    row = Click.objects.filter(decision_id=served.decision_id.hex()).first()
    if row is not None:
        return touch_of("click", row)
    return Touch(
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
