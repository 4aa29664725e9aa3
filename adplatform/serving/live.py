"""What may serve at a moment, as rows of a snapshot: the one place that says which campaigns, ads and slots are live.

A worker's side: never imported by a web process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import ExpressionWrapper, F, FloatField, Q, Sum, Value
from django.db.models.functions import Exp, Extract, Length

from adplatform.accounts.models import ApiKey
from adplatform.bidding.models import Pace
from adplatform.billing import queries as billing
from adplatform.campaigns import rules as operator_rules
from adplatform.campaigns.budgets import UNLIMITED, day_of
from adplatform.campaigns.models import BidStrategy, Budget, Campaign, Creative, LineItem, Purse, Status
from adplatform.core.http import host_of
from adplatform.decision.targeting import TargetingError, parse
from adplatform.events.models import ConversionAction, HourlyStat
from adplatform.inventory.models import AdSlot
from adplatform.learning import conversions

from .live_rights import Rights
from .render import AdText
from .snapshot import CandidateRow, CapRow, KeyRow, RuleRow, SlotRow

Number = TypeVar("Number", int, float)

AHEAD = timedelta(hours=1)  # flights that start within it are taken in; the decision knows the moment
SERVED_SOURCES = ("live", "demo")
LOOKBACK = timedelta(days=30)
_LONG = 600  # characters of a landing URL that a token does not carry


def slots(rights: Rights) -> list[SlotRow]:
    rows = AdSlot.objects.filter(is_active=True, site__is_active=True, site__publisher__is_active=True)
    return [
        SlotRow(
            id=slot.pk,
            public_id=slot.public_id,
            site_id=slot.site_id,
            publisher_id=slot.site.publisher_id,
            format=slot.format,
            width=slot.width,
            height=slot.height,
            position=slot.position,
            floor_micros=slot.floor_micros,
            currency=slot.site.currency,
            domain=slot.site.domain.lower(),
            category=slot.site.category,
            time_zone=slot.site.time_zone,
            language=slot.site.language,
            rights=rights.of(slot),
            fallback=rights.fallback(slot),
        )
        for slot in rows.select_related("site").order_by("pk")
    ]


def rights(rows: Sequence[CandidateRow]) -> Rights:
    """What publishers demand, over these ads."""
    return Rights(
        categories={row.category for row in rows}, domains={host_of(row.landing_url) for row in rows}
    )


def keys(at: datetime) -> list[KeyRow]:
    rows = ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=at), revoked_at__isnull=True)
    return [KeyRow(key.prefix, key.secret_sha256, key.scopes, key.expires_at) for key in rows]


def long_landings() -> dict[int, str]:
    """Landing pages that are too long for a click token, of every creative that ever served one."""
    rows = Creative.objects.annotate(length=Length("landing_url")).filter(length__gt=_LONG)
    return dict(rows.values_list("pk", "landing_url"))


def rules(at: datetime, rows: Sequence[CandidateRow]) -> list[RuleRow]:
    """Operator's rules that hold now or later, with categories and words resolved over these candidates."""
    written = list(operator_rules.in_force(at).order_by("pk"))
    if not written:
        return []
    known = operator_rules.texts_of([row.creative_id for row in rows])
    return [RuleRow.of(rule) for rule in operator_rules.as_decided(written, known)]


def texts(rows: Sequence[CandidateRow]) -> list[tuple[int, str, str]]:
    """(creative, what the encoder reads of it, its language) of these candidates."""
    creatives = Creative.objects.filter(pk__in=[row.creative_id for row in rows])
    return [(creative.pk, creative.text, creative.language) for creative in creatives.order_by("pk")]


def candidates(at: datetime) -> list[CandidateRow]:
    """Every approved ad of a running, funded line item, in a fixed order."""
    creatives = list(_creatives(at))
    campaigns = {creative.line_item.campaign_id: creative.line_item.campaign for creative in creatives}
    money = _remaining(campaigns, at)
    paces = dict(Pace.objects.filter(campaign__in=campaigns).values_list("campaign_id", "multiplier"))
    performance = Performance.read(at)
    rows = []
    for creative in creatives:
        remaining = money[creative.line_item.campaign_id]
        if remaining > 0 and _has_valid_targeting(creative.line_item):
            pace = paces.get(creative.line_item.campaign_id, 1.0)
            rows.append(_row(creative, remaining, pace, performance))
    return rows


