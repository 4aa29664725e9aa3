"""CPU µs of each stage of a decision, measured inside one process by clocks around the product's own functions.

A stage's clock runs on the thread's CPU time; what a nested stage takes is taken off the stage around it, so that the
stages add up to the whole.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import numpy as np

from adplatform import settings
from adplatform.core import clock
from adplatform.decision import engine
from adplatform.decision.tally import Tally
from adplatform.learning.scorer import RequestScorer
from adplatform.serving import decide, parse
from adplatform.serving import server as server_module
from adplatform.serving.counters import Visitors
from adplatform.serving.server import Server
from ml.ctr.runtime import CompiledBlender

AGENT = {"HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}

# (stage, where the function is looked up, its name)
INSIDE: tuple[tuple[str, Any, str], ...] = (
    ("valkey", Visitors, "read"),
    ("eligible: rules as bitmaps", engine._Run, "eligible"),
    ("first stage", engine._Run, "promising"),
    ("score: features", RequestScorer, "score"),
    ("score: trees", CompiledBlender, "predict"),
    ("explore and choose", engine, "choose"),
    ("record", server_module, "pack"),
    ("count reasons", Tally, "add"),
)


@dataclass(slots=True)
class Meter:
    """µs by stage of one request after another."""

    spent: dict[str, list[float]] = field(default_factory=dict)
    _current: dict[str, float] = field(default_factory=dict)
    _nested: list[float] = field(default_factory=list)

    def run(self, stage: str, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self._nested.append(0.0)
        started = time.thread_time_ns()
        try:
            return function(*args, **named)
        finally:
            took = (time.thread_time_ns() - started) / 1000
            inner = self._nested.pop()
            if self._nested:
                self._nested[-1] += took
            self._current[stage] = self._current.get(stage, 0.0) + took - inner

    def end_request(self) -> None:
        for stage, took in self._current.items():
            self.spent.setdefault(stage, []).append(took)
        self._current.clear()

    def forget_request(self) -> None:
        self._current.clear()

    def medians(self) -> dict[str, float]:
        return {stage: float(np.median(values)) for stage, values in self.spent.items()}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Clocks around the functions of `INSIDE`."""
        with ExitStack() as undo:
            for stage, owner, name in INSIDE:
                original = getattr(owner, name)
                setattr(owner, name, self._clocked(stage, original))
                undo.callback(setattr, owner, name, original)
            yield

    def _clocked(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def clocked(*args: Any, **named: Any) -> Any:
            return self.run(stage, function, *args, **named)

        return clocked


def measure(questions: list[bytes]) -> dict[str, Any]:
    """{"stages_us": …, "eligible": share, "ranked": mean number} over the questions, after a warm-up."""
    server = Server.from_settings(rng=Random(1))
    server.start()
    held = server.snapshot
    assert held is not None
    ask_all(server, questions[:50], Meter())
    meter = Meter()
    seen = ask_all(server, questions, meter)
    server.close()
    return {"stages_us": meter.medians(), **seen}


def ask_all(server: Server, questions: list[bytes], meter: Meter) -> dict[str, float]:
    held = server.snapshot
    assert held is not None
    eligible, ranked = [], []
    with meter.inside():
        for body in questions:
            at = clock.now()
            asked = meter.run("parse", parse.read, body, AGENT, held, scopes=None, at=at, request_id="0" * 32)
            answered = meter.run("decide: the rest", server.decide, asked)
            meter.run("sign and render", _rendered, answered, held)
            if (
                answered.mode == "contextual"
            ):  # Valkey was late: counted by the load test, and no measure of a stage
                meter.forget_request()
                continue
            meter.end_request()
            left, scored = _counted(answered)
            eligible.append(left / len(held.candidates))
            ranked.append(scored)
    return {"eligible": float(np.mean(eligible or [0.0])), "ranked": float(np.mean(ranked or [0.0]))}


def _rendered(answered: decide.Answer, held: Any) -> bytes:
    return msgspec.json.encode(decide.as_json(answered, snapshot=held, base_url="http://localhost"))


def _counted(answered: decide.Answer) -> tuple[int, int]:
    """How many were eligible, and how many of them were ranked by the models."""
    assert answered.decision is not None
    refused = answered.decision.reasons
    later = {"not_retrieved", "no_score", "below_floor", "paced_out", "outbid", "budget_spent"}
    total = answered.records[0].candidates if answered.records else 0
    eligible = total - sum(count for reason, count in refused.items() if reason.value not in later)
    return eligible, eligible - refused.get(engine.NoAd.NOT_RETRIEVED, 0)


def same_winner(questions: list[bytes]) -> dict[str, float]:
    """The share of requests in which ranking every eligible ad picks the same winner as ranking the shortlist.

    Without exploration: by chance one of the ranked is taken, and fifty of them are not thousands.
    """
    settings.DECISION_EPSILON, settings.EXPLORATION_BUDGET = 0.0, 0.0
    server = Server.from_settings(rng=Random(1))
    server.refresh()
    held, at = server.snapshot, clock.now()
    assert held is not None
    same = 0
    for number, body in enumerate(questions):
        asked = parse.read(body, AGENT, held, scopes=None, at=at, request_id="0" * 32)
        known = server.visitors.read(asked.request.visitor or "")
        picked = [
            [
                pick.candidate.creative_id
                for pick in decide.answer(
                    asked.request,
                    snapshot=held,
                    statistics=server.statistics,
                    rng=Random(number),
                    known=known,
                    ranked=ranked,
                ).decision.picks
            ]
            for ranked in (None, len(held.candidates))
        ]
        same += picked[0] == picked[1]
    return {"requests": float(len(questions)), "same_winner": same / len(questions)}
