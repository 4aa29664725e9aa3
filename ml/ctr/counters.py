"""Live click statistics: the one definition used to train (by replay) and to serve (from the stream).

The state is additive: an impression and a click each add numbers to a few counters, so that the ingest process
can keep the same state in a key-value store by increments:

    all, slot, site                                impressions, clicks, expected
    creative, line item, campaign, advertiser      impressions, clicks, exposure
    visitor                                        impressions, clicks, expected
    visitor × line item                            impressions

An ad must not look good because it stood where people click. Each impression has two estimates, taken just before
it: q, the click rate of the creative in an average place, and l, how many times an average place the slot is
clicked. `exposure` adds up l over an ad's impressions, `expected` adds up q over a place's (and q·l over a
visitor's), so that clicks / exposure is a rate apart from places, and clicks / expected a place apart from ads.

Rates are smoothed towards their parent: creative → line item → campaign → advertiser → all; slot → site → all. A
level that was never seen, or whose key is None, has its parent's rate.

Recent sums of creatives, line items and visitors forget: what is `HALF_LIFE_SECONDS` old counts half.

What is found invalid later is taken out again: a click as it was counted; an impression with the mean of what each
impression had added to its ad's exposure and to its place's expected clicks, since nobody keeps its own estimates.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ml.schema import Floats

# Prior strengths: how many impressions at the parent's rate an entity starts with.
GLOBAL_CTR = 0.01
GLOBAL_STRENGTH = 1_000.0
ADVERTISER_STRENGTH = 1_000.0
CAMPAIGN_STRENGTH = 500.0
LINE_ITEM_STRENGTH = 300.0
CREATIVE_STRENGTH = 100.0
VISITOR_STRENGTH = 30.0
RESIDUAL_STRENGTH = 3.0
# Of places: how many clicks, all as expected, a slot or site starts with.
PLACE_STRENGTH = 15.0
MOST_LIFT = 10.0  # a place beyond that, or below its inverse, is taken for one with too few clicks
HALF_LIFE_SECONDS = 3 * 86_400.0

CONSTANTS = (
    GLOBAL_CTR,
    GLOBAL_STRENGTH,
    ADVERTISER_STRENGTH,
    CAMPAIGN_STRENGTH,
    LINE_ITEM_STRENGTH,
    CREATIVE_STRENGTH,
    VISITOR_STRENGTH,
    RESIDUAL_STRENGTH,
    PLACE_STRENGTH,
    MOST_LIFT,
    HALF_LIFE_SECONDS,
)

ADS = ("creative", "line_item", "campaign", "advertiser")
PLACES = ("slot", "site")
RECENT = ("creative", "line_item", "visitor")

Number = TypeVar("Number", float, Floats)


class Keys(NamedTuple):
    """Whom an impression belongs to; anything hashable, None where it is not known or must not be."""

    creative: Hashable
    line_item: Hashable = None
    campaign: Hashable = None
    advertiser: Hashable = None
    slot: Hashable = None
    site: Hashable = None
    visitor: Hashable = None


class Raw(NamedTuple):
    """What is known about one candidate at one moment; NaN where there is no visitor identifier."""

    global_impressions: float
    global_clicks: float
    global_expected: float
    creative_impressions: float
    creative_clicks: float
    creative_exposure: float
    line_item_impressions: float
    line_item_clicks: float
    line_item_exposure: float
    campaign_clicks: float
    campaign_exposure: float
    advertiser_clicks: float
    advertiser_exposure: float
    slot_impressions: float
    slot_clicks: float
    slot_expected: float
    site_clicks: float
    site_expected: float
    visitor_impressions: float
    visitor_clicks: float
    visitor_expected: float
    frequency: float
    creative_recent_clicks: float
    creative_recent_exposure: float
    line_item_recent_clicks: float
    line_item_recent_exposure: float
    visitor_recent_impressions: float
    visitor_recent_clicks: float
    visitor_recent_expected: float


class AdRates(NamedTuple):
    """Smoothed click rates in an average place."""

    creative: Any
    line_item: Any
    advertiser: Any
    overall: Any


def smoothed(clicks: Number, impressions: Number, parent: Number, strength: float) -> Number:
    """The mean of a Beta posterior whose prior is `strength` impressions at the parent's rate."""
    return (clicks + strength * parent) / (impressions + strength)


