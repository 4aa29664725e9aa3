"""Ads like an advertiser's own and how they do, beside what ads of the category do: nobody else's rows, only sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Creative
from adplatform.insights import queries
from adplatform.insights.metrics import Range, Totals
from adplatform.learning import benchmarks, similar
from adplatform.learning.models import CategoryBenchmark

NOTHING = Totals()


@dataclass(frozen=True, slots=True)
class Alike:
    """One of the advertiser's own ads, how near its text is, and its numbers."""

    creative: Creative
    cosine: float
    now: Totals


@dataclass(frozen=True)
class AdsLike:
    """`own` is what the ads that are looked at did; `is_compared` is False until the job has looked at them."""

    own: Totals
    alike: list[Alike]
    benchmark: CategoryBenchmark | None
    is_compared: bool

    @property
    def benchmark_ctr(self) -> float | None:
        told = self.benchmark
        return told.clicks / told.impressions if told and told.impressions else None


def ads_like(
    creatives: Sequence[Creative], *, organisation: Organisation, category: str, range: Range
) -> AdsLike:
    """For these ads of the organisation. Whatever is stored, only its own ads are read."""
    found = similar.of([one.pk for one in creatives])
    near = dict(similar.own_ads(list(found.values())))
    rows = Creative.objects.filter(pk__in=near, line_item__campaign__organisation=organisation)
    ads = {one.pk: one for one in rows.select_related("line_item__campaign")}
    numbers = queries.by_creative(organisation, range)
    own = [numbers[one.pk] for one in creatives if one.pk in numbers]
    return AdsLike(
        own=sum(own, NOTHING),
        alike=[Alike(ads[pk], cosine, numbers.get(pk, NOTHING)) for pk, cosine in near.items() if pk in ads],
        benchmark=benchmarks.nearest(category),
        is_compared=bool(found),
    )
