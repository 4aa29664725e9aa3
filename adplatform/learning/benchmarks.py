"""How ads of a category do, so that nobody can be recognised: sums over at least six advertisers, none with half.

Whoever takes his own numbers away is left with the sum of five others. A category with too few is told as the nearest
one above it in the operator's graph, in the end as all ads together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Sum

from adplatform.campaigns.models import Campaign
from adplatform.events.models import HourlyStat
from adplatform.inventory.categories import Graph
from adplatform.learning.models import CategoryBenchmark

LOOKBACK = timedelta(days=30)
FEWEST_ADVERTISERS = 6
MOST_SHARE = 0.5  # of the impressions, that one advertiser may have
SOURCES = ("live", "demo")
ALL = ""


@dataclass
class _Sums:
    """What the ads of one category add up to; `by_advertiser` counts impressions."""

    by_advertiser: Counter[int] = field(default_factory=Counter)
    creatives: int = 0
    clicks: int = 0

    @property
    def impressions(self) -> int:
        return self.by_advertiser.total()

    @property
    def hides_everybody(self) -> bool:
        largest = max(self.by_advertiser.values(), default=0)
        return len(self.by_advertiser) >= FEWEST_ADVERTISERS and largest <= MOST_SHARE * self.impressions


def compute(*, at: datetime, dry_run: bool = False) -> int:
    """Sum up the last 30 days; returns how many categories may be told."""
    told = {name: one for name, one in _sums(at).items() if one.hides_everybody}
    if not dry_run:
        _store(told, at)
    return len(told)


def nearest(category: str) -> CategoryBenchmark | None:
    """The benchmark of a category, or of the nearest one above it that may be told."""
    chain = [*Graph.load().above(category), ALL]
    known = CategoryBenchmark.objects.in_bulk(chain)
    return next((known[name] for name in chain if name in known), None)


def _sums(at: datetime) -> dict[str, _Sums]:
    """By category: its own and what lies below it; ALL is everything."""
    graph, sums = Graph.load(), defaultdict[str, _Sums](_Sums)
    category_of = dict(Campaign.objects.values_list("pk", "category"))
    rows = HourlyStat.objects.filter(hour__gte=at - LOOKBACK, hour__lt=at, source__in=SOURCES)
    grouped = rows.values_list("campaign_id", "advertiser_id").annotate(
        Sum("impressions"), Sum("clicks"), Count("creative_id", distinct=True)
    )
    for campaign, advertiser, impressions, clicks, creatives in grouped:
        for name in {*graph.above(category_of.get(campaign, "")), ALL}:
            one = sums[name]
            one.by_advertiser[advertiser] += impressions
            one.clicks += clicks
            one.creatives += creatives
    return sums


@transaction.atomic
def _store(told: dict[str, _Sums], at: datetime) -> None:
    CategoryBenchmark.objects.all().delete()
    CategoryBenchmark.objects.bulk_create(
        CategoryBenchmark(
            category=name,
            computed_at=at,
            advertisers=len(one.by_advertiser),
            creatives=one.creatives,
            impressions=one.impressions,
            clicks=one.clicks,
        )
        for name, one in told.items()
    )