def global_ctr(clicks: Number, impressions: Number) -> Number:
    """The rate over everything."""
    return (clicks + GLOBAL_STRENGTH * GLOBAL_CTR) / (impressions + GLOBAL_STRENGTH)


def ad_rates(raw: Mapping[str, Any]) -> AdRates:
    """The chain from everything down to the creative."""
    overall = global_ctr(raw["global_clicks"], raw["global_impressions"])
    advertiser = smoothed(raw["advertiser_clicks"], raw["advertiser_exposure"], overall, ADVERTISER_STRENGTH)
    campaign = smoothed(raw["campaign_clicks"], raw["campaign_exposure"], advertiser, CAMPAIGN_STRENGTH)
    line_item = smoothed(raw["line_item_clicks"], raw["line_item_exposure"], campaign, LINE_ITEM_STRENGTH)
    creative = smoothed(raw["creative_clicks"], raw["creative_exposure"], line_item, CREATIVE_STRENGTH)
    return AdRates(creative, line_item, advertiser, overall)


def recent_ad_rate(raw: Mapping[str, Any], rates: AdRates) -> Any:
    """The creative's rate of late: its own recent clicks lean on its rate of all time, moved as its line item moved."""
    line_item = smoothed(
        raw["line_item_recent_clicks"],
        raw["line_item_recent_exposure"],
        rates.line_item,
        LINE_ITEM_STRENGTH,
    )
    expected = rates.creative * line_item / rates.line_item
    return smoothed(
        raw["creative_recent_clicks"], raw["creative_recent_exposure"], expected, CREATIVE_STRENGTH
    )


def place_lifts(raw: Mapping[str, Any]) -> tuple[Any, Any]:
    """How many times an average place the slot and its site are clicked by the same people for the same ads."""
    overall = _place(raw["global_clicks"], raw["global_expected"], 1.0)
    site = _place(raw["site_clicks"], raw["site_expected"], overall)
    slot = _place(raw["slot_clicks"], raw["slot_expected"], site)
    return _bounded(slot / overall), _bounded(site / overall)


def _place(clicks: Any, expected: Any, parent: Any) -> Any:
    return (clicks + PLACE_STRENGTH * parent) / (expected + PLACE_STRENGTH)


def _bounded(lift: Any) -> Any:
    if isinstance(lift, float):  # of one request: numpy would cost more than all else here
        return min(max(lift, 1 / MOST_LIFT), MOST_LIFT)
    return np.minimum(np.maximum(lift, 1 / MOST_LIFT), MOST_LIFT)


def visitor_residual(clicks: Number, expected: Number, impressions: Number) -> Number:
    """Clicks beyond those that the shown ads deserved, per impression, shrunk while there are few."""
    return (clicks - expected) / (impressions + RESIDUAL_STRENGTH)


