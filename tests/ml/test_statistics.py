"""Live statistics: exact numbers, nothing from the future, the same in training and serving."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.ctr import counters, features
from ml.ctr.counters import Keys, Statistics
from ml.ctr.replay import replay
from ml.schema import ImpressionLog
from tests.ml.logs import world


def small_log(**columns: list) -> ImpressionLog:
    n = len(columns["time"])
    given = {"creative": ["c"] * n, "line_item": ["l"] * n, "slot": ["s"] * n, "visitor": ["v"] * n} | columns
    return ImpressionLog(
        time=np.array(given["time"], dtype=float),
        click_time=np.array(given["click_time"], dtype=float),
        creative=np.array(given["creative"], dtype=object),
        line_item=np.array(given["line_item"], dtype=object),
        slot=np.array(given["slot"], dtype=object),
        visitor=np.array(given["visitor"], dtype=object),
    )


def test_a_row_sees_impressions_served_and_clicks_arrived_strictly_before_it() -> None:
    nan = float("nan")
    log = small_log(time=[10, 20, 20, 30, 40], click_time=[30, nan, nan, nan, nan])
    raw = replay(log)
    assert raw["creative_impressions"].tolist() == [0, 1, 1, 3, 4]
    # The click arrives at 30: the row at 30 does not know it yet.
    assert raw["creative_clicks"].tolist() == [0, 0, 0, 0, 1]
    assert raw["visitor_impressions"].tolist() == [0, 1, 1, 3, 4]
    assert raw["frequency"].tolist() == [0, 1, 1, 3, 4]


KEYS = Keys("c", "l", "k", "a", "s", "p", "v")


def test_expected_clicks_add_up_what_the_shown_creatives_promised() -> None:
    statistics = Statistics()
    first, lift = statistics.observe_impression(KEYS, 0.0)
    assert first == pytest.approx(counters.GLOBAL_CTR)  # nothing is known: the rate of all
    assert lift == 1.0
    statistics.observe_click(KEYS, 1.0)
    rate = (1 + counters.GLOBAL_STRENGTH * counters.GLOBAL_CTR) / (1 + counters.GLOBAL_STRENGTH)
    for strength in (
        counters.ADVERTISER_STRENGTH,
        counters.CAMPAIGN_STRENGTH,
        counters.LINE_ITEM_STRENGTH,
        counters.CREATIVE_STRENGTH,
    ):
        rate = (1 + strength * rate) / (1 + strength)
    second, its_lift = statistics.observe_impression(KEYS, 2.0)
    assert second == rate
    raw = statistics.raw(KEYS, 2.0)
    assert (raw.visitor_impressions, raw.visitor_clicks) == (2, 1)
    assert raw.visitor_expected == first + second * its_lift
    assert raw.slot_expected == first + second
    assert raw.creative_exposure == 1 + its_lift
    X = features.build({name: np.array([value]) for name, value in raw._asdict().items()})
    residual = X[0, features.NAMES.index("visitor_residual")]
    assert residual == pytest.approx((1 - raw.visitor_expected) / (2 + 3), rel=1e-6)


def test_without_an_identifier_nothing_of_the_visitor_is_read_or_left() -> None:
    statistics = Statistics()
    nobody = KEYS._replace(visitor=None)
    statistics.observe_impression(nobody, 0.0)
    statistics.observe_click(nobody, 0.0)
    assert statistics.visitor == {}
    assert statistics.frequency == {}
    raw = statistics.raw(nobody, 1.0)
    of_visitor = [value for name, value in raw._asdict().items() if name.startswith(("visitor", "freq"))]
    assert len(of_visitor) == 7
    assert np.isnan(of_visitor).all()
    assert (raw.creative_impressions, raw.creative_clicks) == (1, 1)


def built(statistics: Statistics, keys: Keys, at: float = 0.0) -> dict[str, float]:
    X = features.build(
        {name: np.array([value]) for name, value in statistics.raw(keys, at)._asdict().items()}
    )
    return dict(zip(features.NAMES, X[0].tolist(), strict=True))


def test_a_level_that_nobody_saw_has_the_rate_of_the_level_above() -> None:
    statistics = Statistics()
    for _ in range(2_000):
        statistics.observe_impression(KEYS, 0.0)
    for _ in range(100):
        statistics.observe_click(KEYS, 0.0)
    line_item, advertiser = (
        built(statistics, KEYS)["line_item_ctr"],
        counters.ad_rates(statistics.raw(KEYS, 0.0)._asdict()).advertiser,
    )
    new_creative = built(statistics, KEYS._replace(creative="new"))
    assert new_creative["creative_ctr"] == new_creative["line_item_ctr"] == line_item
    new_campaign = built(statistics, KEYS._replace(creative="new", line_item="new", campaign="new"))
    assert new_campaign["creative_ctr"] == pytest.approx(advertiser, rel=1e-6)
    new_slot = built(statistics, KEYS._replace(slot="new"))
    assert new_slot["slot_lift"] == new_slot["site_lift"] > 1
    stranger = built(statistics, Keys("x", "x", "x", "x", "x", "x", "x"))
    assert stranger["slot_lift"] == 1.0
    assert stranger["creative_ctr"] == pytest.approx((100 + 10) / 3_000, rel=1e-6)


def test_recent_sums_halve_every_half_life_in_any_order_of_events() -> None:
    half = counters.HALF_LIFE_SECONDS
    moments = [0.0, half, 3 * half]
    for order in (moments, moments[::-1]):
        statistics = Statistics()
        for at in order:
            statistics.observe_impression(KEYS, at)
            statistics.observe_click(KEYS, at)
        raw = statistics.raw(KEYS, 3 * half)
        assert raw.creative_recent_clicks == pytest.approx(1 / 8 + 1 / 4 + 1)
        assert raw.visitor_recent_impressions == pytest.approx(1 / 8 + 1 / 4 + 1)


def test_an_ad_is_not_better_for_standing_where_people_click() -> None:
    """Everybody clicks 8 % at the top and 2 % at the bottom; ad A stood mostly at the top, B mostly at the bottom."""
    rng = np.random.default_rng(0)
    statistics = Statistics()
    for number in range(20_000):
        ad = "AB"[number % 2]
        is_top = rng.random() < (0.9 if ad == "A" else 0.1)
        keys = Keys(ad, ad, ad, ad, "top" if is_top else "bottom", "site", None)
        statistics.observe_impression(keys, float(number))
        if rng.random() < (0.08 if is_top else 0.02):
            statistics.observe_click(keys, float(number))
    known = {ad: built(statistics, Keys(ad, ad, ad, ad, "top", "site", None), 2e4) for ad in "AB"}
    naive = {ad: row[1] / row[0] for ad, row in statistics.creative.items()}
    assert naive["A"] > 2.5 * naive["B"]
    assert known["A"]["creative_ctr"] < 1.5 * known["B"]["creative_ctr"]  # most of the illusion is gone
    bottom = built(statistics, Keys("A", "A", "A", "A", "bottom", "site", None), 2e4)
    assert 2.5 < known["A"]["slot_lift"] / bottom["slot_lift"] < 4.5


@settings(max_examples=25, deadline=None)
@given(row=st.integers(0, 799), seed=st.integers(0, 5))
def test_flipping_a_label_changes_no_row_at_or_before_its_time(row: int, seed: int) -> None:
    log = world(rows=800, days=2, seed=seed)[0]
    log = replace(log, time=np.floor(log.time / 300) * 300)  # many rows share their time
    flipped = log.click_time.copy()
    flipped[row] = log.time[row] if np.isnan(flipped[row]) else np.nan
    before, after = features.build(replay(log)), features.build(replay(replace(log, click_time=flipped)))
    untouched = log.time <= log.time[row]
    assert untouched[row]
    np.testing.assert_array_equal(before[untouched], after[untouched])


def test_a_flipped_label_is_seen_by_later_rows() -> None:
    log = world(rows=800, days=2)[0]
    flipped = log.click_time.copy()
    flipped[10] = log.time[10] + 1 if np.isnan(flipped[10]) else np.nan
    changed = replay(log)["creative_clicks"] != replay(replace(log, click_time=flipped))["creative_clicks"]
    assert changed.any()


def test_rows_in_any_order_get_the_same_numbers() -> None:
    log = world(rows=2_000)[0]
    shuffle = np.random.default_rng(1).permutation(len(log))
    in_order, shuffled = replay(log), replay(log.take(shuffle))
    for name, column in in_order.items():
        np.testing.assert_array_equal(column[shuffle], shuffled[name], err_msg=name)


def test_serving_row_by_row_builds_the_features_of_training() -> None:
    log = world(rows=1_500, days=2)[0]
    trained = features.build(replay(log))
    live, pending = Statistics(), []
    for row in range(len(log)):
        who = Keys(log.creative[row], log.line_item[row], slot=log.slot[row], visitor=log.visitor[row])
        for arrival, clicked in sorted(click for click in pending if click[0] < log.time[row]):
            live.observe_click(clicked, arrival)
            pending.remove((arrival, clicked))
        known = {name: np.array([value]) for name, value in live.raw(who, log.time[row])._asdict().items()}
        served = features.build({**known, **{name: column[row] for name, column in log.context.items()}})
        np.testing.assert_array_equal(served[0], trained[row])
        live.observe_impression(who, log.time[row])
        if not np.isnan(log.click_time[row]):
            pending.append((log.click_time[row], who))


def test_statistics_continue_from_their_dict() -> None:
    log = world(rows=2_000)[0]
    whole = replay(log)
    # A cut without clicks under way, so that both halves know the same.
    first, second = log.take(np.arange(1_000)), log.take(np.arange(1_000, 2_000))
    first = replace(first, click_time=np.where(np.isnan(first.click_time), np.nan, first.time))
    halves = replace(log, click_time=np.concatenate([first.click_time, second.click_time]))
    statistics = Statistics()
    replay(first, statistics=statistics)
    continued = replay(second, statistics=Statistics.from_dict(statistics.as_dict()))
    expected = replay(halves)
    for name in ("creative_clicks", "visitor_expected", "frequency", "creative_recent_exposure"):
        np.testing.assert_array_equal(continued[name], expected[name][1_000:])
    assert whole["creative_impressions"].tolist() == expected["creative_impressions"].tolist()


def test_a_number_for_the_request_holds_for_all_candidates() -> None:
    raw = {name: np.full(3, 5.0) for name in features.RAW} | {"hour": 7.0, "width": 300.0, "height": 250.0}
    X = features.build(raw)
    assert X.dtype == np.float32
    assert X[:, features.NAMES.index("hour")].tolist() == [7, 7, 7]
    assert X[0, features.NAMES.index("log_area")] == pytest.approx(np.log(75_000), rel=1e-6)


def test_unknown_values_are_missing_and_not_zero() -> None:
    raw = {name: np.zeros(1) for name in counters.Raw._fields}
    X = features.build(raw)
    assert np.isnan(X[0, [features.NAMES.index(name) for name in ("text_score", "position", "device")]]).all()
    assert features.device_code("desktop") == 0.0
    assert np.isnan(features.device_code("unknown"))
