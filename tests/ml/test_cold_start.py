"""What is new starts from what is known above it: creatives, line items, campaigns, visitors, slots, sites.

Numbers of a small market: 1,000 impressions of line item 1's creative 11 with 50 clicks, in slot 1 of site 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from ml.ctr import features
from ml.ctr.counters import CREATIVE_STRENGTH, Keys, Statistics
from ml.ctr.train import train_click_model
from tests.ml.logs import world

NOW = 1_000_000.0
KNOWN = Keys(creative=11, line_item=1, campaign=1, advertiser=1, slot=1, site=1, visitor="known")


@pytest.fixture(scope="module")
def statistics() -> Statistics:
    known = Statistics()
    for number in range(1_000):
        at = NOW - 1_000 + number / 2
        known.observe_impression(KNOWN, at)
        if number % 20 == 0:
            known.observe_click(KNOWN, at + 1)
    return known


def seen(statistics: Statistics, **changed: object) -> dict[str, float]:
    """Features of one impression that differs from the known one in these keys."""
    raw = statistics.raw(KNOWN._replace(**changed), NOW)._asdict()
    X = features.build({name: np.array([value]) for name, value in raw.items()})
    return dict(zip(features.NAMES, X[0].tolist(), strict=True))


def test_a_new_creative_has_its_line_items_rate(statistics: Statistics) -> None:
    old, new = seen(statistics), seen(statistics, creative=12)
    assert new["creative_ctr"] == new["line_item_ctr"] == old["line_item_ctr"]
    assert new["creative_log_impressions"] == 0.0
    assert old["creative_log_impressions"] == pytest.approx(np.log1p(1_000), rel=1e-6)
    # Of late too it has what its line item has: nothing of its own moves it.
    assert new["creative_recent_ctr"] == pytest.approx(old["line_item_ctr"], rel=0.05)


def test_a_hundred_impressions_move_a_new_creative_half_way(statistics: Statistics) -> None:
    known = Statistics.from_dict(statistics.as_dict())
    for number in range(int(CREATIVE_STRENGTH)):  # as much as the prior weighs, nobody clicks
        known.observe_impression(KNOWN._replace(creative=12, slot=None, site=None), NOW - 100 + number)
    assert known.raw(KNOWN._replace(creative=12), NOW).creative_exposure == CREATIVE_STRENGTH
    new = seen(known, creative=12)
    assert new["creative_ctr"] == pytest.approx(new["line_item_ctr"] / 2, rel=1e-6)


def test_each_new_level_has_the_rate_of_the_level_above(statistics: Statistics) -> None:
    line_item = seen(statistics, creative=12, line_item=2)
    campaign = seen(statistics, creative=12, line_item=2, campaign=2)
    advertiser = seen(statistics, creative=12, line_item=2, campaign=2, advertiser=2)
    raw = statistics.raw(KNOWN, NOW)
    overall = (raw.global_clicks + 10) / (raw.global_impressions + 1_000)
    assert advertiser["creative_ctr"] == pytest.approx(overall, rel=1e-6)
    assert overall < campaign["creative_ctr"] < line_item["creative_ctr"]
    of_advertiser = (raw.advertiser_clicks + 1_000 * overall) / (raw.advertiser_exposure + 1_000)
    assert campaign["creative_ctr"] == pytest.approx(of_advertiser, rel=1e-6)


def test_a_new_visitor_is_an_average_one_who_has_seen_nothing(statistics: Statistics) -> None:
    new = seen(statistics, visitor="new")
    raw = statistics.raw(KNOWN, NOW)
    assert new["visitor_ctr"] == pytest.approx(
        (raw.global_clicks + 10) / (raw.global_impressions + 1_000), rel=1e-6
    )
    assert (new["visitor_residual"], new["visitor_log_impressions"], new["frequency_log"]) == (0.0, 0.0, 0.0)


def test_nobody_is_not_a_new_visitor(statistics: Statistics) -> None:
    nobody = seen(statistics, visitor=None)
    for name in ("visitor_ctr", "visitor_residual", "visitor_recent_residual", "frequency_log"):
        assert np.isnan(nobody[name])
    assert nobody["creative_ctr"] == seen(statistics)["creative_ctr"]


def test_a_new_slot_is_clicked_as_its_site_is_and_a_new_site_as_all_are(statistics: Statistics) -> None:
    known = Statistics.from_dict(statistics.as_dict())
    poor = KNOWN._replace(slot=2, site=2, visitor=None)
    for number in range(2_000):  # site 2 is hardly clicked
        known.observe_impression(poor, NOW - 400 + number / 10)
    slot = seen(known, slot=3, site=2)
    assert slot["slot_lift"] == slot["site_lift"] < 0.6
    assert slot["slot_log_impressions"] == 0.0
    site = seen(known, slot=4, site=4)
    assert site["slot_lift"] == site["site_lift"] == 1.0


def test_a_new_creative_is_moved_by_its_text_and_by_nothing_else() -> None:
    log, U, V, u, v = world(rows=6_000)
    score = 4 * (U[u] * V[v]).sum(1).astype(np.float64) - 2
    model = train_click_model(log, text_score=score)
    known = Statistics()
    raw = {
        name: np.array([value] * 3)
        for name, value in known.raw(Keys(99, 99, None, None, 1, None, None), 0.0)._asdict().items()
    }
    X = features.build(raw | {"text_score": np.array([-4.0, -1.0, np.nan]), "hour": 12.0})
    p = model.blender.predict(X)
    assert p[0] < p[1]
    assert np.isfinite(p).all()  # also without a text score
    assert p[0] < p[2] or p[2] < p[1]  # which stands between what it could be


@pytest.mark.parametrize("name", ["text_score", "device", "hour", "position", "has_profile", "width"])
def test_what_is_missing_is_missing_and_the_rest_stays(statistics: Statistics, name: str) -> None:
    raw = {key: np.array([value]) for key, value in statistics.raw(KNOWN, NOW)._asdict().items()}
    given = dict.fromkeys(("text_score", "device", "hour", "position", "has_profile", "width", "height"), 1.0)
    whole, part = (
        features.build(raw | context)[0]
        for context in (given, {key: value for key, value in given.items() if key != name})
    )
    same = (whole == part) | (np.isnan(whole) & np.isnan(part))
    differing = {one for one, is_same in zip(features.NAMES, same.tolist(), strict=True) if not is_same}
    assert differing == ({"log_area", "log_shape"} if name == "width" else {name})
    assert all(np.isnan(part[features.NAMES.index(one)]) for one in differing)