class Statistics:
    """The counters in memory. Rows are [impressions, clicks, exposure or expected]; recent rows the same and the
    moment that they are discounted to. A key of None leaves and reads nothing."""

    def __init__(self) -> None:
        self.overall = [0.0, 0.0, 0.0]
        self.creative: dict[Hashable, list[float]] = {}
        self.line_item: dict[Hashable, list[float]] = {}
        self.campaign: dict[Hashable, list[float]] = {}
        self.advertiser: dict[Hashable, list[float]] = {}
        self.slot: dict[Hashable, list[float]] = {}
        self.site: dict[Hashable, list[float]] = {}
        self.visitor: dict[Hashable, list[float]] = {}
        self.frequency: dict[Hashable, dict[Hashable, float]] = {}
        self.recent: dict[str, dict[Hashable, list[float]]] = {name: {} for name in RECENT}

    def observe_impression(self, keys: Keys, at: float) -> tuple[float, float]:
        """Count one impression served at `at`, in seconds; returns (q, l) just before it."""
        creative, line_item, campaign, advertiser, slot, site, visitor = keys
        rate, lift = self.estimate(keys)
        self.overall[0] += 1
        self.overall[2] += rate
        _shown(self.creative, creative, lift)
        _shown(self.line_item, line_item, lift)
        _shown(self.campaign, campaign, lift)
        _shown(self.advertiser, advertiser, lift)
        _shown(self.slot, slot, rate)
        _shown(self.site, site, rate)
        _add_recent(self.recent["creative"], creative, at, (1.0, 0.0, lift))
        _add_recent(self.recent["line_item"], line_item, at, (1.0, 0.0, lift))
        if visitor is not None:
            _shown(self.visitor, visitor, rate * lift)
            _add_recent(self.recent["visitor"], visitor, at, (1.0, 0.0, rate * lift))
            seen = self.frequency.get(visitor)
            if seen is None:
                seen = self.frequency[visitor] = {}
            seen[line_item] = seen.get(line_item, 0.0) + 1
        return rate, lift

    def observe_click(self, keys: Keys, at: float) -> None:
        """Count one click, arrived at `at`, of an impression that was counted before."""
        self.overall[1] += 1
        for name, key in zip(Keys._fields, keys, strict=True):
            if key is None:
                continue
            _row(getattr(self, name), key)[1] += 1
            if name in self.recent:
                _add_recent(self.recent[name], key, at, (0.0, 1.0, 0.0))

    def withdraw_click(self, keys: Keys, at: float) -> None:
        """Take out a click that was counted as arrived at `at`. Where there is none to take, nothing changes."""
        self.overall[1] = max(0.0, self.overall[1] - 1)
        for name, key in zip(Keys._fields, keys, strict=True):
            row = getattr(self, name).get(key)
            if row is None or row[1] < 1:
                continue
            row[1] -= 1
            if name in self.recent:
                _add_recent(self.recent[name], key, at, (0.0, -1.0, 0.0))

    def withdraw_impression(self, keys: Keys, at: float) -> None:
        """Take out an impression that was counted as served at `at`. Where there is none to take, nothing changes."""
        _hidden(self.overall)
        for name, key in zip(Keys._fields, keys, strict=True):
            row = getattr(self, name).get(key)
            if row is None or row[0] < 1:
                continue
            amount = _hidden(row)
            if name in self.recent:
                _add_recent(self.recent[name], key, at, (-1.0, 0.0, -amount))
            if name == "visitor":
                seen = self.frequency.setdefault(key, {})
                seen[keys.line_item] = seen.get(keys.line_item, 0.0) - 1

    def estimate(self, keys: Keys) -> tuple[float, float]:
        """(q, l): the creative's click rate in an average place, and how many times one the slot is clicked."""
        creative, line_item, campaign, advertiser, slot, site, _ = keys
        impressions, clicks, expected = self.overall
        rate = global_ctr(clicks, impressions)
        # Written out, since every row of a replay comes here: loops over names took twice as long.
        row = self.advertiser.get(advertiser, _UNSEEN)
        rate = (row[1] + ADVERTISER_STRENGTH * rate) / (row[2] + ADVERTISER_STRENGTH)
        row = self.campaign.get(campaign, _UNSEEN)
        rate = (row[1] + CAMPAIGN_STRENGTH * rate) / (row[2] + CAMPAIGN_STRENGTH)
        row = self.line_item.get(line_item, _UNSEEN)
        rate = (row[1] + LINE_ITEM_STRENGTH * rate) / (row[2] + LINE_ITEM_STRENGTH)
        row = self.creative.get(creative, _UNSEEN)
        rate = (row[1] + CREATIVE_STRENGTH * rate) / (row[2] + CREATIVE_STRENGTH)
        overall = (clicks + PLACE_STRENGTH) / (expected + PLACE_STRENGTH)
        row = self.site.get(site, _UNSEEN)
        place = (row[1] + PLACE_STRENGTH * overall) / (row[2] + PLACE_STRENGTH)
        row = self.slot.get(slot, _UNSEEN)
        place = (row[1] + PLACE_STRENGTH * place) / (row[2] + PLACE_STRENGTH)
        return rate, float(_bounded(place / overall))

    def raw(self, keys: Keys, at: float) -> Raw:
        """The numbers as known at `at`; zeros for what was never seen."""
        return Raw._make(self.numbers(keys, at))

    def numbers(self, keys: Keys, at: float) -> tuple[float, ...]:
        """The fields of Raw without their names, which a replay of many rows does not need."""
        creative, line_item, campaign, advertiser, slot, site, visitor = keys
        _, campaign_clicks, campaign_exposure = self.campaign.get(campaign, _UNSEEN)
        _, advertiser_clicks, advertiser_exposure = self.advertiser.get(advertiser, _UNSEEN)
        _, site_clicks, site_expected = self.site.get(site, _UNSEEN)
        _, recent_clicks, recent_exposure = _recent(self.recent["creative"], creative, at)
        _, line_item_clicks, line_item_exposure = _recent(self.recent["line_item"], line_item, at)
        if visitor is None:
            by_visitor, of_visitor, frequency = _NOBODY, _NOBODY, _NAN
        else:
            by_visitor = self.visitor.get(visitor, _UNSEEN)
            of_visitor = _recent(self.recent["visitor"], visitor, at)
            frequency = self.frequency.get(visitor, _NOTHING).get(line_item, 0.0)
        return (
            *self.overall,
            *self.creative.get(creative, _UNSEEN),
            *self.line_item.get(line_item, _UNSEEN),
            campaign_clicks,
            campaign_exposure,
            advertiser_clicks,
            advertiser_exposure,
            *self.slot.get(slot, _UNSEEN),
            site_clicks,
            site_expected,
            *by_visitor,
            frequency,
            recent_clicks,
            recent_exposure,
            line_item_clicks,
            line_item_exposure,
            *of_visitor,
        )

    def as_dict(self) -> dict[str, Any]:
        """The whole state as plain dicts and lists (ids stay as they are)."""
        return {
            "overall": list(self.overall),
            **{name: _copied(getattr(self, name)) for name in Keys._fields},
            "frequency": {key: dict(seen) for key, seen in self.frequency.items()},
            "recent": {name: _copied(rows) for name, rows in self.recent.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Statistics:
        """The inverse of `as_dict`."""
        statistics = cls()
        statistics.overall = list(state["overall"])
        for name in Keys._fields:
            setattr(statistics, name, _copied(state[name]))
        statistics.frequency = {key: dict(seen) for key, seen in state["frequency"].items()}
        statistics.recent = {name: _copied(rows) for name, rows in state["recent"].items()}
        return statistics


def _row(table: dict[Hashable, list[float]], key: Hashable) -> list[float]:
    row = table.get(key)
    if row is None:
        row = table[key] = [0.0, 0.0, 0.0]
    return row


def _shown(table: dict[Hashable, list[float]], key: Hashable, amount: float) -> None:
    """One impression more of a known key."""
    if key is None:
        return
    row = table.get(key)
    if row is None:
        table[key] = [1.0, 0.0, amount]
    else:
        row[0] += 1
        row[2] += amount


def _hidden(row: list[float]) -> float:
    """One impression less, where there is one; returns the mean amount that goes with it."""
    if row[0] < 1:
        return 0.0
    amount = row[2] / row[0]
    row[0] -= 1
    row[2] -= amount
    return amount


def _add_recent(
    table: dict[Hashable, list[float]], key: Hashable, at: float, amounts: tuple[float, float, float]
) -> None:
    """Sums stay discounted to the newest moment; what comes late counts for as little as it would by now."""
    if key is None:
        return
    impressions, clicks, amount = amounts
    row = table.get(key)
    if row is None:
        table[key] = [impressions, clicks, amount, at]
    elif at >= row[3]:
        left = 2.0 ** ((row[3] - at) / HALF_LIFE_SECONDS)
        row[:] = (row[0] * left + impressions, row[1] * left + clicks, row[2] * left + amount, at)
    else:
        weight = 2.0 ** ((at - row[3]) / HALF_LIFE_SECONDS)
        row[0] += weight * impressions
        row[1] += weight * clicks
        row[2] += weight * amount


def _recent(table: dict[Hashable, list[float]], key: Hashable, at: float) -> list[float]:
    row = table.get(key)
    if row is None:
        return _UNSEEN
    left = 2.0 ** ((row[3] - at) / HALF_LIFE_SECONDS)
    return [row[0] * left, row[1] * left, row[2] * left]


def _copied(rows: Mapping[Hashable, list[float]]) -> dict[Hashable, list[float]]:
    return {key: list(row) for key, row in rows.items()}


_NAN = float(np.nan)
_UNSEEN = [0.0, 0.0, 0.0]
_NOBODY = [_NAN, _NAN, _NAN]
_NOTHING: dict[Hashable, float] = {}
