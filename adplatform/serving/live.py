"""What may serve at a moment, as rows of a snapshot: the one place that says which campaigns, ads and slots are live.

A worker's side: never imported by a web process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from django.db.models import ExpressionWrapper, F, FloatField, Q, QuerySet, Sum, TextField, Value
from django.db.models.functions import Cast, Exp, Extract, Length

from adplatform.accounts.models import ApiKey
from adplatform.bidding.models import Pace
from adplatform.campaigns import rules as operator_rules
from adplatform.campaigns.models import Creative, LineItem, Status, text_of
from adplatform.decision.targeting import TargetingError
from adplatform.decision.types import CapScope
from adplatform.events.models import ConversionAction, HourlyStat
from adplatform.inventory.models import AdSlot
from adplatform.learning import conversions

from .columns import domain_of, rules_of
from .granting import affordable
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
        categories={row.category for row in rows}, domains={domain_of(row.landing_url) for row in rows}
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
    known = {row.creative_id: f"{_read_of(row.text)} {row.text.call_to_action}" for row in rows}
    return [RuleRow.of(rule) for rule in operator_rules.as_decided(written, known)]


def texts(rows: Sequence[CandidateRow]) -> list[tuple[int, str, str]]:
    """(creative, what the encoder reads of it, its language) of these candidates."""
    return [(row.creative_id, _read_of(row.text), row.language) for row in rows]


def _read_of(text: AdText) -> str:
    return text_of(text.headline, text.body)


def candidates(at: datetime) -> list[CandidateRow]:
    """Every approved ad of a running, funded line item, in a fixed order."""
    money = {grant.campaign_id: grant.left_micros for grant in affordable(at)}
    paces = dict(Pace.objects.filter(campaign__in=money).values_list("campaign_id", "multiplier"))
    performance = Performance.read(at)
    return [
        _row(ad, money[ad.campaign_id], paces.get(ad.campaign_id, 1.0), performance)
        for ad in ads(_servable(at))
        if money.get(ad.campaign_id, 0) > 0 and is_valid(ad.targeting)
    ]


class Ad(NamedTuple):
    """One line of the query; `_PATHS` says where each field comes from. Model objects of a large market take longer to
    make than everything else of a snapshot."""

    creative_id: int
    creative_public_id: str
    format: str
    width: int
    height: int
    headline: str
    body: str
    call_to_action: str
    landing_url: str
    language: str
    attributes: list[str]
    line_item_id: int
    line_item_public_id: str
    targeting: str
    pacing: str
    bid_micros: int
    campaign_id: int
    campaign_public_id: str
    currency: str
    category: str
    bid_strategy: str
    target_roas_bp: int | None
    start_at: datetime
    end_at: datetime | None
    advertiser_id: int
    advertiser_public_id: str
    advertiser: str
    time_zone: str
    creative_cap: int | None
    creative_cap_seconds: int
    line_item_cap: int | None
    line_item_cap_seconds: int
    campaign_cap: int | None
    campaign_cap_seconds: int
    advertiser_cap: int | None
    advertiser_cap_seconds: int | None

    def caps(self) -> list[CapRow]:
        """Its own and those of all that it belongs to."""
        levels = (
            (CapScope.CREATIVE, self.creative_cap, self.creative_cap_seconds),
            (CapScope.LINE_ITEM, self.line_item_cap, self.line_item_cap_seconds),
            (CapScope.CAMPAIGN, self.campaign_cap, self.campaign_cap_seconds),
            (CapScope.ADVERTISER, self.advertiser_cap, self.advertiser_cap_seconds),
        )
        return [CapRow(scope.value, most, seconds) for scope, most, seconds in levels if most and seconds]


_LINE_ITEM, _CAMPAIGN, _OWNER = "line_item__", "line_item__campaign__", "line_item__campaign__organisation__"
_PATHS: dict[str, Any] = {
    "creative_id": "pk",
    "line_item_id": "line_item_id",
    "campaign_id": f"{_LINE_ITEM}campaign_id",
    "advertiser_id": f"{_CAMPAIGN}organisation_id",
    "advertiser": f"{_OWNER}name",
    "time_zone": f"{_OWNER}time_zone",
    **{
        f"{name}_public_id": Cast(f"{path}public_id", TextField())
        for name, path in (
            ("creative", ""),
            ("line_item", _LINE_ITEM),
            ("campaign", _CAMPAIGN),
            ("advertiser", _OWNER),
        )
    },
    "targeting": Cast(f"{_LINE_ITEM}targeting", TextField()),  # one text for equal rules
    **{name: f"{_LINE_ITEM}{name}" for name in ("pacing", "bid_micros")},
    **{
        f"{scope}_cap{suffix}": f"{path}cap_{column}"
        for scope, path in (
            ("creative", ""),
            ("line_item", _LINE_ITEM),
            ("campaign", _CAMPAIGN),
            ("advertiser", f"{_OWNER}cap__"),
        )
        for suffix, column in (("", "impressions"), ("_seconds", "window_seconds"))
    },
    **{
        name: f"{_CAMPAIGN}{name}"
        for name in ("currency", "category", "bid_strategy", "target_roas_bp", "start_at", "end_at")
    },
}


def _servable(at: datetime) -> QuerySet[Creative]:
    return Creative.objects.filter(
        Q(**{f"{_CAMPAIGN}end_at__isnull": True}) | Q(**{f"{_CAMPAIGN}end_at__gt": at}),
        status=Status.ACTIVE,
        review=Creative.Review.APPROVED,
        **{
            f"{_LINE_ITEM}status": Status.ACTIVE,
            f"{_CAMPAIGN}status": Status.ACTIVE,
            f"{_CAMPAIGN}start_at__lte": at + AHEAD,
            f"{_CAMPAIGN}source__in": SERVED_SOURCES,
            f"{_OWNER}is_active": True,
            f"{_CAMPAIGN}currency": F(f"{_OWNER}currency"),
        },
    )


def ads(rows: QuerySet[Creative]) -> Iterator[Ad]:
    """These creatives with all that they belong to. Ads of a line item stand side by side, which decision.tally counts on."""
    ordered = rows.order_by("line_item_id", "pk")
    return map(Ad._make, ordered.values_list(*(_PATHS.get(name, name) for name in Ad._fields)))


def is_valid(targeting: str) -> bool:
    """Services refuse wrong rules; one that came past them must not serve to everybody."""
    try:
        rules_of(targeting)
    except TargetingError:
        return False
    return True


def _row(ad: Ad, remaining: int, pace: float, performance: Performance) -> CandidateRow:
    impressions, clicks = performance.creatives.get(ad.creative_id, (0, 0))
    is_even = ad.pacing == LineItem.Pacing.EVEN
    owners = (ad.advertiser_id, ad.campaign_id, ad.line_item_id)
    return CandidateRow(
        creative_id=ad.creative_id,
        line_item_id=ad.line_item_id,
        campaign_id=ad.campaign_id,
        advertiser_id=ad.advertiser_id,
        creative_public_id=ad.creative_public_id,
        line_item_public_id=ad.line_item_public_id,
        campaign_public_id=ad.campaign_public_id,
        advertiser_public_id=ad.advertiser_public_id,
        text=AdText(
            format=ad.format,
            width=ad.width,
            height=ad.height,
            headline=ad.headline,
            body=ad.body,
            call_to_action=ad.call_to_action,
            advertiser=ad.advertiser,
            language=ad.language,
        ),
        currency=ad.currency,
        language=ad.language,
        category=ad.category,
        landing_url=ad.landing_url,
        targeting=ad.targeting,
        bid_strategy=ad.bid_strategy,
        bid_micros=ad.bid_micros,
        target_roas_bp=ad.target_roas_bp or 10_000,
        value_micros=performance.value_micros(*owners) or ad.bid_micros,
        pcvr=performance.pcvr(*owners),
        pace=pace if is_even else 1.0,
        remaining_micros=remaining,
        start_at=ad.start_at,
        end_at=ad.end_at,
        caps=ad.caps(),
        time_zone=ad.time_zone,
        impressions=impressions,
        clicks=clicks,
        attributes=sorted(ad.attributes),
    )


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

    def pcvr(self, advertiser_id: int, campaign_id: int, line_item_id: int) -> float:
        rate = conversions.everybodys(*self.everybody)
        for counts, number in (
            (self.advertisers, advertiser_id),
            (self.campaigns, campaign_id),
            (self.line_items, line_item_id),
        ):
            rate = conversions.smoothed(*counts.get(number, (0.0, 0.0)), rate)
        return min(1.0, rate)

    def value_micros(self, advertiser_id: int, campaign_id: int, line_item_id: int) -> int:
        """Expected value of a conversion; before the advertiser's first, what its action is worth, and 0 where that is
        not said either (then the line item's own word counts)."""
        expected = self.values.expected((advertiser_id, campaign_id, line_item_id))
        return self.defaults.get(advertiser_id, 0) if expected is None else round(expected)


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
