"""Planted faults are found at the sizes told here; clean logs raise nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ml.quality import leakage
from ml.quality.bounds import binomial_bounds
from ml.quality.drift import shift
from ml.quality.examine import examine, feature_columns
from ml.quality.report import Report, Severity, Thresholds
from ml.schema import ImpressionLog
from tests.ml.logs import DAY, START, world

WARN, ALARM, REFUSE = Severity.WARN, Severity.ALARM, Severity.REFUSE


def clean(*, rows: int = 4_000, seed: int = 0) -> ImpressionLog:
    return world(rows=rows, seed=seed)[0]


def joined(log: ImpressionLog, more: ImpressionLog) -> ImpressionLog:
    names = ("time", "click_time", "creative", "line_item", "slot", "visitor")
    columns = {name: np.concatenate([getattr(log, name), getattr(more, name)]) for name in names}
    context = {name: np.concatenate([log.context[name], more.context[name]]) for name in log.context}
    return ImpressionLog(**columns, context=context)


def robot(log: ImpressionLog, *, gap: Callable[[np.random.Generator], float], count: int, click: float):
    """The log with one visitor more, who comes after each `gap` and clicks with this probability."""
    rng = np.random.default_rng(5)
    rows = log.take(rng.integers(0, len(log), count))
    time = START + DAY + np.cumsum([gap(rng) for _ in range(count)])
    clicks = np.where(rng.random(count) < click, time + 1.0, np.nan)
    return joined(
        log, replace(rows, time=time, click_time=clicks, visitor=np.full(count, "robot", dtype=object))
    )


def loud(report: Report) -> dict[tuple[str, str], Severity]:
    return {(one.check, one.subject): one.severity for one in report.findings if one.severity != "ok"}


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_log_raises_nothing(seed: int) -> None:
    log = clean(rows=(800, 4_000)[seed % 2], seed=seed)
    assert loud(examine(log, at=log.time.max())) == {}


def test_no_rows_no_findings() -> None:
    assert examine(clean().take(np.zeros(4_000, bool))).as_dict() == {
        "rows": 0,
        "severity": "ok",
        "refusals": [],
        "findings": [],
    }


@pytest.mark.parametrize(("share", "severity"), [(0.02, WARN), (0.3, REFUSE)])
def test_repeats(share: float, severity: Severity) -> None:
    log = clean()
    known = np.flatnonzero([visitor is not None for visitor in log.visitor])[: int(len(log) * share)]
    found = examine(joined(log, log.take(known)))
    assert loud(found)["duplicates", "rows"] is severity
    assert found.of("duplicates")[0].details["rows"] == len(known)


@pytest.mark.parametrize(("share", "severity"), [(0.002, WARN), (0.08, REFUSE)])
def test_clicks_before_their_impression_and_rows_from_the_future(share: float, severity: Severity) -> None:
    log = clean()
    wrong = int(len(log) * share / 2)
    click_time = log.click_time.copy()
    click_time[:wrong] = log.time[:wrong] - 10
    log = replace(log, click_time=click_time)
    at = float(np.sort(log.time)[-wrong - 1])
    finding = examine(log, at=at - Thresholds().clock_seconds).of("impossible times")[0]
    assert finding.severity is severity
    assert finding.details["clicked before it was shown"] == wrong
    assert finding.details["in the future"] >= wrong


def test_a_server_clock_five_minutes_ahead_is_not_the_future() -> None:
    log = clean()
    assert loud(examine(log, at=float(log.time.max()) - 299)) == {}


def test_impressions_off_their_flight() -> None:
    log = clean()
    flights = {item: (START + 4 * DAY, np.inf) for item in np.unique(log.line_item).tolist()[:2]}
    report = examine(log, flights=flights)
    assert loud(report) == {("impossible times", "flights"): WARN}


def test_a_field_that_stopped_coming() -> None:
    log = clean()
    device = np.where(log.time > log.time.max() - DAY, np.nan, log.context["device"])
    report = examine(replace(log, context={**log.context, "device": device}))
    assert loud(report)["missing values", "device"] is ALARM
    assert report.refusals == []


def test_rows_without_their_ad_cannot_be_learned_from() -> None:
    log = clean()
    creative = log.creative.astype(object)
    creative[:100] = None
    assert loud(examine(replace(log, creative=creative)))["missing values", "creative"] is REFUSE


def hurried(rng: np.random.Generator) -> float:
    return float(rng.exponential(600))


def clockwork(rng: np.random.Generator) -> float:
    return 30.0 + float(rng.normal()) * 0.5


def frantic(rng: np.random.Generator) -> float:
    return float(rng.exponential(1.0)) + 0.2


@pytest.mark.parametrize(
    ("sign", "gap", "click"),
    [
        ("a click rate that nobody has", hurried, 0.97),
        ("requests as regular as a clock", clockwork, 0.2),
        ("more requests in a minute than a person makes", frantic, 0.2),
    ],
)
def test_a_robot_shows_itself(sign: str, gap: Callable[[np.random.Generator], float], click: float) -> None:
    finding = examine(robot(clean(), gap=gap, count=120, click=click)).of("bots")[0]
    assert finding.details[sign] == 120
    assert "1 visitors (robot)" in finding.words


def test_a_reader_who_clicks_as_others_do_is_no_robot() -> None:
    assert examine(robot(clean(), gap=hurried, count=120, click=0.3)).of("bots")[0].details["rows"] == 0


def test_robots_without_a_visitor_show_in_their_slot() -> None:
    log = robot(clean(), gap=hurried, count=300, click=0.97)
    is_robot = log.visitor == "robot"
    log = replace(
        log,
        visitor=np.where(is_robot, None, log.visitor),
        slot=np.where(is_robot, 99, log.slot),
    )
    finding = examine(log).of("bots")[0]
    assert (finding.details["rows"], finding.severity) == (300, REFUSE)
    assert "traffic without visitor in 1 slots (99)" in finding.words


def test_a_value_in_another_unit_is_far_out() -> None:
    rng = np.random.default_rng(0)
    amounts = rng.normal(15, 1, 1_000)
    amounts[:20] += np.log(1e6)
    report = examine(clean(), columns={"log of a value": amounts})
    assert loud(report) == {("outliers", "log of a value"): WARN}


def test_a_slot_that_nobody_ever_clicked() -> None:
    log = clean(rows=12_000)
    report = examine(replace(log, click_time=np.where(log.slot == 1, np.nan, log.click_time)))
    assert ("outliers", "click rate by slot") in loud(report)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_feature_that_knows_the_label(noise: float) -> None:
    log = clean()
    rng = np.random.default_rng(0)
    told = np.where(rng.random(len(log)) < noise, 0.0, log.clicked)
    (finding,) = leakage.leaks(log, {"billed": told, "hour": log.context["hour"]}, Thresholds())
    assert (finding.subject, finding.severity) == ("billed", REFUSE)
    assert finding.details["null"] < 0.6


def test_a_label_that_hides_in_what_is_missing() -> None:
    log = clean()
    (finding,) = leakage.leaks(log, {"landing": np.where(log.clicked > 0, 1.0, np.nan)}, Thresholds())
    assert (finding.subject, finding.severity) == ("landing", REFUSE)


def test_the_feature_function_passes_the_label_flip() -> None:
    assert leakage.label_flip(feature_columns, clean()) == []


def test_an_in_sample_click_rate_does_not() -> None:
    def leaky(log: ImpressionLog) -> dict[str, np.ndarray]:
        clicks = np.bincount(log.creative, log.clicked)
        return {
            "rate": (clicks / np.maximum(np.bincount(log.creative), 1))[log.creative],
            "hour": log.context["hour"],
        }

    assert leakage.label_flip(leaky, clean()) == ["rate"]


@pytest.mark.parametrize(("share", "severity"), [(0.5, ALARM), (0.0, None)])
def test_a_mix_that_changed_overnight(share: float, severity: Severity | None) -> None:
    log = clean(rows=12_000)
    rng = np.random.default_rng(0)
    moved = (log.time > log.time.max() - DAY) & (rng.random(len(log)) < share)
    device = np.where(moved, 2.0, log.context["device"])
    report = examine(replace(log, context={**log.context, "device": device}))
    assert loud(report).get(("drift", "device")) is severity
    assert report.refusals == []


def test_population_stability_of_a_known_shift() -> None:
    before, now = np.repeat([0.0, 1.0], [5_000, 5_000]), np.repeat([0.0, 1.0], [3_000, 7_000])
    # (0.3 - 0.5) ln(0.3 / 0.5) + (0.7 - 0.5) ln(0.7 / 0.5)
    assert shift(before, now).psi == pytest.approx(0.1695, abs=1e-3)
    assert shift(before, now).ks == pytest.approx(0.2)


def test_a_day_without_clicks_is_seen_and_a_log_without_clicks_refused() -> None:
    log = clean()
    newest = log.time > log.time.max() - DAY
    quiet = examine(replace(log, click_time=np.where(newest, np.nan, log.click_time)))
    assert loud(quiet)["class balance", "newest day"] is ALARM
    none = examine(replace(log, click_time=np.full(len(log), np.nan)))
    assert loud(none)["class balance", "clicks"] is REFUSE


def test_thresholds_are_the_callers() -> None:
    log = clean()
    report = examine(log, limits=Thresholds(fewest_clicks_warn=10_000))
    assert loud(report) == {("class balance", "clicks"): WARN}


def test_exact_bounds() -> None:
    # Clopper and Pearson for 0 of 10 and 3 of 10 at 95 %.
    low, high = binomial_bounds([0, 3], [10, 10], alpha=0.05)
    assert low == pytest.approx([0.0, 0.0667], abs=1e-4)
    assert high == pytest.approx([0.3085, 0.6525], abs=1e-4)
