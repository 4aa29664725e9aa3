"""Scores of texts for a table: log odds of a click that a text draws, never from a model that saw the row.

Two models score each text: frozen transformer vectors (a text-only matcher) and, where a randomised test lets the
level cancel, a TF-IDF ridge. With times, training rows are scored by models of earlier blocks of time; without,
by models of the other folds.

Where texts compete and nothing else is known (`rival_scores`), a conditional logit over transformer layers, measures
of wording and words takes their place; beside it stands the level that the group's topic promises. A progressive test
is scored moment by moment.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml.evaluation.baselines import Arms, ridge_scores
from ml.schema import Floats, Ints, Mask, Vectors
from ml.table.reading import Rows
from ml.table.walk import folds_of, release_times
from ml.text.conditional import Rivals
from ml.text.rivals import RivalTexts
from ml.text.topics import TopicLevels
from ml.text.train import train_matcher

TOPIC_LEVEL = "topic_level"  # of a whole group; the other scores are of one text
BLOCKS = 5
MOST_MOMENTS = 40  # a progressive test of more is scored in blocks
CONDITIONAL_PENALTY, PLAIN_PENALTY = 3.0, 1.0
LEXICAL_PENALTY = 30.0


def text_scores(rows: Rows, vectors: Vectors, *, seed: int) -> tuple[Floats, list[str]]:
    """(scores of shape (rows, k), their names); NaN where nothing earlier could score a row."""
    text = _text(rows)
    names = ["text_score"] if rows.group is None else ["text_score", "lexical_score"]
    scores = np.full((len(rows), len(names)), np.nan)
    for past, now in _past_and_now(rows, seed):
        scores[now, 0] = _transformer(rows, vectors, past, text[now], seed)
        if rows.group is not None:
            scores[now, 1] = _lexical(rows, past, text[now])
    return scores, names


def rival_scores(rows: Rows, vectors: Vectors, *, seed: int) -> tuple[Floats, list[str]]:
    """The same for a table of nothing but rival texts; `vectors` are ml.text.rivals.DEPTHS of the transformer."""
    if rows.group is None:
        raise ValueError("rivals need groups")
    text = _text(rows)
    model = RivalTexts(rows.texts, vectors)
    levels = TopicLevels(model.dense, text, rows.group)
    scores = np.full((len(rows), 2), np.nan)
    for past, now in _past_and_now(rows, seed, by_moment=True):
        v, rate, weight, group = _by_text(text[past], rows.rate[past], rows.weight[past], rows.group[past])
        past_rivals = Rivals(v, rate * weight, weight, np.asarray(group))
        scores[now, 0] = model.scores(past_rivals, text[now])
        scores[now, 1] = levels.scores(past_rivals, rows.group[now])
    return scores, ["text_score", TOPIC_LEVEL]


def outcomes_by_text(rows: Rows) -> Rivals:
    """What the training rows say of each text (within its group), in order of time."""
    usable = np.flatnonzero(~rows.is_test & (rows.weight > 0))
    if rows.time is not None:
        usable = usable[np.argsort(rows.time[usable], kind="stable")]
    group = None if rows.group is None else rows.group[usable]
    v, rate, weight, group = _by_text(_text(rows)[usable], rows.rate[usable], rows.weight[usable], group)
    return Rivals(v, rate * weight, weight, np.arange(len(v)) if group is None else group)


def _past_and_now(rows: Rows, seed: int, *, by_moment: bool = False) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of row positions: what to learn from, what to score. `by_moment`: a progressive test moment by moment."""
    usable = ~np.isnan(rows.rate) & (rows.weight > 0)
    if rows.time is None:
        usable &= ~rows.is_test
        fold = folds_of(rows, seed)
        for number in (*np.unique(fold[fold >= 0]).tolist(), -1):
            yield np.flatnonzero(usable & (fold != number)), np.flatnonzero(fold == number)
        return
    released = release_times(rows)
    for now in (*_blocks(rows.time, ~rows.is_test)[1:], *_test_blocks(rows, by_moment)):
        past = np.flatnonzero(usable & (released < rows.time[now].min()))
        if not rows.meaning.progressive and rows.is_test[now[0]]:
            past = np.flatnonzero(usable)
        if len(past):
            yield past[np.argsort(rows.time[past], kind="stable")], now


