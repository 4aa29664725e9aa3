"""What models would be worth if they decided, estimated from the platform's own logged choices.

A sample of decisions keeps its choice set: who could be chosen, at what worth, with which features, and how probably.
A policy is a column of click probabilities per candidate: run through the very rule of the exploration (same draws,
same budget), it gives the probability with which that model would have chosen the ad that was shown. Rewards are
clicks, and the expected worth that they stand for. The outcome model of the doubly robust estimates is what the
champion predicted then: it was trained before, so that no row shaped its own prediction.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from adplatform.campaigns.models import Creative
from adplatform.decision.exploration import choose
from adplatform.learning import choice_sets, embeddings
from adplatform.learning.dataset import Dataset
from ml.ctr.features import NAMES
from ml.ctr.runtime import CompiledBlender
from ml.evaluation import offpolicy
from ml.evaluation.offpolicy import Estimate, Logged, Report
from ml.schema import Column, Floats, Ints, Mask, Vectors
from ml.text.matcher import Matcher

MOST_CHOICES = 20_000  # the newest; more change the intervals little
LEVEL = (
    0.95  # of differences; on generated markets of an effective sample around 140 they held the truth in 96 %
)


@dataclass(frozen=True)
class Choices:
    """Logged choices, flat: candidate k of row r stands between `starts[r]` and `starts[r + 1]`.

    `shown` is the flat place of the ad that was shown. `features` is what the champion's blender saw of each candidate.
    """

    sets: Sequence[dict[str, Any]]
    time: Floats
    creative: Ints
    starts: Ints
    shown: Ints
    clicked: Floats
    cluster: Column
    pctr: Floats
    worth: Floats
    by_click: Mask
    propensity: Floats
    features: Vectors

    def __len__(self) -> int:
        return len(self.sets)


def choices(*, since: datetime, until: datetime) -> Choices:
    """Choice sets of counted impressions of a window; sets of another release's features are left out."""
    found = choice_sets.newest(
        "extract(epoch FROM i.served_at)::float8", since=since, until=until, most=MOST_CHOICES
    )
    rows = [usable(row) for row in found]
    return of_rows([row for row in rows if row is not None])


def of_rows(rows: Sequence[tuple[dict[str, Any], int, bool, str, float]]) -> Choices:
    """From (choice set, creative that was shown, whether it was clicked, unit, time)."""
    sets = [row[0] for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(one["creative"]) for one in sets])]).astype(np.int64)
    shown = [start + row[0]["creative"].index(row[1]) for start, row in zip(starts, rows, strict=False)]

    def flat(name: str, kind: Any) -> Any:
        return np.array([value for one in sets for value in one[name]], kind)

    packed = b"".join(b64decode(one["features"]) for one in sets)
    return Choices(
        sets=sets,
        time=np.array([row[4] for row in rows], np.float64),
        creative=flat("creative", np.int64),
        starts=starts,
        shown=np.array(shown, np.int64),
        clicked=np.array([row[2] for row in rows], np.float64),
        cluster=np.array([row[3] for row in rows], dtype=str),
        pctr=flat("pctr", np.float64),
        worth=flat("worth", np.float64),
        by_click=flat("by_click", np.bool_),
        propensity=flat("propensity", np.float64),
        features=np.frombuffer(packed, "<f4").reshape(-1, len(NAMES)),
    )


def believed(
    found: Choices, *, blender: CompiledBlender, matcher: Matcher | None, data: Dataset | None
) -> Floats:
    """What these models would have predicted for each candidate. `matcher`: a newer one, whose text score takes the
    place of the champion's; the profiles of the moment come from `data`, which holds the impressions."""
    X = found.features.copy()
    if matcher is not None and data is not None:
        X[:, NAMES.index("text_score")] = _text_scores(found, matcher, data)
    if not blender.calibration.segments or data is None:
        return blender.predict(X)
    rows = _log_rows(found, data)
    slot = np.where(rows >= 0, data.log.slot[rows], -1)
    campaigns = dict(Creative.objects.values_list("pk", "line_item__campaign_id"))
    campaign = np.array([campaigns.get(one, 0) for one in found.creative.tolist()], np.int64)
    return blender.predict(X, campaign=campaign, slot=np.repeat(slot, np.diff(found.starts)))


def _log_rows(found: Choices, data: Dataset) -> Ints:
    """Each decision's row in the log, −1 where its impression is not in it."""
    row_of = {
        key: row
        for row, key in enumerate(zip(data.log.time.tolist(), data.log.creative.tolist(), strict=True))
    }
    shown = zip(found.time.tolist(), found.creative[found.shown].tolist(), strict=True)
    return np.array([row_of.get(key, -1) for key in shown], np.int64)


