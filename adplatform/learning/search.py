"""A search for the blender's parameters: a budget of trials and of seconds, every trial a row, so that it goes on
where it was interrupted.

Optuna proposes (tree-structured Parzen estimators) and stops hopeless trials after a block (median rule); our rows are
its memory. Each proposal depends on the rows before it and on its own number only: an interrupted search makes the
trials that an uninterrupted one would have made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Sum

from adplatform.core import clock
from adplatform.jobs.registry import Progress
from adplatform.learning import dataset, training
from adplatform.learning.models import SearchRun, SearchTrial
from adplatform.learning.parameters import tuned
from ml.ctr import features, search
from ml.ctr.train import TrainingError

if TYPE_CHECKING:
    from optuna import Study, Trial

State = SearchTrial.State
TRIALS = 40
MINUTES = 30
RANDOM_TRIALS = 8  # before the estimators have enough to go by
UNPRUNED_TRIALS = 5


@dataclass(frozen=True)
class Budget:
    """The search ends when either is used up; the confirmation comes after it."""

    trials: int = TRIALS
    seconds: float = MINUTES * 60.0


def tune(*, at: datetime, budget: Budget, progress: Progress, seed: int = 0) -> SearchRun:
    """Go on with the open search, or begin one on the impressions served before `at`; returns it with its verdict.

    Raises TrainingError where there is too little to search on.
    """
    run = SearchRun.objects.filter(finished_at__isnull=True).first()
    known = table(until=run.until if run else at, seed=run.seed if run else seed)
    if run is not None and not _is_about(run, known):
        _close(run, verdict="Given up: its impressions or features have changed since.")
        run, known = None, table(until=at, seed=seed)
    if run is None:
        run = _begin(known, at=at, budget=budget, seed=seed)
    else:
        run.trials_wanted, run.seconds_allowed = budget.trials, int(budget.seconds)
        run.save(update_fields=["trials_wanted", "seconds_allowed"])
    _try_out(run, known, progress)
    return _conclude(run, known)


def table(*, until: datetime, seed: int) -> search.Table:
    """What training would learn from, without its newest day."""
    data = dataset.build(until=until)
    if not len(data):
        raise TrainingError("there are no impressions to learn from")
    prepared = training.material(data)
    fitted = training.fit_matcher(prepared, seed=seed)
    return search.table(
        data.log,
        split=prepared.split,
        text_score=fitted.scores if fitted else None,
        warm_up=fitted.warm_up if fitted else None,
    )


def _begin(known: search.Table, *, at: datetime, budget: Budget, seed: int) -> SearchRun:
    return SearchRun.objects.create(
        started_at=clock.now(),
        until=at,
        seed=seed,
        trials_wanted=budget.trials,
        seconds_allowed=int(budget.seconds),
        rows=len(known),
        clicks=int(known.y.sum()),
        schema=features.SCHEMA,
        incumbent={name: value for name, value in tuned().items() if name in search.SPACE},
    )


def _is_about(run: SearchRun, known: search.Table) -> bool:
    return (run.rows, run.clicks, run.schema) == (len(known), int(known.y.sum()), features.SCHEMA)


def _try_out(run: SearchRun, known: search.Table, progress: Progress) -> None:
    blocks = search.blocks(known)
    before = run.trials.aggregate(seconds=Sum("seconds"))["seconds"] or 0.0
    started = time.monotonic()
    for number in range(run.trials.count(), run.trials_wanted):
        if before + time.monotonic() - started >= run.seconds_allowed:
            return
        _one_trial(run, known, blocks, number)
        progress(number + 1, run.trials_wanted)


def _one_trial(run: SearchRun, known: search.Table, blocks: list[search.Block], number: int) -> None:
    started = time.monotonic()
    study = _study(run, number)
    for point in _given(run, known, number):
        study.enqueue_trial(point)
    trial = study.ask(_distributions())
    entropies: list[float] = []
    for block in blocks:
        parameters = {} if number == 0 else search.FIXED | trial.params
        entropies.append(search.entropy(known, block, parameters, seed=run.seed))
        if _is_hopeless(trial, entropies, number):
            break
    SearchTrial.objects.create(
        search=run,
        number=number,
        parameters=trial.params,
        entropies=entropies,
        value=sum(entropies) / len(entropies),
        state=State.COMPLETE if len(entropies) == len(blocks) else State.PRUNED,
        seconds=time.monotonic() - started,
    )


def _is_hopeless(trial: Trial, entropies: list[float], number: int) -> bool:
    """Worse so far than the median of the trials before, with blocks still to come."""
    trial.report(sum(entropies) / len(entropies), len(entropies) - 1)
    return number > 1 and len(entropies) < search.BLOCKS and bool(trial.should_prune())


def _given(run: SearchRun, known: search.Table, number: int) -> Iterator[dict[str, Any]]:
    """The first trial are the defaults, the second what the search before found."""
    if number == 0:
        yield search.defaults(int(known.fits.sum()))
    elif number == 1 and run.incumbent:
        yield run.incumbent


def _study(run: SearchRun, number: int) -> Study:
    """Optuna's view of the trials so far."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(
            seed=1_000_003 * (run.seed + 1) + number, n_startup_trials=RANDOM_TRIALS, multivariate=True
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
    )
    distributions = _distributions()
    for one in run.trials.filter(number__lt=number):
        is_complete = one.state == State.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                params=one.parameters,
                distributions=distributions,
                value=one.value if is_complete else None,
                intermediate_values={
                    step: sum(one.entropies[: step + 1]) / (step + 1) for step in range(len(one.entropies))
                },
                state=optuna.trial.TrialState.COMPLETE if is_complete else optuna.trial.TrialState.PRUNED,
            )
        )
    return study


def _distributions() -> dict[str, Any]:
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        name: IntDistribution(int(one.low), int(one.high), log=one.is_log)
        if one.is_whole
        else FloatDistribution(one.low, one.high, log=one.is_log)
        for name, one in search.SPACE.items()
    }


def _conclude(run: SearchRun, known: search.Table) -> SearchRun:
    """The best trial against the defaults on the part that no trial saw."""
    complete = run.trials.filter(state=State.COMPLETE).order_by("value", "number")
    best = complete.first()
    if best is None:
        return _close(run, verdict="The defaults stay: the time was used up before the first trial.")
    if best.number == 0:
        words = (
            f"The defaults stay: none of {run.trials.count()} trials was better (entropy {best.value:.4f})."
        )
        return _close(run, verdict=words)
    run.parameters = {**search.FIXED, **best.parameters}
    found = search.confirm(known, run.parameters, seed=run.seed)
    mean, low, high = found.difference
    run.figures = {
        "best_trial": best.number,
        "entropy": found.entropy,
        "entropy_of_defaults": found.entropy_of_defaults,
        "loss_difference": [mean, low, high],
        "confirmed_on": int(known.confirmation.sum()),
    }
    run.is_kept = found.is_better
    beside = (
        f"normalised entropy {found.entropy:.4f} beside {found.entropy_of_defaults:.4f} of the defaults on the"
        f" validation day (log loss per impression {mean:+.5f}, 95 % interval {low:+.5f} to {high:+.5f})"
    )
    if run.is_kept:
        return _close(run, verdict=f"Kept for the next training: {beside}.")
    return _close(run, verdict=f"The defaults stay: no gain beyond noise, {beside}.")


def _close(run: SearchRun, *, verdict: str) -> SearchRun:
    run.verdict, run.finished_at = verdict, max(clock.now(), run.started_at)
    run.save()
    return run
