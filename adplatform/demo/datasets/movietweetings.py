"""MovieTweetings: people who rated films on Twitter, as consenting visitors who saw a film's page and liked it or not.

Each rating becomes a READ act (it feeds the profile) and a decision with its impression, and a click where the rating
is 8 or more. Films are creatives that never serve, their genres the second line. The rating itself is kept only as
that yes or no.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adplatform.audience import services as audience
from adplatform.audience.models import Behaviour
from adplatform.campaigns.models import Creative
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.datasets import click_report, logged, taken_over
from adplatform.demo.datasets.rows import DatasetError, ImportReport, numbers, read_table, sift, texts
from ml.schema import Mask
from ml.table.reading import Meaning

SOURCE = "movietweet"  # the facts' column holds ten letters
OWNER = "MovieTweetings"
CATALOGUE = "Films"
CURRENCY = "USD"
LANDING_URL = "https://github.com/sidooms/MovieTweetings"
RATINGS, FILMS = "ratings_100k.parquet", "movies.parquet"
LIKED = 8  # of ten
TEST_SHARE = 0.2  # of the time-ordered rows
FEWEST_ROWS = 200
EARLIEST, LATEST = 1_356_998_400, 4_102_444_800  # 2013, when the collection began, and 2100


def load(path: Path) -> ImportReport:
    """Validate ratings and films (of the folder, or beside the ratings' file) and take them over."""
    table = read_table(path, usual_name=RATINGS, columns=("user_id", "movie_id", "rating", "timestamp"))
    films = _films(path if path.is_dir() else path.parent)
    report = ImportReport(read=len(table))
    rows = pd.DataFrame(
        {
            "person": texts(table["user_id"]),
            "film": texts(table["movie_id"]),
            "rating": numbers(table["rating"]),
            "time": numbers(table["timestamp"]),
        }
    )
    good = rows[sift(report, faults(rows, films))]
    report.added = _take_over(good, films)
    return report


def faults(rows: pd.DataFrame, films: pd.DataFrame) -> list[tuple[str, Mask]]:
    """What makes a rating unusable, in the order in which it is looked for."""

    def mask(found: Any) -> Mask:
        answer: Mask = np.asarray(found, dtype=np.bool_)
        return answer

    rating, time = rows["rating"], rows["time"]
    return [
        ("no user", mask(rows["person"] == "")),
        ("the film is not in the list of films", mask(~rows["film"].isin(films.index))),
        ("the rating is not a whole number from 0 to 10", mask(~rating.isin(range(11)))),
        ("the time is not seconds since 1970 in this century", mask(~((time >= EARLIEST) & (time < LATEST)))),
        (
            "the same person rated the film at the same time before",
            mask(rows.duplicated(["person", "film", "time"])),
        ),
    ]


def evaluate() -> tuple[list[str], dict[str, Any]]:
    """Fit on the first four fifths of time; labels of the last fifth become known to later rows only."""
    table = logged.imported(SOURCE)
    if len(table) < FEWEST_ROWS or table["clicked"].nunique() < 2:
        return [f"Fewer than {FEWEST_ROWS} ratings, or all alike: nothing to compare."], {}
    genres = dict(Creative.objects.filter(pk__in=table["creative"].unique()).values_list("pk", "body"))
    table["genres"] = table["creative"].map(genres).str.replace(", ", "|")
    moment = table["at"].iloc[int(len(table) * (1 - TEST_SHARE))]
    is_test = (table["at"] >= moment).to_numpy()
    meaning = Meaning(
        label="clicked", time="at", user="visitor", item="creative", categorical=("genres",), progressive=True
    )
    judged = click_report.judge(
        table[~is_test],
        table[is_test],
        meaning,
        simple={by: click_report.rate_so_far(table, is_test, by) for by in ("creative", "visitor")},
    )
    found = click_report.figures(judged)
    names = {
        "prior": "prior",
        "creative": "the film's share so far",
        "visitor": "the person's share so far",
        "ours": "ours",
    }
    return list(click_report.lines(found, names, about=f"Rated {LIKED} or more, last fifth of time")), found


def _films(folder: Path) -> pd.DataFrame:
    """Title and genres by the film's number as text."""
    table = read_table(folder / FILMS, usual_name=FILMS, columns=("movie_id", "title", "genres"))
    films = pd.DataFrame({name: texts(table[name]) for name in ("title", "genres")})
    films.index = pd.Index(texts(table["movie_id"]))
    films = films[(films.index != "") & (films["title"] != "")]
    if films.empty:
        raise DatasetError(f"{folder / FILMS}: names no film.")
    return films[~films.index.duplicated()]


def _take_over(rows: pd.DataFrame, films: pd.DataFrame) -> dict[str, int]:
    if rows.empty:
        names = ("visitors", "behaviours", "campaigns", "creatives", "decisions", "impressions", "clicks")
        return dict.fromkeys(names, 0)
    known = {person: pseudonym(f"{SOURCE}:{person}") for person in rows["person"].unique()}
    rows = rows.assign(
        visitor=rows["person"].map(known), at=pd.to_datetime(rows["time"], unit="s", utc=True)
    ).sort_values(["time", "person", "film"], kind="stable")
    spans = rows.groupby("visitor")["at"].agg(first="min", last="max")
    visitors = logged.agree(spans, source=SOURCE, evidence="Open data (MIT), Twitter ids left out")
    last = rows["at"].max().to_pydatetime()
    acts = [
        audience.Act(row.visitor, Behaviour.Kind.READ, row.film, films["title"][row.film], _moment(row.time))
        for row in rows.itertuples()
    ]
    added = {"visitors": visitors, "behaviours": audience.record_behaviours(acts, at=last)}
    owner = taken_over.organisation(name=OWNER, currency=CURRENCY)
    shown = films.loc[sorted(rows["film"].unique())]
    ads = [taken_over.Ad(row.Index, row.title, row.genres.replace("|", ", ")) for row in shown.itertuples()]
    flight = taken_over.Flight(CATALOGUE, rows["at"].min().to_pydatetime(), last + timedelta(days=1), ads)
    added |= taken_over.take_over(owner, [flight], source=SOURCE, landing_url=LANDING_URL)
    slots = logged.places(name=OWNER, currency=CURRENCY, positions=(1,))
    ids = taken_over.creative_ids(owner, source=SOURCE)
    return added | logged.record(_shown(rows, ids), slots, source=SOURCE, advertiser=owner)


def _shown(rows: pd.DataFrame, ids: dict[tuple[str, str], tuple[int, int, int]]) -> Iterator[logged.Shown]:
    for row in rows.itertuples():
        creative, line_item, campaign = ids[CATALOGUE, row.film]
        key = f"{row.person} {row.film} {row.time:.0f}"
        yield logged.Shown(
            key=key,
            request=key,
            at=_moment(row.time),
            position=1,
            visitor=row.visitor,
            creative_id=creative,
            line_item_id=line_item,
            campaign_id=campaign,
            is_clicked=row.rating >= LIKED,
        )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
