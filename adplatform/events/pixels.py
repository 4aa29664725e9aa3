"""Conversion pixels on their way from the stream to `services.record_conversions`.

A pixel with a signed click id belongs to that click's advertiser. Without one it is believed only so far that it
is stored, unattributed, for the advertiser that it names; one that names nobody is dropped.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from adplatform.accounts.models import Organisation

from . import services
from .records import PixelConversion

log = logging.getLogger(__name__)

ByAdvertiser = Mapping[int, list[PixelConversion]]


def resolve(pixels: Sequence[PixelConversion]) -> dict[int, list[PixelConversion]]:
    """Pixels by the advertiser they belong to."""
    named = {pixel.advertiser for pixel in pixels if pixel.click is None and _is_uuid(pixel.advertiser)}
    ids = {
        str(public_id): pk
        for public_id, pk in Organisation.objects.filter(public_id__in=named).values_list("public_id", "pk")
    }
    found: dict[int, list[PixelConversion]] = defaultdict(list)
    for pixel in pixels:
        owner = pixel.click.advertiser_id if pixel.click else ids.get(pixel.advertiser.lower())
        if owner is None:
            log.info("a conversion pixel names no advertiser")
        else:
            found[owner].append(pixel)
    return dict(found)


def store(by_advertiser: ByAdvertiser, *, at: datetime) -> None:
    """Record each advertiser's pixels; their locks are held already."""
    advertisers = Organisation.objects.in_bulk(list(by_advertiser))
    for pk in sorted(by_advertiser):
        if pk in advertisers:
            reports = [_report(pixel) for pixel in by_advertiser[pk]]
            services.record_conversions(advertiser=advertisers[pk], reports=reports, at=at)


def _report(pixel: PixelConversion) -> services.Report:
    return services.Report(
        event_id=pixel.event_id,
        action=pixel.action,
        occurred_at=pixel.occurred_at,
        value_micros=pixel.value_micros,
        currency=pixel.currency,
        click=pixel.click,
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
