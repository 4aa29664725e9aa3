"""Several domains share what they have in common; a new one needs few rows to add its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml.artifacts import ArtifactError
from ml.ctr.calibrate import Level
from ml.evaluation.metrics import auc, log_loss
from ml.schema import Vectors
from ml.text.bilinear import Table
from ml.text.domains import Domains, Head, with_everyone
from ml.text.matcher import Matcher
from ml.text.train import missing_level, sigmoid, train_matcher
from ml.text.trunk import DEFAULTS, Sample, adapt, fit_domains, fit_level_of
from tests.ml.logs import unit

DIM = 12
SETTINGS = replace(DEFAULTS, batch_size=256, learning_rate=0.02, weight_decay=0.01, epochs=40, patience=4)


def taste(seed: int) -> Vectors:
    """What people like everywhere, and a little of this domain's own."""
    common = np.random.default_rng(100).normal(size=(DIM, DIM)) * 3
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(DIM, 1)) @ rng.normal(size=(1, DIM))
    return (common + own).astype(np.float32)


def rows(W: Vectors, count: int, *, bias: float, seed: int) -> Table:
    """Visitors who follow W."""
    rng = np.random.default_rng(seed)
    U, V = (unit(rng.normal(size=(count, DIM))).astype(np.float32) for _ in range(2))
    rate = sigmoid(np.einsum("nd,de,ne->n", U, W, V).astype(np.float64) + bias)
    every = np.arange(count)
    return Table(U, V, every, every, (rng.random(count) < rate).astype(np.float64), np.ones(count), None)


def sample(table: Table) -> Sample:
    cut = round(len(table.y) * 0.8)
    return Sample(table, np.arange(cut), np.arange(cut, len(table.y)))


def loss(matcher: Matcher, table: Table) -> float:
    return log_loss(sigmoid(matcher.score(table.U, table.V)), table.y)


@pytest.fixture(scope="module")
def known() -> Domains:
    return fit_domains(
        {
            "news": sample(rows(taste(1), 5_000, bias=-1.0, seed=1)),
            "video": sample(rows(taste(2), 5_000, bias=0.5, seed=2)),
        },
        rank=2,
        settings=SETTINGS,
    )


def test_a_new_domain_with_few_rows_starts_from_the_trunk_and_beats_one_that_starts_from_nothing(
    known: Domains,
) -> None:
    few, later = rows(taste(3), 1_000, bias=-2.0, seed=3), rows(taste(3), 4_000, bias=-2.0, seed=4)
    adapted = adapt(known, "shop", sample(few))
    alone, _ = train_matcher(
        few.U,
        few.V,
        few.y,
        batch_size=256,
        learning_rate=0.02,
        weight_decay=0.01,
        validation=np.arange(1_000) >= 800,
    )
    truth = loss(Matcher(taste(3), -2.0), later)
    assert loss(adapted.matcher("shop"), later) - truth < 0.5 * (loss(alone, later) - truth)
    # The delta pays, not only the rate of the new domain.
    unadapted = known.matcher("shop").with_bias(adapted.heads["shop"].bias)
    assert loss(adapted.matcher("shop"), later) < loss(unadapted, later) - 0.005
    # What the others knew is not lost.
    np.testing.assert_array_equal(adapted.matcher("news").W, known.matcher("news").W)
    assert set(adapted.heads) == {"news", "video", "shop"}


def test_where_nothing_is_to_be_learned_nothing_is_added(known: Domains) -> None:
    chance = rows(np.zeros((DIM, DIM), np.float32), 1_000, bias=-2.0, seed=77)
    head = adapt(known, "chance", sample(chance)).heads["chance"]
    assert not (head.left @ head.right.T).any()
    assert abs(head.trust) < 0.1


def test_a_domain_that_nobody_has_seen_is_the_trunk(known: Domains) -> None:
    later = rows(taste(3), 4_000, bias=-2.0, seed=4)
    trunk = known.matcher("shop")
    np.testing.assert_array_equal(trunk.W, known.trunk)
    assert auc(trunk.score(later.U, later.V), later.y) > 0.7


def test_each_domain_keeps_its_own_rate_and_taste(known: Domains) -> None:
    for name, seed, bias in (("news", 1, -1.0), ("video", 2, 0.5)):
        later = rows(taste(seed), 4_000, bias=bias, seed=10 + seed)
        own = loss(known.matcher(name), later)
        other = next(one for one in known.heads if one != name)
        assert own < loss(known.matcher(name).with_bias(known.heads[other].bias), later) - 0.02
        assert own < loss(Matcher(known.matcher(other).W, known.heads[name].bias), later)