def _creatives(at: datetime) -> Sequence[Creative]:
    line_item, campaign = "line_item__", "line_item__campaign__"
    rows = Creative.objects.filter(
        Q(**{f"{campaign}end_at__isnull": True}) | Q(**{f"{campaign}end_at__gt": at}),
        status=Status.ACTIVE,
        review=Creative.Review.APPROVED,
        **{
            f"{line_item}status": Status.ACTIVE,
            f"{campaign}status": Status.ACTIVE,
            f"{campaign}start_at__lte": at + AHEAD,
            f"{campaign}source__in": SERVED_SOURCES,
            f"{campaign}organisation__is_active": True,
            f"{campaign}currency": F(f"{campaign}organisation__currency"),
        },
    )
    # Ads of a line item stand side by side, which decision.tally counts on.
    return list(rows.select_related("line_item__campaign__organisation").order_by("line_item_id", "pk"))


def _has_valid_targeting(line_item: LineItem) -> bool:
    """Services refuse wrong rules; one that came past them must not serve to everybody."""
    try:
        parse(line_item.targeting)
    except TargetingError:
        return False
    return True


def _remaining(campaigns: Mapping[int, Campaign], at: datetime) -> dict[int, int]:
    """What each campaign may still be charged: the least of its day's, its flight's and its advertiser's money."""
    owners = {campaign.organisation_id for campaign in campaigns.values()}
    granted = billing.granted(owners)
    spent = dict(Purse.objects.filter(organisation__in=owners).values_list("organisation_id", "spent_micros"))
    left: dict[int, int] = {}
    rows = Budget.objects.filter(campaign__in=campaigns)
    held = {
        (campaign_id, day): amount - used
        for campaign_id, day, amount, used in rows.values_list(
            "campaign_id", "date", "amount_micros", "spent_micros"
        )
    }
    for pk, campaign in campaigns.items():
        today = day_of(at, campaign.organisation.time_zone)
        day = held.get((pk, today), _limit(campaign.daily_budget_micros))
        flight = held.get((pk, None), _limit(campaign.flight_budget_micros))
        purse = granted.get(campaign.organisation_id, 0) - spent.get(campaign.organisation_id, 0)
        left[pk] = max(0, min(day, flight, purse))
    return left


def _limit(budget_micros: int | None) -> int:
    return UNLIMITED if budget_micros is None else budget_micros


def _row(creative: Creative, remaining: int, pace: float, performance: Performance) -> CandidateRow:
    line_item, campaign = creative.line_item, creative.line_item.campaign
    organisation = campaign.organisation
    impressions, clicks = performance.creatives.get(creative.pk, (0, 0))
    is_even = line_item.pacing == LineItem.Pacing.EVEN
    return CandidateRow(
        creative_id=creative.pk,
        line_item_id=line_item.pk,
        campaign_id=campaign.pk,
        advertiser_id=organisation.pk,
        creative_public_id=str(creative.public_id),
        line_item_public_id=str(line_item.public_id),
        campaign_public_id=str(campaign.public_id),
        advertiser_public_id=str(organisation.public_id),
        text=_text(creative, organisation.name),
        currency=campaign.currency,
        language=creative.language,
        category=campaign.category,
        landing_url=creative.landing_url,
        targeting=json.dumps(line_item.targeting, sort_keys=True),
        bid_strategy=BidStrategy(campaign.bid_strategy).value,
        bid_micros=line_item.bid_micros,
        target_roas_bp=campaign.target_roas_bp or 10_000,
        value_micros=performance.value_micros(line_item) or line_item.bid_micros,
        pcvr=performance.pcvr(line_item),
        pace=pace if is_even else 1.0,
        remaining_micros=remaining,
        start_at=campaign.start_at,
        end_at=campaign.end_at,
        caps=_caps(line_item),
        time_zone=organisation.time_zone,
        impressions=impressions,
        clicks=clicks,
        attributes=sorted(creative.attributes),
    )


def _text(creative: Creative, advertiser: str) -> AdText:
    return AdText(
        format=creative.format,
        width=creative.width,
        height=creative.height,
        headline=creative.headline,
        body=creative.body,
        call_to_action=creative.call_to_action,
        advertiser=advertiser,
        language=creative.language,
    )


