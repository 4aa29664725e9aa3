"""The Upworthy Research Archive: 3,983 randomised headline tests as campaigns, their arms as creatives.

Each row of the file becomes one creative with one statistic (source upworthy, no slot, the first day of its
test's week), so that the platform's totals are exactly the file's. None of it can be billed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Creative
from adplatform.demo.datasets import taken_over
from adplatform.demo.datasets.rows import ImportReport, numbers, read_table, sift, texts
from adplatform.events.models import HourlyStat
from adplatform.learning import embeddings
from ml.schema import Floats, Ints, Mask
from ml.text import headlines

SOURCE = "upworthy"
OWNER = "Upworthy archive"
LANDING_URL = "https://www.upworthy.com/"
FILE = "upworthy_dev.parquet"
COLUMNS = ("clickability_test_id", "headline", "impressions", "clicks", "test_week", "eyecatcher_id")
BATCH = 2_000
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Arm:
    """One package of one test: what was shown, and how often it was shown and clicked in the week."""

    test: str
    key: str
    headline: str
    week: int
    impressions: int
    clicks: int


def load(path: Path) -> ImportReport:
    """Validate the file and take it over."""
    table = read_table(path, usual_name=FILE, columns=COLUMNS)
    report = ImportReport(read=len(table))
    columns = {name: texts(table[name]) for name in ("clickability_test_id", "headline", "eyecatcher_id")}
    counts = {name: numbers(table[name]) for name in ("impressions", "clicks", "test_week")}
    good = sift(report, faults(columns, counts))
    arms = list(_arms(columns, counts, good))
    owner = taken_over.organisation(name=OWNER, currency="USD")
    report.added = taken_over.take_over(owner, _flights(arms), source=SOURCE, landing_url=LANDING_URL)
    report.added["statistics"] = _add_statistics(owner, arms)
    return report


def faults(columns: Mapping[str, Any], counts: Mapping[str, Floats]) -> list[tuple[str, Mask]]:
    """What makes a row unusable, in the order in which it is looked for."""
    impressions, clicks = counts["impressions"], counts["clicks"]
    with np.errstate(invalid="ignore"):
        whole = (impressions == np.floor(impressions)) & (clicks == np.floor(clicks))
        return [
            ("the test has no id", columns["clickability_test_id"] == ""),
            ("the headline is empty", columns["headline"] == ""),
            ("impressions or clicks are not whole numbers", ~whole),
            ("a count is negative", (impressions < 0) | (clicks < 0)),
            ("more clicks than impressions", clicks > impressions),
            (
                "the week is not a week (YYYYWW)",
                np.array([first_day(week) is None for week in counts["test_week"].tolist()]),
            ),
        ]


def first_day(week: float) -> datetime | None:
    """The first moment of a week written as YYYYWW; None for what is none.

    Weeks begin on Monday; 00 are the days before the year's first Monday (strftime's %W, as the archive has them).
    """
    if not (week == week and 200_000 <= week < 210_000):  # noqa: PLR0124 - NaN
        return None
    year, number = divmod(int(week), 100)
    new_year = datetime(year, 1, 1, tzinfo=UTC)
    found = new_year + timedelta(days=(7 - new_year.weekday()) % 7, weeks=number - 1) if number else new_year
    return found if _week(found) == week else None


def evaluate() -> tuple[list[str], dict[str, Any]]:
    """Train on the earlier weeks, report on the later ones beside simpler models."""
    table = headlines.merge_arms(imported())
    vectors = embeddings.vectors(list(table.headline))
    spoken = embeddings.has_vector(vectors)
    table = _take(table, spoken)
    figures = headlines.report(table, vectors[spoken])
    return list(_lines(figures)), {"arms": len(table), "models": figures}


def imported() -> headlines.Headlines:
    """The tests as the platform holds them."""
    stats = HourlyStat.objects.filter(source=SOURCE).order_by("creative_id")
    rows = list(stats.values_list("creative_id", "campaign_id", "impressions", "clicks", "hour"))
    text = dict(Creative.objects.filter(line_item__campaign__source=SOURCE).values_list("pk", "headline"))
    return headlines.Headlines(
        test=np.array([row[1] for row in rows], dtype=object),
        headline=[text[row[0]] for row in rows],
        impressions=np.array([row[2] for row in rows], np.float64),
        clicks=np.array([row[3] for row in rows], np.float64),
        week=np.array([_week(row[4]) for row in rows], np.int64),
    )


def _arms(columns: Mapping[str, Any], counts: Mapping[str, Floats], good: Mask) -> Iterator[Arm]:
    """The good rows. A key tells arms of one test apart; equal packages are numbered in the file's order."""
    met: Counter[str] = Counter()
    for row in np.flatnonzero(good).tolist():
        test, headline = columns["clickability_test_id"][row], columns["headline"][row]
        package = f"{test} {headline} {columns['eyecatcher_id'][row]}"
        met[package] += 1
        digest = hashlib.sha256(f"{package} {met[package]}".encode()).hexdigest()
        impressions, clicks = int(counts["impressions"][row]), int(counts["clicks"][row])
        yield Arm(test, digest[:24], headline, int(counts["test_week"][row]), impressions, clicks)


