"""Plain functions that make one valid row each. Every value can be said; what is not said is boring and valid."""

from __future__ import annotations

import functools
import hashlib
import itertools
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import make_password

from adplatform.accounts.models import ApiKey, AuditEntry, Membership, Organisation, User
from adplatform.audience.models import Behaviour, Consent, Segment, Visitor
from adplatform.bidding.models import Pace
from adplatform.campaigns.models import Budget, Campaign, Creative, LineItem, Status
from adplatform.events.models import (
    AdDecision,
    Click,
    Conversion,
    ConversionAction,
    Credit,
    DailyStat,
    FillStat,
    HourlyStat,
    Impression,
    View,
)
from adplatform.inventory.models import AdSlot, Site
from adplatform.jobs.models import Job, JobRun
from adplatform.learning.models import ModelVersion, Pick, TrainingRun

PASSWORD = "correct horse battery"
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
MICROS = 1_000_000

_numbers = itertools.count(1)


def number() -> int:
    """A number that no other row of this process has."""
    return next(_numbers)


# --- accounts ---------------------------------------------------------------------------------------------------------


def organisation(**fields: Any) -> Organisation:
    """An advertiser; say `kind=Organisation.Kind.PUBLISHER` (or call `publisher()`) for a publisher."""
    given = {"name": f"Organisation {number()}", "kind": Organisation.Kind.ADVERTISER} | fields
    return Organisation.objects.create(**given)


def publisher(**fields: Any) -> Organisation:
    return organisation(**{"kind": Organisation.Kind.PUBLISHER} | fields)


@functools.cache
def _hashed(password: str) -> str:
    """Hashing is slow on purpose; tests need it once."""
    return make_password(password)


def user(**fields: Any) -> User:
    """A person who signs in with `PASSWORD`; `is_staff=True` makes an operator."""
    given = {"email": f"person{number()}@example.com", "password": PASSWORD} | fields
    return User.objects.create(**given | {"password": _hashed(given["password"])})


def operator(**fields: Any) -> User:
    return user(**{"is_staff": True} | fields)


def member(organisation_: Organisation | None = None, **fields: Any) -> Membership:
    """A person with a role in an organisation; both are made where they are not given."""
    given = {
        "organisation": organisation_ or fields.pop("organisation", None) or organisation(),
        "user": fields.pop("user", None) or user(),
        "role": Membership.Role.OWNER,
    } | fields
    return Membership.objects.create(**given)


def api_key(organisation_: Organisation | None = None, *, secret: str = "secret", **fields: Any) -> ApiKey:
    """A key whose secret part is `secret`."""
    given = {
        "organisation": organisation_ or organisation(),
        "name": "Key",
        "prefix": f"adp_{number():06d}",
        "secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "scopes": ["read"],
    } | fields
    return ApiKey.objects.create(**given)


def audit_entry(organisation_: Organisation | None = None, **fields: Any) -> AuditEntry:
    given = {"organisation": organisation_, "action": "campaign.created", "target": "Campaign 1"} | fields
    return AuditEntry.objects.create(**given)


# --- campaigns --------------------------------------------------------------------------------------------------------


def campaign(organisation_: Organisation | None = None, **fields: Any) -> Campaign:
    """A running campaign of a month around `NOON`, manual CPC, with a daily budget of 100 units."""
    owner = organisation_ or fields.pop("organisation", None) or organisation()
    given = {
        "organisation": owner,
        "name": f"Campaign {number()}",
        "status": Status.ACTIVE,
        "currency": owner.currency,
        "daily_budget_micros": 100 * MICROS,
        "start_at": NOON - timedelta(days=15),
        "end_at": NOON + timedelta(days=15),
    } | fields
    return Campaign.objects.create(**given)


def line_item(campaign_: Campaign | None = None, **fields: Any) -> LineItem:
    given = {
        "campaign": campaign_ or campaign(),
        "name": f"Line item {number()}",
        "bid_micros": MICROS // 2,
    } | fields
    return LineItem.objects.create(**given)


def creative(line_item_: LineItem | None = None, **fields: Any) -> Creative:
    """An approved banner of 300×250."""
    serial = number()
    given = {
        "line_item": line_item_ or line_item(),
        "name": f"Creative {serial}",
        "headline": f"Headline {serial}",
        "body": "Text of the ad.",
        "landing_url": "https://shop.example/offer",
        "review": Creative.Review.APPROVED,
    } | fields
    return Creative.objects.create(**given)