def _test_blocks(rows: Rows, by_moment: bool) -> list[Ints]:
    """Progressive scoring learns again as test outcomes become known; otherwise the test is one block."""
    if not rows.meaning.progressive or rows.time is None:
        return [np.flatnonzero(rows.is_test)]
    moments = np.unique(rows.time[rows.is_test])
    if by_moment and len(moments) <= MOST_MOMENTS:
        return [np.flatnonzero(rows.is_test & (rows.time == moment)) for moment in moments]
    return _blocks(rows.time, rows.is_test)


def _blocks(time: Floats, part: Mask) -> list[Ints]:
    """Positions of the part's rows in consecutive stretches of time with about equally many rows."""
    edges = np.unique(np.quantile(time[part], np.linspace(0, 1, BLOCKS + 1)[1:-1]))
    block = np.where(part, np.searchsorted(edges, time, side="right"), -1)
    return [np.flatnonzero(block == number) for number in np.unique(block[part])]


def _transformer(rows: Rows, vectors: Vectors, past: Ints, wanted: Ints, seed: int) -> Floats:
    text = _text(rows)
    one = np.ones((1, 1), dtype=np.float32)
    conditional = rows.group is not None
    if rows.group is None:
        v, rate, weight, group = _by_text(text[past], rows.rate[past], rows.weight[past], None)
    else:
        v, rate, weight, group = _by_text(text[past], rows.rate[past], rows.weight[past], rows.group[past])
    matcher, _ = train_matcher(
        one,
        vectors,
        rate,
        u_index=np.zeros(len(v), dtype=np.int64),
        v_index=v,
        weight=weight,
        group=group,
        validation=_held_out(len(v), group, seed) if rows.time is None else 0.15,
        weight_decay=CONDITIONAL_PENALTY if conditional else PLAIN_PENALTY,
        epochs=80,
        refit=True,
        seed=seed,
    )
    return matcher.score(np.ones((len(wanted), 1), dtype=np.float32), vectors[wanted])


def _lexical(rows: Rows, past: Ints, wanted: Ints) -> Floats:
    if rows.group is None:
        raise ValueError("the lexical score needs groups")
    v, rate, weight, group = _by_text(_text(rows)[past], rows.rate[past], rows.weight[past], rows.group[past])
    arms = Arms([rows.texts[code] for code in v.tolist()], np.asarray(group), rate * weight, weight)
    distinct, place = np.unique(wanted, return_inverse=True)
    try:
        found = ridge_scores(arms, [rows.texts[code] for code in distinct.tolist()], penalty=LEXICAL_PENALTY)
    except ValueError:  # too few words in common to fit anything
        return np.zeros(len(wanted))
    scores: Floats = found[place]
    return scores


def _by_text(
    text: Ints, rate: Floats, weight: Floats, group: Ints | None
) -> tuple[Ints, Floats, Floats, Ints | None]:
    """Rows of one text (within a group) added up, in order of first appearance."""
    key = text if group is None else text + (group + 1) * (int(text.max()) + 1)
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    place = rank[place]
    impressions = np.bincount(place, weights=weight).astype(np.float64)
    clicks = np.bincount(place, weights=rate * weight).astype(np.float64)
    first = first[order]
    return text[first], clicks / impressions, impressions, None if group is None else group[first]


def _held_out(rows: int, group: Ints | None, seed: int) -> Mask:
    """A random seventh, whole groups: what stops the training where there is no time."""
    rng = np.random.default_rng(seed)
    if group is None:
        return rng.random(rows) < 1 / 7
    return rng.random(int(group.max()) + 1)[group] < 1 / 7


def _text(rows: Rows) -> Ints:
    if rows.text is None:
        raise ValueError("the table has no text column")
    return rows.text
