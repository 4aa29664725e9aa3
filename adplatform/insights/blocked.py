"""What a publisher's block would cost: how much of the last seven days' impressions and earnings came from ads that it
keeps out. Others may take their places, so it is the most that can be lost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Creative
from adplatform.core.http import host_of
from adplatform.core.tenants import platform
from adplatform.decision.eligibility import attributes_of
from adplatform.decision.types import Candidate
from adplatform.events.models import HourlyStat
from adplatform.insights import queries
from adplatform.insights.metrics import Range
from adplatform.inventory.blocks import Blocks, resolved
from adplatform.inventory.categories import Graph
from adplatform.inventory.models import AdSlot, BlockRule

DAYS = 7


@dataclass(frozen=True, slots=True)
class Cost:
    """`impressions` and `earned_micros` of the ads that the rule names in its places, and those of all the publisher's
    slots in the same days; `advertisers` that are among them, with theirs."""

    impressions: int = 0
    all_impressions: int = 0
    earned_micros: int = 0
    all_earned_micros: int = 0
    ads: int = 0
    advertisers: tuple[tuple[str, int], ...] = ()

    @property
    def impressions_share(self) -> float | None:
        return self.impressions / self.all_impressions if self.all_impressions else None

    @property
    def earned_share(self) -> float | None:
        return self.earned_micros / self.all_earned_micros if self.all_earned_micros else None

    def as_json(self) -> dict[str, Any]:
        """For the rule's own row and for the API."""
        shares = {"impressions_share": self.impressions_share, "earned_share": self.earned_share}
        return asdict(self) | shares | {"advertisers": [list(pair) for pair in self.advertisers]}


@platform()  # others' ads that stood on its own pages
def cost(rule: BlockRule, *, at: datetime) -> Cost:
    """Of a rule, saved or not."""
    publisher = rule.publisher
    range = Range.last(DAYS, zone=publisher.time_zone, at=at)
    slots = [slot.pk for slot in AdSlot.objects.filter(site__publisher=publisher) if rule.covers(slot)]
    everything = queries.totals(publisher, range)
    named = _named(rule, slots, range)
    base = Cost(all_impressions=everything.impressions, all_earned_micros=everything.earned_micros)
    if not named:
        return base
    found = queries.totals(publisher, range, creative_id=[one.pk for one in named], slot_id=slots)
    return Cost(
        found.impressions,
        base.all_impressions,
        found.earned_micros,
        base.all_earned_micros,
        len(named),
        _advertisers(named, publisher, range, slots),
    )


def _named(rule: BlockRule, slots: list[int], range: Range) -> list[Creative]:
    """Ads that stood in these slots in the range and that the rule names."""
    stood = HourlyStat.objects.filter(hour__gte=range.start_at, hour__lt=range.end_at, slot_id__in=slots)
    rows = Creative.objects.filter(pk__in=stood.order_by().values("creative_id").distinct())
    ads = list(rows.select_related("line_item__campaign__organisation"))
    blocks = resolved(
        [rule],
        Graph.load(),
        categories={ad.line_item.campaign.category for ad in ads},
        domains={host_of(ad.landing_url) for ad in ads},
    )
    return [ad for ad in ads if _is_blocked(ad, blocks)]


def _is_blocked(ad: Creative, blocks: Blocks) -> bool:
    campaign = ad.line_item.campaign
    return (
        campaign.organisation_id in blocks.advertisers
        or campaign.category in blocks.categories
        or host_of(ad.landing_url) in blocks.domains
        or not blocks.attributes.isdisjoint(_attributes(ad))
    )


def _attributes(ad: Creative) -> frozenset[str]:
    """As decisions see them."""
    return attributes_of(
        Candidate(
            creative_id=ad.pk,
            line_item_id=ad.line_item_id,
            campaign_id=ad.line_item.campaign_id,
            advertiser_id=ad.line_item.campaign.organisation_id,
            attributes=frozenset(ad.attributes),
            format=ad.format,
            width=ad.width,
            height=ad.height,
            language=ad.language,
        )
    )


def _advertisers(
    named: list[Creative], publisher: Organisation, range: Range, slots: list[int]
) -> tuple[tuple[str, int], ...]:
    """(name, impressions) of those that lose most."""
    names = {ad.line_item.campaign.organisation_id: ad.line_item.campaign.organisation.name for ad in named}
    found = queries.by_organisation(
        range,
        kind="advertiser",
        publisher_id=publisher.pk,
        creative_id=[one.pk for one in named],
        slot_id=slots,
    )
    rows = [(names[key], total.impressions) for key, total in found.items() if key in names]
    return tuple(sorted(rows, key=lambda row: (-row[1], row[0]))[:5])


@platform()
def advertisers_on(publisher: Organisation, *, at: datetime, days: int = 30) -> list[Organisation]:
    """Who stood on the publisher's pages lately, by name: their names stand in their ads."""
    range = Range.last(days, zone=publisher.time_zone, at=at)
    found = queries.by_organisation(range, kind="advertiser", publisher_id=publisher.pk)
    return list(Organisation.objects.filter(pk__in=found).order_by("name", "pk"))


@platform()
def advertiser_named(name: str) -> Organisation | None:
    """The one advertiser that shows this name in its ads, None for nobody or for several."""
    rows = Organisation.objects.filter(
        kind=Organisation.Kind.ADVERTISER, is_active=True, name__iexact=name.strip()
    )
    found = list(rows[:2])
    return found[0] if len(found) == 1 else None
