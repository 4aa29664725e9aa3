"""Publishers' rules as the rows of a snapshot: which hold in which slot, and what they come to over these ads.

A worker's side: never imported by a web process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from adplatform.decision.floors import Floor, ordered
from adplatform.inventory.blocks import resolved
from adplatform.inventory.categories import Graph
from adplatform.inventory.models import (
    AdFormat,
    AdSlot,
    BlockRule,
    CompetingPair,
    Fallback,
    FloorRule,
    HouseAd,
    Scoped,
)

from .fallback import FallbackRow, HouseAdRow
from .rights import RightsRow

Rule = TypeVar("Rule", bound=Scoped)


class Rights:
    """Everything that publishers say, read once for one snapshot. `categories`, `domains`: those of its ads."""

    def __init__(self, *, categories: Iterable[str], domains: Iterable[str]) -> None:
        self._blocks = _by_publisher(BlockRule.objects.filter(removed_at__isnull=True))
        self._floors = _by_publisher(FloorRule.objects.filter(removed_at__isnull=True))
        self._house = _by_publisher(
            HouseAd.objects.filter(removed_at__isnull=True, is_active=True).select_related(
                "publisher", "site"
            )
        )
        self._rivals: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for pair in CompetingPair.objects.all():
            self._rivals[pair.publisher_id] += [
                (pair.first_id, pair.second_id),
                (pair.second_id, pair.first_id),
            ]
        self._graph = Graph.load() if self._blocks else Graph()
        self._categories, self._domains = set(categories), set(domains)

    def of(self, slot: AdSlot) -> RightsRow:
        """What holds in a slot; `slot.site` is loaded."""
        site = slot.site
        row = RightsRow(
            per_advertiser=slot.ads_per_advertiser or site.ads_per_advertiser,
            separates_categories=site.separates_categories,
            rivals=self._rivals.get(site.publisher_id, []),
            variety=site.variety,
            floors=list(self._floors_of(slot)),
        )
        if rules := _covering(self._blocks, slot):
            blocks = resolved(rules, self._graph, categories=self._categories, domains=self._domains)
            row.blocked_advertisers = sorted(blocks.advertisers)
            row.blocked_categories = sorted(blocks.categories)
            row.blocked_domains = sorted(blocks.domains)
            row.blocked_attributes = sorted(blocks.attributes)
        return row

    def fallback(self, slot: AdSlot) -> FallbackRow | None:
        """What may stand there without a paid ad."""
        if slot.fallback == Fallback.NOTHING:
            return None
        fitting = [ad.pk for ad in _covering(self._house, slot) if _fits(ad, slot)]
        return FallbackRow(fitting, slot.passback, slot.fallback == Fallback.PASSBACK_FIRST)

    def house_ads(self) -> list[HouseAdRow]:
        rows = [ad for ads in self._house.values() for ad in ads]
        return [
            HouseAdRow(
                id=ad.pk,
                public_id=str(ad.public_id),
                format=ad.format,
                width=ad.width,
                height=ad.height,
                headline=ad.headline,
                body=ad.body,
                call_to_action=ad.call_to_action,
                landing_url=ad.landing_url,
                publisher=ad.publisher.name,
                language=ad.site.language if ad.site else "",
            )
            for ad in sorted(rows, key=lambda ad: ad.pk)
        ]

    def _floors_of(self, slot: AdSlot) -> Sequence[tuple[str, str, int]]:
        rules = _covering(self._floors, slot)
        if not rules:
            return ()
        floors = [
            Floor(rule.floor_micros, rule.slot_id is not None, rule.country, rule.device) for rule in rules
        ]
        own = [Floor(slot.floor_micros, is_of_slot=True)] if slot.floor_micros else []
        return ordered([*floors, *own])


def _fits(ad: HouseAd, slot: AdSlot) -> bool:
    """Native ads adapt, banners have a size."""
    if ad.format != slot.format:
        return False
    return ad.format == AdFormat.NATIVE or (ad.width, ad.height) == (slot.width, slot.height)


def _by_publisher(rows: Iterable[Rule]) -> dict[int, list[Rule]]:
    found: dict[int, list[Rule]] = defaultdict(list)
    for row in rows:
        found[row.publisher_id].append(row)
    return found


def _covering(rules: dict[int, list[Rule]], slot: AdSlot) -> list[Rule]:
    return [rule for rule in rules.get(slot.site.publisher_id, ()) if rule.covers(slot)]
