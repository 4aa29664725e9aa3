"""A search for parameters: it finds what suits the table, keeps to its budget, goes on where it stopped, and changes
the next training only where the gain is beyond noise."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from adplatform.jobs.services import run as run_job
from adplatform.learning import parameters, search, services
from adplatform.learning.models import SearchRun, SearchTrial
from ml.ctr import features
from ml.ctr import search as search_blocks
from ml.ctr.search import Table
from tests.factories import NOON
from tests.learning.world import market, show

DAY = timedelta(days=1)
HOUR = 3_600.0


def planted(rows: int = 4_000, seed: int = 3) -> Table:
    """Each cell of hour and place has a rate of its own, nearly never or nearly always, and some twelve rows: leaves
    of the defaults (twenty rows at least, 0.05 a tree) are too coarse for it."""
    rng = np.random.default_rng(seed)
    X = np.zeros((rows, len(features.NAMES)), np.float32)
    hour, place = rng.integers(0, 24, rows), rng.integers(0, 12, rows)
    X[:, features.NAMES.index("hour")], X[:, features.NAMES.index("position")] = hour, place
    rate = np.where(rng.random((24, 12)) < 0.3, 0.9, 0.02)
    y = (rng.random(rows) < rate[hour, place]).astype(np.float64)
    time = np.sort(rng.random(rows)) * 5 * 24 * HOUR
    newest = time >= 4 * 24 * HOUR
    return Table(X, y, time, np.arange(rows) % 400, ~newest, newest)


def silent(done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def on_planted(monkeypatch: pytest.MonkeyPatch) -> Table:
    """Searches see the planted table."""
    known = planted()
    monkeypatch.setattr(search, "table", lambda **_: known)
    return known


@pytest.mark.django_db
class TestTheSearch:
    def test_what_suits_the_table_better_than_the_defaults_is_kept(self, on_planted: Table) -> None:
        run = search.tune(at=NOON, budget=search.Budget(trials=18), progress=silent)
        assert run.is_kept, run.verdict
        assert run.verdict.startswith("Kept for the next training: normalised entropy 0.")
        assert run.figures["entropy"] < run.figures["entropy_of_defaults"] - 0.02
        assert run.figures["loss_difference"][2] < 0
        assert parameters.tuned() == run.parameters
        first = run.trials.get(number=0)
        assert first.parameters == search_blocks.defaults(int(on_planted.fits.sum()))

    def test_the_same_seed_makes_the_same_trials(self, on_planted: Table) -> None:
        seen = []
        for _ in range(2):
            run = search.tune(at=NOON, budget=search.Budget(trials=3), progress=silent, seed=5)
            SearchRun.objects.filter(pk=run.pk).update(is_kept=False)
            seen.append(list(run.trials.values_list("number", "parameters", "entropies", "state")))
        assert seen[0] == seen[1]

    def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(self, on_planted: Table) -> None:
        whole = search.tune(at=NOON, budget=search.Budget(trials=8), progress=silent)
        SearchRun.objects.filter(pk=whole.pk).update(is_kept=False)

        def torn_down(done: int, total: int) -> None:
            if done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search.tune(at=NOON, budget=search.Budget(trials=8), progress=torn_down)
        broken = SearchRun.objects.get(finished_at=None)
        assert broken.trials.count() == 5
        done: list[int] = []
        finished = search.tune(
            at=NOON + DAY, budget=search.Budget(trials=8), progress=lambda one, _: done.append(one)
        )
        assert finished == broken
        assert done == [6, 7, 8]
        columns = ("number", "parameters", "entropies", "state")
        assert list(finished.trials.values_list(*columns)) == list(whole.trials.values_list(*columns))
        assert finished.verdict == whole.verdict

    def test_the_time_allowed_ends_it(self, on_planted: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        ticks = iter(range(10_000))
        monkeypatch.setattr(search.time, "monotonic", lambda: float(next(ticks)))
        run = search.tune(at=NOON, budget=search.Budget(trials=40, seconds=12), progress=silent)
        assert 0 < run.trials.count() < 8
        assert run.finished_at is not None

    def test_seconds_spent_before_an_interruption_count(self, on_planted: Table) -> None:
        run = SearchRun.objects.create(
            started_at=NOON,
            until=NOON,
            trials_wanted=40,
            seconds_allowed=60,
            rows=len(on_planted),
            clicks=int(on_planted.y.sum()),
            schema=features.SCHEMA,
        )
        SearchTrial.objects.create(
            search=run,
            number=0,
            parameters=search_blocks.defaults(100),
            entropies=[0.9, 0.9, 0.9],
            value=0.9,
            state="complete",
            seconds=61,
        )
        search.tune(at=NOON, budget=search.Budget(trials=40, seconds=60), progress=silent)
        run.refresh_from_db()
        assert (run.trials.count(), run.is_kept) == (1, False)
        assert run.verdict == "The defaults stay: none of 1 trials was better (entropy 0.9000)."

    def test_a_search_about_other_impressions_is_given_up(self, on_planted: Table) -> None:
        stale = SearchRun.objects.create(
            started_at=NOON, until=NOON, trials_wanted=40, seconds_allowed=60, rows=1, schema=features.SCHEMA
        )
        run = search.tune(at=NOON, budget=search.Budget(trials=1), progress=silent)
        stale.refresh_from_db()
        assert run != stale
        assert stale.verdict == "Given up: its impressions or features have changed since."

    def test_what_the_search_before_found_is_tried_second(self, on_planted: Table) -> None:
        found = {**search_blocks.defaults(5_000), "num_leaves": 7, "bagging_freq": 1}
        kept(found)
        run = search.tune(at=NOON + DAY, budget=search.Budget(trials=2), progress=silent)
        assert run.trials.get(number=1).parameters["num_leaves"] == 7


@pytest.mark.django_db
def test_parameters_for_other_features_are_not_used() -> None:
    kept({"num_leaves": 7}, schema="others")
    assert parameters.tuned() == {}


def kept(parameters: dict[str, Any], *, schema: str = features.SCHEMA) -> SearchRun:
    """A search of before whose parameters the next training takes."""
    return SearchRun.objects.create(
        started_at=NOON,
        finished_at=NOON,
        until=NOON,
        trials_wanted=1,
        seconds_allowed=1,
        schema=schema,
        parameters=parameters,
        is_kept=True,
    )


def test_no_block_is_judged_by_trees_that_saw_it_or_what_came_after() -> None:
    known = planted()
    parts = search_blocks.blocks(known)
    assert len(parts) == search_blocks.BLOCKS
    for part in parts:
        assert known.time[part.fits].max() < known.time[part.judged].min()
        assert not (part.judged & known.confirmation).any()
    sizes = [int(part.judged.sum()) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_no_gain_is_no_reason_to_change() -> None:
    """Labels by lot, where no parameters are better than others: two and a half in a hundred may look so."""
    known = planted()
    rng = np.random.default_rng(8)
    kept = 0
    for seed in range(8):
        lots = Table(
            known.X, rng.permutation(known.y), known.time, known.visitor, known.fits, known.confirmation
        )
        kept += search_blocks.confirm(lots, {"feature_fraction": 0.7}, seed=seed).is_better
    assert kept <= 1


@pytest.mark.django_db
class TestOnTheMarket:
    @pytest.fixture(autouse=True)
    def _models_folder(self, settings: Any, tmp_path: Path) -> None:
        settings.MODELS_DIR = tmp_path / "models"

    def test_the_job_and_the_command_search_without_the_newest_day(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        world = market(visitors=60)
        show(world, impressions=2_500, since=NOON - 5 * DAY, until=NOON)
        would = run_job("tune", slot=NOON, at=NOON, trigger="command", dry_run=True)
        assert would.summary.startswith("Would try 40 sets of parameters in 30 minutes at most, on 2,500")
        assert not SearchRun.objects.exists()
        call_command("tune", "--trials", "2", "--json")
        found = json.loads(capsys.readouterr().out)
        assert (found["trials"], found["search"]) == (2, SearchRun.objects.get().pk)
        assert 1_700 < found["rows"] < 2_300  # of five days, four

    def test_the_next_training_uses_what_was_kept(self) -> None:
        world = market(visitors=60)
        show(world, impressions=2_500, since=NOON - 5 * DAY, until=NOON)
        kept({"num_leaves": 3})
        result = services.train(at=NOON)
        assert result.metrics["parameters"] == {"num_leaves": 3}

    def test_without_impressions_it_says_so(self) -> None:
        with pytest.raises(CommandError, match="there are no impressions to learn from"):
            call_command("tune", "--trials", "3")
        with pytest.raises(CommandError, match="more than nothing"):
            call_command("tune", "--trials", "0")