def _caps(line_item: LineItem) -> list[CapRow]:
    if line_item.cap_impressions is None:
        return []
    return [CapRow("line_item", line_item.cap_impressions, line_item.cap_window_seconds)]


@dataclass(slots=True)
class Performance:
    """What the last 30 days say: counts per creative, conversions and what they are worth per line item.

    A line item's conversion rate leans on its campaign's, that on its advertiser's, and that on everybody's:
    pcvr = (conversions + k·above) / (clicks + k), with k = 50 clicks. A click counts by the share of conversions that
    come within its age, 1 − exp(−age / mean delay), so that yesterday's clicks do not look barren. Worth leans in the
    same way on the advertiser's, with the largest amounts cut.
    """

    creatives: dict[int, tuple[int, int]] = field(default_factory=dict)
    line_items: dict[int, tuple[float, float]] = field(default_factory=dict)  # matured clicks, conversions
    campaigns: dict[int, tuple[float, float]] = field(default_factory=dict)
    advertisers: dict[int, tuple[float, float]] = field(default_factory=dict)
    values: conversions.AmountModel = field(default_factory=lambda: conversions.AmountModel({}))
    defaults: dict[int, int] = field(default_factory=dict)  # by advertiser: value of one conversion
    everybody: tuple[float, float] = (0.0, 0.0)  # matured clicks, conversions

    @classmethod
    def read(cls, at: datetime) -> Performance:
        known = cls(
            defaults=_default_values(),
            values=conversions.values(since=at - LOOKBACK, until=at, sources=SERVED_SOURCES),
        )
        names = ("creative_id", "line_item_id", "campaign_id", "advertiser_id")
        sums = {name: Sum(name) for name in ("impressions", "clicks", "conversions")}
        sums = {f"n_{name}": total for name, total in sums.items()} | {"matured": _matured_clicks(at)}
        rows = HourlyStat.objects.filter(hour__gte=at - LOOKBACK, source__in=SERVED_SOURCES)
        for row in rows.values(*names).annotate(**sums):
            clicks, converted = row["matured"], row["n_conversions"]
            _add(known.creatives, row["creative_id"], row["n_impressions"], row["n_clicks"])
            _add(known.line_items, row["line_item_id"], clicks, converted)
            _add(known.advertisers, row["advertiser_id"], clicks, converted)
            _add(known.campaigns, row["campaign_id"], clicks, converted)
            known.everybody = (known.everybody[0] + clicks, known.everybody[1] + converted)
        return known

    def pcvr(self, line_item: LineItem) -> float:
        rate = conversions.everybodys(*self.everybody)
        for counts, number in (
            (self.advertisers, line_item.campaign.organisation_id),
            (self.campaigns, line_item.campaign_id),
            (self.line_items, line_item.pk),
        ):
            rate = conversions.smoothed(*counts.get(number, (0.0, 0.0)), rate)
        return min(1.0, rate)

    def value_micros(self, line_item: LineItem) -> int:
        """Expected value of a conversion; before the advertiser's first, what its action is worth, and 0 where that is
        not said either (then the line item's own word counts)."""
        owner = line_item.campaign.organisation_id
        expected = self.values.expected((owner, line_item.campaign_id, line_item.pk))
        return self.defaults.get(owner, 0) if expected is None else round(expected)


def _matured_clicks(at: datetime) -> Sum:
    """Sum of clicks, each by the share of its conversions that have come by now; all of it where the delay of
    conversions is not known yet."""
    delay = conversions.mean_delay(since=at - LOOKBACK, until=at, sources=SERVED_SOURCES)
    if delay is None:
        return Sum("clicks", output_field=FloatField())
    age = Extract(Value(at) - F("hour"), "epoch", output_field=FloatField())
    come = Value(1.0) - Exp(ExpressionWrapper(-age / delay.total_seconds(), output_field=FloatField()))
    return Sum(ExpressionWrapper(F("clicks") * come, output_field=FloatField()))


def _add(table: dict[int, tuple[Number, Number]], key: int, first: Number, second: Number) -> None:
    before = table.get(key)
    table[key] = (first, second) if before is None else (before[0] + first, before[1] + second)


def _default_values() -> dict[int, int]:
    rows = ConversionAction.objects.order_by("organisation_id", "-default_value_micros")
    return dict(rows.distinct("organisation_id").values_list("organisation_id", "default_value_micros"))
