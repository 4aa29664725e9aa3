"""Public sets with texts as domains: who met which text, having liked what before, with what outcome.

A visitor is the decayed mean of the texts that he had liked strictly before; sets without visitors have none. Rows are
kept by whole visitors or tests, so that the bench takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adplatform.learning.history import DAY_SECONDS, NONE, Trace, profiles, states_before
from bench.ctr import sets
from ml.schema import Column, Floats, Ints, Mask, Vectors
from ml.text.bilinear import Table
from ml.text.domains import with_everyone

HALF_LIFE_SECONDS = 14 * DAY_SECONDS  # as the platform's profiles
SEED = 7
WRITTEN = Path("var/bench/ctr")


@dataclass(frozen=True)
class Domain:
    """Row r showed texts[text[r]] to the visitor of profile state[r] (a row of trace; NONE: nothing known of him).

    `cluster` is the visitor, or the test: rows that an interval draws together.
    """

    name: str
    kind: str
    texts: list[str]
    text: Ints
    trace: Trace
    state: Ints
    y: Floats
    weight: Floats
    group: Ints | None
    time: Floats
    cluster: Column
    test: Mask

    def table(self, vectors: Vectors) -> Table:
        """The rows over vectors of the texts."""
        known, place = np.unique(self.state, return_inverse=True)
        U = np.zeros((len(known), vectors.shape[1]), np.float32)
        there = known != NONE
        if there.any():
            U[there] = profiles(self.trace, vectors, known[there], half_life_seconds=HALF_LIFE_SECONDS)
        return Table(
            U=with_everyone(U),
            V=with_everyone(vectors),
            u=place.astype(np.int64),
            v=self.text,
            y=self.y,
            weight=self.weight,
            group=self.group,
        )

    def texts_to_learn(self) -> list[str]:
        """The texts of rows before the test."""
        return [self.texts[number] for number in np.unique(self.text[~self.test]).tolist()]


def movietweetings(folder: Path, visitors: int) -> Domain:
    """Is the film rated at least 8? Title and genres."""
    frame = _kept(_both(folder), "user_id", 4 * visitors)
    said = frame["title"] + ". " + frame["genres"].str.replace("|", ", ")
    return _domain(
        frame, "movietweetings", "video", said, y="liked", time="timestamp", visitor="user_id", group=None
    )


def online_retail_ii(folder: Path, visitors: int) -> Domain:
    """Which of 21 products is bought? Product texts."""
    frame = _kept(_both(folder), "visitor", visitors // 2)
    learned = _kept(frame[~frame["later"]], "group", visitors)
    frame = pd.concat([learned, frame[frame["later"]]], ignore_index=True)
    frame["at"] = frame["at"].astype("datetime64[s]").astype(np.int64)
    said = frame["description"].str.capitalize()
    return _domain(
        frame, "online_retail_ii", "e-commerce", said, y="bought", time="at", visitor="visitor", group="group"
    )


def nemig_nc(folder: Path, visitors: int) -> Domain:
    """Which of a slate of news is clicked? Titles (English); a person is what he had read before, of no known time."""
    frame = _both(folder).assign(time=1.0)
    parts = [_kept(part, "user_id", visitors // 2) for _, part in frame.groupby("later")]
    frame = pd.concat(parts, ignore_index=True)
    news = (
        pd.read_parquet(folder / "en_news.parquet").drop_duplicates("news_id").set_index("news_id")["title"]
    )
    people = pd.read_parquet(folder / "en_behaviors.parquet")
    people = people[people["user_id"].isin(frame["user_id"])].drop_duplicates("user_id")
    read = people.assign(item=people["history"].fillna("").str.split()).explode("item")
    read = pd.DataFrame({"who": read["user_id"], "said": read["item"].map(news), "time": 0.0}).dropna()
    return _domain(
        frame,
        "nemig_nc",
        "news",
        frame["title"],
        y="clicked",
        time="time",
        visitor="user_id",
        group="impression_id",
        past=read,
    )


def upworthy(folder: Path, visitors: int) -> Domain:
    """Which headline of a test is clicked more often? There are no visitors; the newest tests are kept."""
    frame = _both(folder)
    names = frame.loc[~frame["later"], "test"].drop_duplicates().tolist()
    frame = frame[frame["later"] | frame["test"].isin(names[-visitors:])].reset_index(drop=True)
    frame["rate"] = frame["clicks"] / frame["impressions"]
    frame["week"] = frame["week"].astype(float)
    return _domain(
        frame, "upworthy", "headlines", frame["headline"], y="rate", time="week", visitor=None, group="test"
    )


DOMAINS: dict[str, Callable[[Path, int], Domain]] = {
    function.__name__: function for function in (upworthy, nemig_nc, movietweetings, online_retail_ii)
}


def _both(folder: Path) -> Any:
    """All rows in one table; `later` marks the test. Tables that bench.ctr has written are not made again."""
    written = WRITTEN / folder.name
    if (written / "options.json").is_file():
        train, test = (pd.read_parquet(written / f"{part}.parquet") for part in ("train", "test"))
    else:
        prepared = sets.SETS[folder.name](folder)
        train, test = prepared.train, prepared.test
    return pd.concat([train.assign(later=False), test.assign(later=True)], ignore_index=True)


def _kept(frame: Any, column: str, visitors: int) -> Any:
    """The rows of so many visitors, drawn by chance."""
    names = np.sort(frame[column].unique())
    drawn = np.random.default_rng(SEED).permutation(names)[:visitors]
    return frame[frame[column].isin(drawn)].reset_index(drop=True)


def _domain(
    frame: Any,
    name: str,
    kind: str,
    said: Any,
    *,
    y: str,
    time: str,
    visitor: str | None,
    group: str | None,
    past: Any = None,
) -> Domain:
    """`past` are likings of other texts (who, said, time); without it a row with y = 1 is one."""
    if past is None:
        past = pd.DataFrame({"who": frame[visitor] if visitor else "", "said": said, "time": frame[time]})
        past = past[(frame[y] == 1) & (visitor is not None)]
    text, texts = pd.factorize(pd.concat([said, past["said"]]))
    who, _ = pd.factorize(pd.concat([frame[visitor] if visitor else said * 0, past["who"]]))
    rows = len(frame)
    trace = Trace.of(
        who[rows:].astype(np.int64), past["time"].to_numpy(np.float64), text[rows:].astype(np.int64)
    )
    moment = frame[time].to_numpy(np.float64)
    state = states_before(trace, who[:rows].astype(np.int64), moment)
    return Domain(
        name=name,
        kind=kind,
        texts=[str(one) for one in texts],
        text=text[:rows].astype(np.int64),
        trace=trace,
        state=state if visitor else np.full(rows, NONE, np.int64),
        y=frame[y].to_numpy(np.float64),
        weight=frame["impressions"].to_numpy(np.float64) if "impressions" in frame else np.ones(rows),
        group=None if group is None else pd.factorize(frame[group])[0].astype(np.int64),
        time=moment,
        cluster=frame[visitor or group].to_numpy(),
        test=frame["later"].to_numpy(bool),
    )
