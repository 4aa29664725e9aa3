"""The classical engines on histories small enough to check by hand."""

import numpy as np
import pytest

from ml.engines import content, covisitation, factors
from ml.engines.engine import Engine, retrieved

# Visitors 0 and 1 did items 0 and 1, visitor 2 item 0 only, visitor 3 item 2; nobody did item 3.
VISITOR = np.array([0, 0, 1, 1, 2, 3])
ITEM = np.array([0, 1, 0, 1, 0, 2])


def shelves(people: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Everybody buys 8 of the 20 products of his shelf: products 0–19 or 20–39."""
    rng = np.random.default_rng(seed)
    visitor = np.repeat(np.arange(people), 8)
    item = np.concatenate([rng.choice(20, 8, replace=False) + 20 * (person % 2) for person in range(people)])
    return visitor, item


def test_items_are_alike_by_the_visitors_they_share() -> None:
    engine = covisitation.fit(VISITOR, ITEM, items=4)
    items, likeness = engine.similar(0, k=5)
    assert items.tolist() == [1]
    np.testing.assert_allclose(likeness, [2 / np.sqrt(3 * 2)], rtol=1e-6)
    assert engine.similar(3, k=5)[0].tolist() == []


def test_a_history_scores_itself_and_what_goes_with_it() -> None:
    engine = covisitation.fit(VISITOR, ITEM, items=4)
    expected = [1.0, 2 / np.sqrt(6), 0.0, 0.0]
    np.testing.assert_allclose(engine.score(np.array([0]), np.arange(4)), expected, rtol=1e-6)
    every = engine.score_all(np.array([2]), np.array([0]), np.ones(1), visitors=3)
    np.testing.assert_allclose(every, [[0] * 4, [0] * 4, expected], rtol=1e-6)
    assert engine.score(np.empty(0, np.int64), np.arange(4)).tolist() == [0.0] * 4


def test_doing_the_same_twice_counts_once_and_a_stranger_not_at_all() -> None:
    twice = covisitation.fit(np.append(VISITOR, [0, -1, 2]), np.append(ITEM, [1, 1, -1]), items=4)
    once = covisitation.fit(VISITOR, ITEM, items=4)
    np.testing.assert_array_equal(twice.likeness.toarray(), once.likeness.toarray())


def test_few_common_visitors_say_less_when_shrunk_and_old_ones_when_they_fade() -> None:
    shrunk = covisitation.fit(VISITOR, ITEM, items=4, shrinkage=5)
    np.testing.assert_allclose(shrunk.similar(0, 1)[1], [2 / np.sqrt((3 + 5) * (2 + 5))], rtol=1e-6)
    # Item 1 and item 2 each share one visitor with item 0, but item 2's came a half-life later.
    visitor, item = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2])
    faded = covisitation.fit(visitor, item, np.array([0.0, 0.0, 60.0, 60.0]), items=3, half_life_seconds=60.0)
    assert faded.similar(0, 2)[0].tolist() == [2, 1]
    with pytest.raises(ValueError, match="only by their time"):
        covisitation.fit(visitor, item, items=3, half_life_seconds=60.0)


def test_content_knows_an_item_that_nobody_did() -> None:
    engine = content.fit(np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 5.0]], np.float32))
    items, cosine = engine.similar(0, k=3)
    assert items.tolist() == [1]
    np.testing.assert_allclose(cosine, [0.6], rtol=1e-6)
    np.testing.assert_allclose(engine.score(np.array([0, 2]), np.array([1, 2, 3])), [0.6, 0, 0], atol=1e-6)


def test_factors_find_the_shelf_of_a_newcomer() -> None:
    engine = factors.fit(*shelves(), items=41, factors=2)
    scores = engine.score(np.array([1, 2, 3]), np.arange(41))
    assert scores[4:20].min() > scores[20:40].max()
    assert scores[40] == 0.0
    assert (engine.similar(25, k=10)[0] >= 20).all()
    assert engine.similar(40, k=10)[0].tolist() == []


def test_folding_in_gives_what_training_gave() -> None:
    visitor, item = shelves()
    engine = factors.fit(visitor, item, items=40, factors=4, rounds=30)
    every = engine.score_all(visitor, item, np.ones(len(item)), visitors=60)
    own = every[visitor, item].reshape(60, 8).mean(axis=1)
    other = np.array([every[person, 20 * (1 - person % 2) :][:20].mean() for person in range(60)])
    assert (own > 0.5).all()
    assert (other < 0.2).all()
    np.testing.assert_allclose(
        every[7], engine.score(item[visitor == 7], np.arange(40)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_factors(seed: int) -> None:
    first, second = (factors.fit(*shelves(), items=40, factors=4, seed=seed) for _ in range(2))
    np.testing.assert_array_equal(first.item_factors, second.item_factors)


def test_every_engine_answers_alike() -> None:
    visitor, item = shelves()
    vectors = np.eye(40, dtype=np.float32)
    engines: list[Engine] = [
        covisitation.fit(visitor, item, items=40),
        factors.fit(visitor, item, items=40, factors=4),
        content.fit(vectors),
    ]
    for engine in engines:
        assert engine.items == 40
        items, likeness = engine.similar(3, k=5)
        assert len(items) == len(likeness) <= 5
        assert 3 not in items
        assert (np.diff(likeness) <= 0).all()
        assert len(engine.score(np.empty(0, np.int64), np.array([1, 2]))) == 2
        assert engine.score_all(visitor, item, np.ones(len(item)), visitors=60).shape == (60, 40)


def test_candidates_are_the_best_of_each_row() -> None:
    chosen = retrieved(np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]]), 2)
    assert chosen.tolist() == [[False, True, True], [True, True, False]]
    assert retrieved(np.zeros((2, 3)), 10).all()
