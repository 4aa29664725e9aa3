"""Conversions server to server: idempotent by the advertiser's event id, each event with its own result."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import ValidationError

from adplatform.accounts.models import Organisation
from adplatform.api.auth import Key, Signed, key_of, organisation_of, signing_secret
from adplatform.api.schemas.conversions import AdjustmentsIn, ConversionEvent, ConversionsIn, ConversionsOut
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.events.services import Change, Report, Result, adjust_conversions, record_conversions
from adplatform.serving.tokens import click_of

SCOPE = "conversions"


def conversions(request: HttpRequest, payload: ConversionsIn, dry_run: bool = False) -> dict[str, Any]:
    """Report up to 1,000 conversions. Reporting again changes nothing; `dry_run` stores nothing."""
    advertiser = organisation_of(request, Organisation.Kind.ADVERTISER)
    reports, results = _read(payload.events)
    recorded = record_conversions(
        advertiser=advertiser,
        reports=[report for _place, report in reports],
        at=clock.now(),
        dry_run=dry_run,
    )
    for (place, _report), result in zip(reports, recorded, strict=True):
        results[place] = result
    return _told([results[place] for place in sorted(results)])


def adjustments(request: HttpRequest, payload: AdjustmentsIn, dry_run: bool = False) -> dict[str, Any]:
    """Take conversions back, or say what they are worth now; the latest `occurred_at` holds."""
    advertiser = organisation_of(request, Organisation.Kind.ADVERTISER)
    changes = [Change(**one.model_dump()) for one in payload.adjustments]
    return _told(adjust_conversions(advertiser=advertiser, changes=changes, at=clock.now(), dry_run=dry_run))


def _told(in_order: list[Result]) -> dict[str, Any]:
    counted = [result.status for result in in_order]
    return {
        "recorded": counted.count("recorded"),
        "duplicates": counted.count("duplicate"),
        "rejected": counted.count("rejected"),
        "results": [
            {
                "event_id": one.event_id,
                "status": one.status,
                "reason": one.reason,
                "attribution": one.attribution,
            }
            for one in in_order
        ],
    }


def secret(request: HttpRequest) -> dict[str, str]:
    """The secret with which this key signs conversions instead of being sent along."""
    key = key_of(request)
    return {"key": key.prefix, "secret": signing_secret(key)}


def router() -> Router:
    """One for each place where conversions are received."""
    made = Router(tags=["conversions"])
    made.post("/conversions", response=ConversionsOut, auth=[Key(SCOPE), Signed(SCOPE)])(conversions)
    made.post("/conversions/adjustments", response=ConversionsOut, auth=[Key(SCOPE), Signed(SCOPE)])(
        adjustments
    )
    return made


def _read(events: list[Any]) -> tuple[list[tuple[int, Report]], dict[int, Result]]:
    """(place, report) of what can be read, and a rejection for each event that cannot."""
    reports: list[tuple[int, Report]] = []
    rejected: dict[int, Result] = {}
    for place, raw in enumerate(events):
        try:
            event = ConversionEvent.model_validate(raw)
        except ValidationError as error:
            event_id = str(raw.get("event_id", ""))[:120] if isinstance(raw, dict) else ""
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "event"
            rejected[place] = Result(event_id, "rejected", f"invalid_event: {field}: {first['msg']}")
            continue
        reports.append((place, _report(event)))
    return reports, rejected


def _report(event: ConversionEvent) -> Report:
    """A click id that we did not sign proves nothing: the conversion is kept, and credited by visitor or not at all."""
    return Report(
        event_id=event.event_id,
        action=event.action,
        occurred_at=event.occurred_at,
        value_micros=event.value_micros,
        currency=event.currency,
        click=click_of(event.click_id) if event.click_id else None,
        visitor=pseudonym(event.user_id) if event.user_id else "",
    )