def test_a_domain_of_slates_learns_beside_one_of_lone_impressions() -> None:
    news = rows(taste(1), 3_000, bias=-1.0, seed=1)
    slates = rows(taste(2), 3_000, bias=0.5, seed=2)
    slates = replace(slates, group=np.arange(3_000) // 5)
    both = fit_domains({"news": sample(news), "slates": sample(slates)}, rank=2, settings=SETTINGS)
    later = rows(taste(2), 4_000, bias=0.5, seed=12)
    p = both.probability("slates", later.U, later.V)
    assert auc(p, later.y) > 0.7
    # The conditional logit knows no level; the head stands at that of its rows.
    assert p.mean() == pytest.approx(later.y.mean(), rel=0.05)


def test_visitors_without_a_profile_get_what_a_text_is_worth_to_anyone() -> None:
    rng = np.random.default_rng(0)
    V = with_everyone(unit(rng.normal(size=(3_000, DIM))).astype(np.float32))
    nobody = with_everyone(np.zeros((1, DIM), np.float32))
    appeal = 3 * V[:, 0]
    y = (rng.random(3_000) < sigmoid(appeal.astype(np.float64))).astype(np.float64)
    table = Table(nobody, V, np.zeros(3_000, np.int64), np.arange(3_000), y, np.ones(3_000), None)
    head = fit_domains({"ads": sample(table)}, settings=SETTINGS).matcher("ads")
    assert np.corrcoef(head.score_all(nobody, V)[0], appeal)[0, 1] > 0.95


def test_a_level_belongs_to_its_domain(known: Domains) -> None:
    later = rows(taste(1), 8_000, bias=0.0, seed=20)  # people click more than they did
    time = np.arange(8_000)
    moved = fit_level_of(known, "news", later, time=time)
    assert moved.levels["news"].factor == pytest.approx(np.e, rel=0.15)
    assert moved.probability("news", later.U, later.V).mean() == pytest.approx(later.y.mean(), rel=0.02)
    U, V = later.U[:50], later.V[:50]
    np.testing.assert_array_equal(moved.probability("video", U, V), known.probability("video", U, V))


def test_saved_heads_answer_the_same(known: Domains, tmp_path: Path) -> None:
    held = known.with_level("news", Level(1.25))
    manifest = held.save(tmp_path, encoder_id="e-1", metrics={}, seed=0, data_range=("a", "b"))
    assert manifest.kind == "domains"
    loaded = Domains.load(tmp_path, encoder_id="e-1")
    U, V = sample(rows(taste(1), 50, bias=0.0, seed=5)).table.U, rows(taste(2), 50, bias=0.0, seed=5).V
    for name in ("news", "video", "a domain that nobody has seen"):
        np.testing.assert_array_equal(loaded.probability(name, U, V), held.probability(name, U, V))
    with pytest.raises(ArtifactError, match="not of another"):
        Domains.load(tmp_path, encoder_id="another")
    (tmp_path / "domains.safetensors").write_bytes(b"cut")
    with pytest.raises(ArtifactError, match="sha256"):
        Domains.load(tmp_path)


def test_a_head_is_the_trunk_times_its_trust_plus_a_delta_of_low_rank() -> None:
    rng = np.random.default_rng(0)
    trunk = rng.normal(size=(5, 4)).astype(np.float32)
    left, right = rng.normal(size=(5, 2)).astype(np.float32), rng.normal(size=(4, 2)).astype(np.float32)
    matcher = Domains(trunk, 0.3, {"ads": Head(left, right, 0.5, -1.0)}).matcher("ads")
    assert matcher.W - 0.5 * trunk == pytest.approx(left @ right.T, abs=1e-6)
    assert np.linalg.matrix_rank(matcher.W - np.float32(0.5) * trunk, tol=1e-4) == 2
    assert matcher.bias == -1.0


def test_a_level_is_met_however_far_off_the_scores_lie() -> None:
    table = rows(taste(1), 500, bias=-3.0, seed=1)
    far = np.full(500, 12.0)
    assert sigmoid(far + missing_level(far, table, np.arange(500)))[0] == pytest.approx(
        table.y.mean(), rel=1e-6
    )