def budget(campaign_: Campaign | None = None, **fields: Any) -> Budget:
    """A flight budget of 1,000 units; say `date=` for a day's."""
    return Budget.objects.create(
        **{"campaign": campaign_ or campaign(), "amount_micros": 1_000 * MICROS} | fields
    )


def pace(campaign_: Campaign | None = None, **fields: Any) -> Pace:
    return Pace.objects.create(**{"campaign": campaign_ or campaign(), "computed_at": NOON} | fields)


# --- inventory --------------------------------------------------------------------------------------------------------


def site(publisher_: Organisation | None = None, **fields: Any) -> Site:
    owner = publisher_ or fields.pop("publisher", None) or publisher()
    serial = number()
    given = {
        "publisher": owner,
        "name": f"Site {serial}",
        "domain": f"site{serial}.example",
        "currency": owner.currency,
    } | fields
    return Site.objects.create(**given)


def slot(site_: Site | None = None, **fields: Any) -> AdSlot:
    return AdSlot.objects.create(**{"site": site_ or site(), "name": f"Slot {number()}"} | fields)


# --- audience ---------------------------------------------------------------------------------------------------------


def visitor(**fields: Any) -> Visitor:
    given = {"pseudonym": uuid.uuid4().hex, "first_seen_at": NOON, "last_seen_at": NOON} | fields
    return Visitor.objects.create(**given)


def consent(visitor_: Visitor | None = None, **fields: Any) -> Consent:
    given = {"visitor": visitor_ or visitor(), "is_granted": True, "source": "tcf", "at": NOON} | fields
    return Consent.objects.create(**given)


def behaviour(visitor_: Visitor | None = None, **fields: Any) -> Behaviour:
    serial = number()
    given = {
        "visitor": visitor_ or visitor(),
        "kind": Behaviour.Kind.READ,
        "item": f"page-{serial}",
        "text": f"Page {serial}",
        "occurred_at": NOON,
    } | fields
    return Behaviour.objects.create(**given)


def segment(organisation_: Organisation | None = None, **fields: Any) -> Segment:
    given = {"organisation": organisation_ or organisation(), "name": f"Segment {number()}"} | fields
    return Segment.objects.create(**given)


# --- facts and statistics ---------------------------------------------------------------------------------------------


def _parents(creative_: Creative, slot_: AdSlot) -> dict[str, int]:
    return {
        "creative_id": creative_.pk,
        "line_item_id": creative_.line_item_id,
        "campaign_id": creative_.line_item.campaign_id,
        "advertiser_id": creative_.line_item.campaign.organisation_id,
        "slot_id": slot_.pk,
        "publisher_id": slot_.site.publisher_id,
    }


def decision(
    creative_: Creative | None = None,
    slot_: AdSlot | None = None,
    *,
    served_at: datetime = NOON,
    **fields: Any,
) -> AdDecision:
    """A served CPC ad; for none say `no_ad="outbid"` (and it names no advertiser)."""
    place = slot_ or slot()
    parents = _parents(creative_ or creative(), place)
    if fields.get("no_ad"):
        parents = {"slot_id": place.pk, "publisher_id": place.site.publisher_id}
    given = {
        "decision_id": uuid.uuid4(),
        "request_id": uuid.uuid4(),
        "served_at": served_at,
        "site_id": place.site_id,
        "mode": "model",
        "currency": place.site.currency,
    }
    return AdDecision.objects.create(**given | parents | fields)


def _event(model: Any, decision_: AdDecision | None, fields: dict[str, Any]) -> Any:
    cause = decision_ or decision()
    copied = [
        "decision_id",
        "served_at",
        "slot_id",
        "publisher_id",
        "advertiser_id",
        "campaign_id",
        "line_item_id",
        "creative_id",
        "visitor",
        "currency",
        "source",
    ]
    given = {name: getattr(cause, name) for name in copied}
    given |= {"occurred_at": cause.served_at, "is_billable": model is not View}
    return model.objects.create(**given | fields)


def impression(decision_: AdDecision | None = None, **fields: Any) -> Impression:
    return _event(Impression, decision_, fields)


