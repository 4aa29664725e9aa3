"""What was shown elsewhere, as facts of the platform: decision, impression and click of each row, marked as imported.

No statistic, no training and no bill counts them (their reason is "imported"). A row is found again by its key, so
that a second import adds nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pandas as pd

from adplatform.accounts.models import Organisation
from adplatform.accounts.services import audit
from adplatform.audience import services as audience
from adplatform.billing import queries as billing
from adplatform.core import clock
from adplatform.events import store
from adplatform.events.models import AdDecision, Click, Impression
from adplatform.events.records import DecisionRecord, Record, Served, TokenEvent
from adplatform.inventory.models import AdSlot
from adplatform.inventory.services import save_site, save_slot

AGENT = "import"
BATCH = 1_000
DAY = timedelta(days=1)
CLICKED_AFTER = timedelta(seconds=1)  # data sets do not say when
NAMESPACE = uuid.UUID("8f1d4a52-1f5b-4c55-9a41-6b1b6f0b7b0e")


@dataclass(frozen=True, slots=True)
class Shown:
    """One row: `key` names it within its data set, `request` the rows that were shown together.

    `mode` and `propensity` are those of a policy that logged how it chose; `visitor` is '' where nobody is named.
    """

    key: str
    request: str
    at: datetime
    position: int
    visitor: str
    creative_id: int
    line_item_id: int
    campaign_id: int
    is_clicked: bool
    mode: str = AGENT
    propensity: float | None = None


def places(*, name: str, currency: str, positions: Iterable[int], site_name: str = "") -> dict[int, AdSlot]:
    """The slots of one site (by default its only one) of the data set's own publisher, by position; the site is not
    active and serves nothing."""
    publisher, is_new = Organisation.objects.get_or_create(
        name=name,
        kind=Organisation.Kind.PUBLISHER,
        defaults={"currency": currency, "is_active": False},
    )
    if is_new:
        audit(user=None, organisation=publisher, action="organisation.imported", target=name)
    domain = f"{name.lower().replace(' ', '-')}.example"
    site = publisher.sites.filter(name=site_name or name).first() or save_site(
        user=None,
        publisher=publisher,
        name=site_name or name,
        domain=f"{site_name}.{domain}" if site_name else domain,
        is_active=False,
    )
    found = {slot.position: slot for slot in AdSlot.objects.filter(site=site).select_related("site")}
    for position in positions:
        if position not in found:
            found[position] = save_slot(user=None, site=site, name=f"Place {position}", position=position)
    return found


def record(
    rows: Iterable[Shown], slots: dict[int, AdSlot], *, source: str, advertiser: Organisation
) -> dict[str, int]:
    """Store the rows; returns how many decisions, impressions and clicks were new."""
    before = _counts(source)
    waiting = iter(rows)
    while batch := list(islice(waiting, BATCH)):
        records = [
            record
            for row in batch
            for record in _records(row, slots[row.position], source=source, advertiser=advertiser)
        ]
        store.store(records, granted=billing.granted, at=clock.now())
    return {name: count - before[name] for name, count in _counts(source).items()}


def agree(spans: pd.DataFrame, *, source: str, evidence: str) -> int:
    """Visitors with consent: rows of `spans` by pseudonym with `first` and `last`; returns how many are new."""
    seen = [
        audience.Seen(str(row.Index), row.first.to_pydatetime(), row.last.to_pydatetime())
        for row in spans.itertuples()
    ]
    added = audience.record_visitors(seen, source=source)
    audience.record_consent(
        [one.pseudonym for one in seen],
        is_granted=True,
        source="import",
        at=spans["first"].min().to_pydatetime(),
        evidence=evidence,
    )
    return added


def imported(source: str) -> pd.DataFrame:
    """The rows as the platform holds them, in time order: at, request, position, visitor, creative, clicked."""
    columns = {
        "decision_id": "key",
        "served_at": "at",
        "request_id": "request",
        "position": "position",
        "visitor": "visitor",
        "creative_id": "creative",
    }
    decisions = AdDecision.objects.filter(source=source).values_list(*columns).iterator()
    table = pd.DataFrame(list(decisions), columns=list(columns.values()))
    clicks = set(Click.objects.filter(source=source).values_list("decision_id", flat=True))
    table["clicked"] = table["key"].isin(clicks).astype(int)
    table["request"] = table["request"].astype(str)
    found: pd.DataFrame = table.drop(columns="key").sort_values(["at", "request", "position"], kind="stable")
    return found.reset_index(drop=True)


def _records(row: Shown, slot: AdSlot, *, source: str, advertiser: Organisation) -> Iterator[Record]:
    served = Served(
        decision_id=uuid.uuid5(NAMESPACE, f"{source} {row.key}").bytes,
        served_at=row.at,
        expires_at=row.at + DAY,
        slot_id=slot.pk,
        publisher_id=slot.site.publisher_id,
        advertiser_id=advertiser.pk,
        campaign_id=row.campaign_id,
        line_item_id=row.line_item_id,
        creative_id=row.creative_id,
        visitor=bytes.fromhex(row.visitor),
        price_kind="cpm",
        charge_micros=0,
        currency=advertiser.currency,
        source=source,
    )
    yield _decision(row, slot, served)
    yield TokenEvent("impression", served, row.at, AGENT)
    if row.is_clicked:
        yield TokenEvent("click", served, row.at + CLICKED_AFTER, AGENT)


def _decision(row: Shown, slot: AdSlot, served: Served) -> DecisionRecord:
    unknown: dict[str, Any] = dict.fromkeys(
        ("no_ad", "country", "region", "language", "device", "keywords"), ""
    )
    return DecisionRecord(
        decision_id=served.decision_id.hex(),
        request_id=uuid.uuid5(NAMESPACE, f"{served.source} request {row.request}").hex,
        served_at=row.at,
        slot_id=slot.pk,
        site_id=slot.site_id,
        publisher_id=served.publisher_id,
        advertiser_id=served.advertiser_id,
        campaign_id=served.campaign_id,
        line_item_id=served.line_item_id,
        creative_id=served.creative_id,
        mode=row.mode,
        visitor=row.visitor,
        position=row.position,
        currency=served.currency,
        bid_micros=0,
        price_micros=0,
        floor_micros=0,
        price_kind=served.price_kind,
        charge_micros=0,
        text_score=None,
        pctr=None,
        pcvr=None,
        propensity=row.propensity,
        candidates=0,
        refused={},
        versions={},
        seed=0,
        source=served.source,
        **unknown,
    )


def _counts(source: str) -> dict[str, int]:
    return {
        "decisions": AdDecision.objects.filter(source=source).count(),
        "impressions": Impression.objects.filter(source=source).count(),
        "clicks": Click.objects.filter(source=source).count(),
    }
