"""The public sets as train and test tables: one split, one seed, the same rows for us and for every peer.

`python -m bench.ctr.sets FOLDER [names…]` writes FOLDER/<set>/train.parquet, test.parquet and options.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Frame = Any  # pandas.DataFrame
TEST_SHARE = 0.2
SEED = 31
FIRST_VALIDATION_WEEK, FIRST_TEST_WEEK = 201438, 201444


@dataclass(frozen=True)
class Options:
    """Which column means what, as `python -m ml fit-predict` takes it."""

    label: str | None = None
    clicks: str | None = None
    impressions: str | None = None
    time: str | None = None
    user: str | None = None
    item: str | None = None
    group: str | None = None
    text: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    progressive: bool = False

    def arguments(self) -> list[str]:
        """The command line that says the same."""
        words: list[str] = []
        for name, value in asdict(self).items():
            if value is True:
                words.append(f"--{name}")
            elif isinstance(value, list):
                words += [f"--{name}", *value] if value else []
            elif value:
                words += [f"--{name}", str(value)]
        return words


@dataclass(frozen=True)
class Prepared:
    """A set, split. `validate_from`: the time from which training rows choose settings; None: their last share."""

    name: str
    train: Frame
    test: Frame
    options: Options
    cluster: str  # rows of one value are drawn together by the bootstrap
    validate_from: float | None = None
    segments: list[str] = field(default_factory=list)
    has_bar: bool = True

    def write(self, folder: Path) -> None:
        """train.parquet, test.parquet and options.json."""
        folder.mkdir(parents=True, exist_ok=True)
        self.train.to_parquet(folder / "train.parquet", index=False)
        self.test.to_parquet(folder / "test.parquet", index=False)
        said = {
            **asdict(self.options),
            "set": self.name,
            "cluster": self.cluster,
            "validate_from": self.validate_from,
            "arguments": self.options.arguments(),
        }
        (folder / "options.json").write_text(json.dumps(said, indent=1))


def upworthy(folder: Path) -> Prepared:
    """Headline tests; arms of one test with the same headline are one arm, a test belongs to its last week."""
    import pandas as pd

    table = pd.read_parquet(folder / "upworthy_dev.parquet")
    table = table.rename(columns={"clickability_test_id": "test", "test_week": "week"})
    table["week"] = table.groupby("test")["week"].transform("max")
    arms = table.groupby(["test", "headline"], sort=False, as_index=False).agg(
        impressions=("impressions", "sum"), clicks=("clicks", "sum"), week=("week", "first")
    )
    arms = arms[arms["impressions"] > 0].sort_values("week", kind="stable")
    is_test = arms["week"] >= FIRST_TEST_WEEK
    return Prepared(
        name="upworthy",
        train=arms[~is_test],
        test=arms[is_test],
        options=Options(
            clicks="clicks",
            impressions="impressions",
            time="week",
            group="test",
            text=["headline"],
            progressive=True,
        ),
        cluster="test",
        validate_from=FIRST_VALIDATION_WEEK,
        segments=["week"],
    )


def movietweetings(folder: Path) -> Prepared:
    """Film ratings: is it at least 8? The last fifth of the ratings is the test."""
    import pandas as pd

    ratings = pd.read_parquet(folder / "ratings_100k.parquet")
    table = ratings.merge(pd.read_parquet(folder / "movies.parquet"), on="movie_id", how="left")
    table["liked"] = (table.pop("rating") >= 8).astype(int)
    table = table.sort_values("timestamp", kind="stable")
    train, test = _by_time(table, "timestamp")
    return Prepared(
        name="movietweetings",
        train=train,
        test=test,
        options=Options(
            label="liked",
            time="timestamp",
            user="user_id",
            item="movie_id",
            text=["title"],
            categorical=["genres"],
            progressive=True,
        ),
        cluster="user_id",
        segments=["genres", "movie_id", "timestamp"],
    )


def online_retail_ii(folder: Path) -> Prepared:
    """The next purchase of a visitor among 21 candidates; the last fifth of the purchases is the test."""
    import pandas as pd

    from bench.ctr.candidates import candidate_table, order_lines

    sheet = pd.read_parquet(folder / "online_retail_ii_2009_2010.parquet")
    train, test = _by_time(candidate_table(order_lines(sheet), seed=SEED), "at")
    return Prepared(
        name="online_retail_ii",
        train=train,
        test=test,
        options=Options(
            label="bought",
            time="at",
            user="visitor",
            item="product",
            group="group",
            text=["description"],
            categorical=["country"],
            numeric=["price"],
            progressive=True,
        ),
        cluster="visitor",
        segments=["country", "price", "at"],
    )


def nemig_nc(folder: Path) -> Prepared:
    """News slates of a survey: a fifth of the people is the test. No times, so no history beyond the one given.

    What a person had read before is given as sets of subtopics and publishers; the place in the slate counts most.
    """
    import pandas as pd

    behaviours = pd.read_parquet(folder / "en_behaviors.parquet")
    news = pd.read_parquet(folder / "en_news.parquet").drop_duplicates("news_id").set_index("news_id")
    people = pd.read_parquet(folder / "en_demo.parquet").rename(columns={"uid": "user_id"})
    behaviours["candidate"] = behaviours["impressions"].str.split()
    behaviours["slate_size"] = behaviours["candidate"].str.len()
    behaviours["read"] = behaviours["history"].fillna("").str.split()
    for column in ("subtopic", "publisher"):
        known = news[column].to_dict()
        behaviours[f"read_{column}"] = [
            "|".join(sorted({known[item] for item in read if item in known})) for read in behaviours["read"]
        ]
    rows = behaviours.drop(columns=["impressions", "history", "read"]).explode("candidate")
    rows["position"] = rows.groupby("impression_id").cumcount()
    rows[["news_id", "clicked"]] = rows.pop("candidate").str.rsplit("-", n=1, expand=True)
    rows["clicked"] = rows["clicked"].astype(int)
    rows = rows.merge(news[["title", "subtopic", "publisher", "sentiment"]], on="news_id", how="left")
    rows = rows.merge(people, on="user_id", how="left")
    users = np.sort(rows["user_id"].unique())
    tested = np.random.default_rng(SEED).permutation(users)[: round(len(users) * TEST_SHARE)]
    is_test = rows["user_id"].isin(tested)
    described = ["Gender", "Qualification", "Nationality", "BornIn", "ParentsBornIn"]
    return Prepared(
        name="nemig_nc",
        train=rows[~is_test],
        test=rows[is_test],
        options=Options(
            label="clicked",
            user="user_id",
            item="news_id",
            group="impression_id",
            text=["title"],
            categorical=[
                *("subtopic", "publisher", "sentiment", "read_subtopic", "read_publisher"),
                *described,
            ],
            numeric=["position", "slate_size", "Age", "Income"],
        ),
        cluster="user_id",
        segments=["position", "subtopic", "publisher", "sentiment", "Gender", "Age", "Income"],
    )


def ipinyou(folder: Path) -> Prepared:
    """Campaign 2997's categories on its own two days; 50 clicks in the test are too few to judge by."""
    import pandas as pd

    train, test = (
        pd.read_parquet(folder / f"ctr_categorical_2997_{part}.parquet").assign(row=np.arange(size))
        for part, size in (("train", 26_773), ("test", 21_150))
    )
    return Prepared(
        name="ipinyou",
        train=train,
        test=test,
        options=Options(label="click", categorical=[name for name in train if name not in ("click", "row")]),
        cluster="row",
        has_bar=False,
    )


SETS: dict[str, Callable[[Path], Prepared]] = {
    function.__name__: function
    for function in (upworthy, movietweetings, online_retail_ii, nemig_nc, ipinyou)
}


def _by_time(table: Frame, column: str) -> tuple[Frame, Frame]:
    """The earlier rows and the last fifth; rows of one moment stay together."""
    times = table[column].to_numpy()
    first = np.sort(times)[round(len(times) * (1 - TEST_SHARE))]
    return table[times < first], table[times >= first]


def main(words: list[str]) -> int:
    """Write the named sets (all) into a folder."""
    root = os.environ.get("ADPLATFORM_DATA")
    if not root or not words or set(words[1:]) - set(SETS):
        print(f"usage: ADPLATFORM_DATA=… python -m bench.ctr.sets FOLDER [{' '.join(SETS)}]", file=sys.stderr)
        return 2
    for name in words[1:] or list(SETS):
        if (Path(root) / name).is_dir():
            prepared = SETS[name](Path(root) / name)
            prepared.write(Path(words[0]) / name)
            print(f"{name}: {len(prepared.train)} rows to train, {len(prepared.test)} to test")
        else:
            print(f"{name}: absent ({Path(root) / name})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