def _flights(arms: list[Arm]) -> list[taken_over.Flight]:
    by_test: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        by_test[arm.test].append(arm)
    return [
        taken_over.Flight(
            name=f"Test {test}",
            start_at=_start(min(arm.week for arm in members)),
            end_at=_start(max(arm.week for arm in members)) + WEEK,
            ads=[taken_over.Ad(arm.key, arm.headline) for arm in members],
        )
        for test, members in by_test.items()
    ]


def _add_statistics(owner: Organisation, arms: list[Arm]) -> int:
    ids = taken_over.creative_ids(owner, source=SOURCE)
    before = HourlyStat.objects.filter(source=SOURCE).count()
    rows = []
    for arm in arms:
        creative, line_item, campaign = ids[f"Test {arm.test}", arm.key]
        rows.append(
            HourlyStat(
                hour=_start(arm.week),
                advertiser_id=owner.pk,
                campaign_id=campaign,
                line_item_id=line_item,
                creative_id=creative,
                currency=owner.currency,
                source=SOURCE,
                impressions=arm.impressions,
                clicks=arm.clicks,
            )
        )
    HourlyStat.objects.bulk_create(rows, batch_size=BATCH, ignore_conflicts=True)
    return HourlyStat.objects.filter(source=SOURCE).count() - before


def _start(week: int) -> datetime:
    found = first_day(week)
    assert found is not None, "the row was validated"
    return found


def _week(day: datetime) -> int:
    return int(day.strftime("%Y%W"))


def _take(table: headlines.Headlines, rows: Mask) -> headlines.Headlines:
    kept: Ints = np.flatnonzero(rows)
    return headlines.Headlines(
        test=table.test[kept],
        headline=[table.headline[row] for row in kept.tolist()],
        impressions=table.impressions[kept],
        clicks=table.clicks[kept],
        week=table.week[kept],
    )


NAMES = {
    "prior": "prior",
    "tfidf_ridge": "TF-IDF ridge",
    "embedding_ridge": "frozen-embedding ridge",
    "ours_transformer_alone": "transformer (matcher)",
    "ours": "ours (transformer, words)",
}


def _lines(figures: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    ours = figures["ours"]
    yield (
        f"Later weeks, which no model has seen: {ours['pairs']:,.0f} pairs of arms, {ours['pairs_strong']:,.0f} of them"
        " with |z| > 2.58"
    )
    titles = ("model", "pairwise", "95 % interval", "|z| > 2.58", "AUC", "NE", "calibration", "pick ÷ mean")
    yield f"{titles[0]:28}{titles[1]:>10}{titles[2]:>17}" + "".join(f"{title:>13}" for title in titles[3:])
    for name, row in figures.items():
        interval = f"{row['pairwise_low']:.3f} – {row['pairwise_high']:.3f}"
        rest = [row[key] for key in ("pairwise_strong", "auc", "ne", "calibration", "pick_lift")]
        yield f"{NAMES[name]:28}{row['pairwise']:10.3f}{interval:>17}" + "".join(
            f"{value:13.3f}" for value in rest
        )