def view(decision_: AdDecision | None = None, **fields: Any) -> View:
    return _event(View, decision_, fields)


def click(decision_: AdDecision | None = None, **fields: Any) -> Click:
    return _event(Click, decision_, fields)


def conversion_action(organisation_: Organisation | None = None, **fields: Any) -> ConversionAction:
    given = {"organisation": organisation_ or organisation(), "name": f"Purchase {number()}"} | fields
    return ConversionAction.objects.create(**given)


def conversion(action: ConversionAction | None = None, **fields: Any) -> Conversion:
    given = {
        "action": action or conversion_action(),
        "event_id": f"order-{number()}",
        "occurred_at": NOON,
        "received_at": NOON,
        "currency": "USD",
        "attribution": Conversion.Attribution.NONE,
    } | fields
    return Conversion.objects.create(**given)


def credit(conversion_: Conversion, click_: Click | None = None, **fields: Any) -> Credit:
    """All of a conversion to one click, by the last click."""
    copied = ("slot_id", "publisher_id", "advertiser_id", "campaign_id", "line_item_id", "creative_id")
    of_click = {name: getattr(click_, name) for name in ("decision_id", *copied)} if click_ else {}
    given = {
        **dict.fromkeys(copied, 0),
        "decision_id": uuid.uuid4(),
        "conversion": conversion_,
        "model": "last_click",
        "touch": "click",
        "currency": conversion_.currency,
        "source": conversion_.source,
        "hour": conversion_.occurred_at.replace(minute=0, second=0, microsecond=0),
        "share_ppm": 1_000_000,
        "value_micros": conversion_.value_micros,
    }
    return Credit.objects.create(**given | of_click | fields)


def hourly_stat(
    creative_: Creative | None = None, slot_: AdSlot | None = None, *, hour: datetime = NOON, **fields: Any
) -> HourlyStat:
    creative_ = creative_ or creative()
    given = _parents(creative_, slot_ or slot()) | {
        "hour": hour,
        "currency": creative_.line_item.campaign.currency,
    }
    return HourlyStat.objects.create(**given | fields)


def daily_stat(
    creative_: Creative | None = None, slot_: AdSlot | None = None, *, day: date | None = None, **fields: Any
) -> DailyStat:
    creative_ = creative_ or creative()
    given = _parents(creative_, slot_ or slot())
    given |= {"date": day or NOON.date(), "currency": creative_.line_item.campaign.currency}
    return DailyStat.objects.create(**given | fields)


def fill_stat(slot_: AdSlot | None = None, **fields: Any) -> FillStat:
    place = slot_ or slot()
    given = {"slot_id": place.pk, "publisher_id": place.site.publisher_id, "hour": NOON, "requests": 1}
    return FillStat.objects.create(**given | fields)


# --- jobs and models --------------------------------------------------------------------------------------------------


def job(name: str = "rollup", **fields: Any) -> Job:
    return Job.objects.get_or_create(
        name=name, defaults={"title": name.replace("_", " ").capitalize()} | fields
    )[0]


def job_run(job_: Job | None = None, **fields: Any) -> JobRun:
    """A run that succeeded in one second."""
    given = {
        "job": job_ or job(),
        "slot": NOON + timedelta(minutes=number()),
        "status": JobRun.Status.SUCCEEDED,
        "started_at": NOON,
        "finished_at": NOON + timedelta(seconds=1),
    } | fields
    return JobRun.objects.create(**given)


def training_run(**fields: Any) -> TrainingRun:
    return TrainingRun.objects.create(
        **{"started_at": NOON, "finished_at": NOON + timedelta(minutes=1)} | fields
    )


def model_version(**fields: Any) -> ModelVersion:
    serial = number()
    given = {
        "kind": ModelVersion.Kind.BLENDER,
        "name": f"blender-{serial}",
        "folder": f"blender/blender-{serial}",
    } | fields
    return ModelVersion.objects.create(**given)


def pick(creative_: Creative | None = None, **fields: Any) -> Pick:
    given = {
        "visitor": uuid.uuid4().hex,
        "rank": 1,
        "creative_id": (creative_ or creative()).pk,
        "text_score": 0.5,
        "pctr": 0.01,
        "computed_at": NOON,
    } | fields
    return Pick.objects.create(**given)