def _text_scores(found: Choices, matcher: Matcher, data: Dataset) -> Floats:
    """uᵀWv + b of each candidate, NaN where a vector is missing or the impression is not in the log."""
    rows = _log_rows(found, data)
    unique, place = np.unique(found.creative, return_inverse=True)
    texts = {one.pk: one.text for one in Creative.objects.filter(pk__in=unique.tolist())}
    V = embeddings.cached(embeddings.encoder().id, [texts.get(number, "") for number in unique.tolist()])
    has_text = embeddings.has_vector(V)[place]
    of_row = np.repeat(rows, np.diff(found.starts))
    U = data.U[data.u[of_row]]
    score = np.einsum("nd,nd->n", U, matcher.project(V)[place]).astype(np.float64) + matcher.bias
    known = has_text & (of_row >= 0) & embeddings.has_vector(U)
    return np.where(known, score, np.nan)


def logged(found: Choices, believed: Floats) -> Logged:
    """The rows as off-policy estimates take them, for the policy that believes these click probabilities."""
    return _as_logged(found, _policy(found, believed), by_worth=False)


def logged_uniform(found: Choices) -> Logged:
    """The policy that shows each candidate as often."""
    sizes = np.diff(found.starts)
    return _as_logged(found, np.repeat(1 / np.maximum(sizes, 1), sizes), by_worth=False)


def evaluate(found: Choices, believed: Floats) -> Report:
    """Clicks per impression that this policy would have earned."""
    return offpolicy.evaluate(logged(found, believed))


def expected(found: Choices, believed: Floats | None, probability: Floats) -> float:
    """Clicks per impression of the policy that believes this (None: even choices), where the click probability of each
    candidate is known: on a market whose truth is known."""
    sizes = np.diff(found.starts)
    chosen = np.repeat(1 / sizes, sizes) if believed is None else _policy(found, believed)
    return float(np.add.reduceat(chosen * probability, found.starts[:-1]).mean())


def compare(found: Choices, challenger: Floats, champion: Floats) -> dict[str, Any]:
    """Both policies' values and the paired difference, as JSON; `refusal` says why there are none."""
    policies = {"challenger": _policy(found, challenger), "champion": _policy(found, champion)}
    reports = {
        name: offpolicy.evaluate(_as_logged(found, one, by_worth=False)) for name, one in policies.items()
    }
    refusal = next((one.refusal for one in reports.values() if one.refusal), "")
    out: dict[str, Any] = {
        "choices": len(found),
        "clicks": int(found.clicked.sum()),
        "refusal": refusal,
        **{name: one.as_dict() for name, one in reports.items()},
    }
    if not refusal:
        for name, by_worth in (("clicks_difference", False), ("worth_difference", True)):
            pair = [_as_logged(found, one, by_worth=by_worth) for one in policies.values()]
            out[name] = {key: _numbers(one) for key, one in offpolicy.difference(*pair, level=LEVEL).items()}
    return out


def _as_logged(found: Choices, probability: Floats, *, by_worth: bool) -> Logged:
    """`probability` of each candidate under the judged policy."""
    unit = np.where(found.by_click, found.worth, 1.0) if by_worth else np.ones(len(found.pctr))
    value = found.pctr * unit
    expected = np.add.reduceat(probability * value, found.starts[:-1]) if len(found) else np.empty(0)
    return Logged(
        reward=found.clicked * unit[found.shown],
        propensity=found.propensity[found.shown],
        target=probability[found.shown],
        cluster=found.cluster,
        predicted=value[found.shown],
        expected=expected,
    )


def _policy(found: Choices, believed: Floats) -> Floats:
    """The policy's probability of each candidate."""
    parts = [_probabilities(one, believed[low:high]) for one, low, high in _spans(found)]
    return np.concatenate(parts) if parts else np.empty(0)


def _probabilities(one: dict[str, Any], believed: Floats) -> Floats:
    """How the platform's own rule would have chosen, had it believed this."""
    return choose(
        ids=np.array(one["creative"], np.int64),
        worth=np.array(one["worth"], np.float64) * np.array(one.get("factor", 1.0), np.float64),
        pctr=np.clip(believed, 1e-6, 1 - 1e-6),
        sd=np.array(one["sd"], np.float64),
        pays_per_click=np.array(one["by_click"], np.bool_),
        seed=int(one["seed"]),
        epsilon=float(one["epsilon"]),
        budget=float(one["budget"]),
    ).propensity


def _spans(found: Choices) -> list[tuple[dict[str, Any], int, int]]:
    ends = found.starts.tolist()
    return [(one, ends[row], ends[row + 1]) for row, one in enumerate(found.sets)]


def usable(row: tuple[Any, ...]) -> tuple[dict[str, Any], int, bool, str, float] | None:
    """The row with its choice set read, or None where its features are not this release's."""

    one = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    is_whole = len(b64decode(one["features"])) == 4 * len(NAMES) * len(one["creative"])
    return (one, *row[1:]) if is_whole and row[1] in one["creative"] else None


def _numbers(one: Estimate) -> list[float]:
    return [round(number, 8) for number in (one.value, one.low, one.high)]
