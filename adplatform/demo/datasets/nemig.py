"""NeMig: participants of a study with what they had read, and slates of news of which they picked at most one.

A participant becomes a consenting visitor, each article of the history a READ act at the day on which it appeared (the
file has no times of reading), each candidate of a slate a decision at its place with its impression, and a click where
it was picked. The file has no times of slates either: they follow one another by their number, after the newest
article. Age, gender and origin stay outside: the platform keeps no such thing of a visitor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adplatform.audience import services as audience
from adplatform.audience.models import Behaviour, Visitor
from adplatform.campaigns.models import Creative
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.datasets import click_report, logged, taken_over
from adplatform.demo.datasets.rows import DatasetError, ImportReport, numbers, read_table, sift, texts
from ml.schema import Mask
from ml.table.reading import Meaning

SOURCE = "nemig"
OWNER = "NeMig"
FLIGHT = "News"
CURRENCY = "USD"
LANDING_URL = "https://github.com/andreeaiana/nemig"
BEHAVIOURS, NEWS = "en_behaviors.parquet", "en_news.parquet"
CANDIDATE = re.compile(r"(\S+)-([01])")
STUDY = datetime(2023, 1, 1, tzinfo=UTC)  # later than every article: where the slates are put
PLACES = 20
TEST_SHARE = 0.2  # of the participants
FEWEST_ROWS = 200
LONGEST_TEXT = 1_000


def load(path: Path) -> ImportReport:
    """Validate slates and news (of the folder, or beside the slates' file) and take them over."""
    columns = ("impression_id", "user_id", "history", "impressions")
    table = read_table(path, usual_name=BEHAVIOURS, columns=columns)
    news = _news(path if path.is_dir() else path.parent)
    report = ImportReport(read=len(table))
    rows = pd.DataFrame(
        {
            "slate": numbers(table["impression_id"]),
            "person": texts(table["user_id"]),
            "history": [text.split() for text in texts(table["history"])],
            "candidates": [_candidates(text) for text in texts(table["impressions"])],
        }
    )
    good = rows[sift(report, faults(rows, news))]
    report.added = _take_over(good, news)
    return report


def faults(rows: pd.DataFrame, news: pd.DataFrame) -> list[tuple[str, Mask]]:
    """What makes a slate unusable, in the order in which it is looked for."""

    def mask(found: Any) -> Mask:
        answer: Mask = np.asarray(found, dtype=np.bool_)
        return answer

    known, candidates = set(news.index), rows["candidates"].tolist()
    number = rows["slate"]
    return [
        ("the slate has no number", mask(~((number >= 0) & (number == np.floor(number))))),
        ("the slate's number was met before", mask(rows.duplicated("slate"))),
        ("no user", mask(rows["person"] == "")),
        ("a candidate is not written as news-0 or news-1", mask([one is None for one in candidates])),
        (
            f"it has no candidate or more than {PLACES}",
            mask([one is not None and not 0 < len(one) <= PLACES for one in candidates]),
        ),
        (
            "more than one candidate was picked",
            mask([sum(c for _, c in one or ()) > 1 for one in candidates]),
        ),
        (
            "a candidate is not in the news",
            mask([any(key not in known for key, _ in one or ()) for one in candidates]),
        ),
        (
            "an article of the history is not in the news",
            mask([not known.issuperset(h) for h in rows["history"]]),
        ),
    ]


def evaluate(*, seed: int = 0) -> tuple[list[str], dict[str, Any]]:
    """Fit on four fifths of the participants, judge on the slates of the others."""
    table = logged.imported(SOURCE)
    if len(table) < FEWEST_ROWS or table["clicked"].nunique() < 2:
        return [f"Fewer than {FEWEST_ROWS} candidates, or all alike: nothing to compare."], {}
    table = _described(table)
    people = np.sort(table["visitor"].unique())
    tested = np.random.default_rng(seed).permutation(people)[: round(len(people) * TEST_SHARE)]
    is_test = table["visitor"].isin(tested).to_numpy()
    train, test = table[~is_test], table[is_test]
    # No user column: those who are judged have no history, and features of one would be learned for nobody.
    meaning = Meaning(
        label="clicked",
        item="creative",
        group="request",
        text=("title",),
        categorical=("read",),
        numeric=("position", "slate_size", "likeness"),
    )
    simple = {by: click_report.rate(train, test, by) for by in ("position", "creative")}
    found = click_report.figures(click_report.judge(train, test, meaning, simple=simple))
    names = {
        "prior": "prior",
        "position": "the place's share",
        "creative": "the article's share",
        "ours": "ours",
    }
    return list(
        click_report.lines(found, names, about="Picked of a slate, participants not seen before")
    ), found


def _described(table: pd.DataFrame) -> pd.DataFrame:
    """With what is known of each candidate: its title, the slate's size, what its reader had read."""
    titles = dict(Creative.objects.filter(pk__in=table["creative"].unique()).values_list("pk", "headline"))
    acts = Behaviour.objects.filter(visitor__in=Visitor.objects.filter(source=SOURCE))
    read: dict[str, set[str]] = {}
    texts_of: dict[str, list[str]] = {}
    for visitor, item, text in acts.values_list("visitor__pseudonym", "item", "text").iterator():
        read.setdefault(visitor, set()).add(item)
        texts_of.setdefault(visitor, []).append(text)
    words = {visitor: set(" ".join(found).lower().split()) for visitor, found in texts_of.items()}
    title = table["creative"].map(titles)
    return table.assign(
        title=title,
        slate_size=table.groupby("request")["creative"].transform("size"),
        read=["|".join(sorted(read.get(visitor, ()))) for visitor in table["visitor"]],
        likeness=[
            _shared(text, words.get(visitor, set()))
            for text, visitor in zip(title, table["visitor"], strict=True)
        ],
    )


def _shared(title: str, words: set[str]) -> float:
    """Share of the title's words that occur in what was read."""
    own = title.lower().split()
    return sum(word in words for word in own) / max(len(own), 1)


def _candidates(text: str) -> list[tuple[str, bool]] | None:
    """(news, picked) of each candidate; None where one is malformed."""
    found = [CANDIDATE.fullmatch(word) for word in text.split()]
    if not all(found):
        return None
    return [(one[1], one[2] == "1") for one in found if one]


def _news(folder: Path) -> pd.DataFrame:
    """Title, abstract and day of appearance by the article's key."""
    table = read_table(folder / NEWS, usual_name=NEWS, columns=("news_id", "title", "abstract", "published"))
    news = pd.DataFrame({name: texts(table[name]) for name in ("title", "abstract")})
    days = pd.to_datetime(pd.Series(texts(table["published"])), format="%d.%m.%Y", errors="coerce", utc=True)
    news["at"] = days.where(days < STUDY, STUDY - timedelta(days=1)).to_numpy()
    news.index = pd.Index(texts(table["news_id"]))
    news = news[(news.index != "") & (news["title"] != "")]
    if news.empty:
        raise DatasetError(f"{folder / NEWS}: names no article.")
    return news[~news.index.duplicated()]


def _take_over(rows: pd.DataFrame, news: pd.DataFrame) -> dict[str, int]:
    if rows.empty:
        names = ("visitors", "behaviours", "campaigns", "creatives", "decisions", "impressions", "clicks")
        return dict.fromkeys(names, 0)
    known = {person: pseudonym(f"{SOURCE}:{person}") for person in rows["person"].unique()}
    rows = rows.assign(visitor=rows["person"].map(known)).sort_values("slate", kind="stable")
    moments = {key: at.to_pydatetime().replace(tzinfo=UTC) for key, at in news["at"].items()}
    read = rows[["visitor", "history"]].explode("history").dropna().drop_duplicates()
    first = min(moments.values())
    last = STUDY + timedelta(seconds=float(rows["slate"].max()))
    spans = pd.DataFrame(
        {"first": pd.Timestamp(first), "last": pd.Timestamp(last)}, index=list(known.values())
    )
    visitors = logged.agree(
        spans, source=SOURCE, evidence="Study data (CC BY-NC-SA 4.0), not for commercial use"
    )
    acts = [
        audience.Act(
            row.visitor, Behaviour.Kind.READ, row.history, news["title"][row.history], moments[row.history]
        )
        for row in read.itertuples()
    ]
    added = {"visitors": visitors, "behaviours": audience.record_behaviours(acts, at=last)}
    owner = taken_over.organisation(name=OWNER, currency=CURRENCY)
    shown = news.loc[sorted({key for one in rows["candidates"] for key, _ in one})]
    ads = [taken_over.Ad(row.Index, row.title, row.abstract[:LONGEST_TEXT]) for row in shown.itertuples()]
    flight = taken_over.Flight(FLIGHT, first, last + timedelta(days=1), ads)
    added |= taken_over.take_over(owner, [flight], source=SOURCE, landing_url=LANDING_URL)
    most = max(len(one) for one in rows["candidates"])
    slots = logged.places(name=OWNER, currency=CURRENCY, positions=range(1, most + 1))
    ids = taken_over.creative_ids(owner, source=SOURCE)
    return added | logged.record(_shown(rows, ids), slots, source=SOURCE, advertiser=owner)


def _shown(rows: pd.DataFrame, ids: dict[tuple[str, str], tuple[int, int, int]]) -> Iterator[logged.Shown]:
    for row in rows.itertuples():
        slate = str(int(row.slate))
        for place, (key, is_picked) in enumerate(row.candidates, start=1):
            creative, line_item, campaign = ids[FLIGHT, key]
            yield logged.Shown(
                key=f"{slate} {place}",
                request=slate,
                at=STUDY + timedelta(seconds=row.slate),
                position=place,
                visitor=row.visitor,
                creative_id=creative,
                line_item_id=line_item,
                campaign_id=campaign,
                is_clicked=is_picked,
            )
