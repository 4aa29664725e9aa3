"""The compiled loops of a decision say what the Python beside them says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.decision import bidding, exploration, native, shortlist
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.types import BidStrategy, Scores

from .factories import candidate

SEEDS = st.integers(0, 2**63 - 1)


def test_they_are_built() -> None:
    assert native.load() is not None, "deploy/native.py builds them: make install"


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch):
    """Call something with the loops, and without."""

    def run(call):
        with monkeypatch.context() as without:
            for module in (bidding, exploration, shortlist):
                without.setattr(module, "kernels", None)
            plain = call()
        return call(), plain

    return run


def columns(seed: int, size: int) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng, rng.permutation(10 * size)[:size].astype(np.int64), rng.random(size) < 0.7


@pytest.mark.parametrize("seed", range(20))
def test_the_same_ads_are_looked_at(both, seed: int) -> None:
    rng, ids, clicks = columns(seed, 700)
    strategies = (BidStrategy.MANUAL_CPM, BidStrategy.MANUAL_CPC)
    fixed = CandidateSet(
        [candidate(int(id), bid_strategy=strategies[int(pays)]) for id, pays in zip(ids, clicks, strict=True)]
    )
    topic = rng.integers(0, 5, 700)
    several = shortlist.Shortlist(fixed, rng.normal(size=700).round(1), topic)
    lifts = rng.normal(size=5).round(1)
    eligible = sum(1 << int(row) for row in np.flatnonzero(rng.random(700) < rng.choice([0.02, 0.3, 1.0])))
    compiled, plain = both(lambda: several.narrowed(eligible, 20, lifts))
    assert compiled.tolist() == plain.tolist()


@given(seed=SEEDS, size=st.integers(1, 90), ranked=st.integers(1, 60))
def test_the_same_are_ranked_and_in_the_same_order_of_ties(seed: int, size: int, ranked: int) -> None:
    rng, ids, clicks = columns(seed, size)
    rows = rng.permutation(size)
    value = rng.normal(size=size).round(1)  # with many ties
    found = {}
    for name, loops in (("compiled", native.kernels), ("plain", None)):
        shortlist.kernels = exploration.kernels = loops
        best = shortlist.chosen(rows, value, clicks, ids, ranked)
        found[name] = (sorted(best.tolist()), exploration.tie_ordered(rows, ids, seed).tolist())
    shortlist.kernels = exploration.kernels = native.kernels
    assert found["compiled"] == found["plain"]


@pytest.mark.parametrize("seed", range(20))
def test_bids_are_equal_to_the_bit(both, seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = [
        candidate(
            id,
            bid_strategy=list(BidStrategy)[int(rng.integers(len(BidStrategy)))],
            bid_micros=int(rng.integers(1, 9_000_000)),
            value_micros=int(rng.integers(0, 90_000_000)),
            target_roas_bp=int(rng.integers(0, 90_000)),
        )
        for id in range(1, 60)
    ]
    fixed, rows = CandidateSet(people), rng.permutation(59)[:40]
    odd = rng.choice([np.nan, 0.0, 1.0, 0.02, 0.5], size=40, p=[0.1, 0.1, 0.1, 0.4, 0.3])
    scores = Scores(text=odd, pctr=odd, pcvr=rng.random(40), sd=rng.random(40), impressions=None)
    pace = rng.uniform(-1, 4, 59)
    with np.errstate(invalid="ignore"):
        compiled, plain = both(lambda: bidding.bids_for(fixed, rows, scores, pace, 1_000.0))
    for name in ("worth", "rate", "ecpm", "unpaced", "most"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(plain, name))
    assert compiled.unfit == plain.unfit > 0


@pytest.mark.parametrize("seed", range(50))
def test_draws_are_won_by_the_same(both, seed: int) -> None:
    """To the seven digits that they are drawn with: of some 3,000 draws one may be that close."""
    rng, ids, clicks = columns(seed, 50)
    given_ = {
        "ids": ids,
        "worth": rng.gamma(2.0, 500_000.0, 50),
        "pctr": rng.beta(2, 100, 50),
        "sd": rng.uniform(0, 1, 50),
        "pays_per_click": clicks,
        "seed": seed,
        "epsilon": 0.02,
    }
    compiled, plain = both(lambda: exploration.choose(**given_))
    assert np.abs(compiled.propensity - plain.propensity).sum() <= 2 / exploration.DRAWS
    assert (compiled.chosen, compiled.is_uniform) == (plain.chosen, plain.is_uniform)
    np.testing.assert_array_equal(compiled.pctr, plain.pctr)
    assert compiled.order.tolist() == plain.order.tolist()


def test_a_wrong_argument_is_an_error_and_no_crash() -> None:
    few, out = np.zeros(3, np.int64), np.empty(5, np.int64)
    with pytest.raises(ValueError, match="too short"):
        native.kernels.tie_ordered(few, few, 5, 1, out)
    with pytest.raises(TypeError, match="4 arguments"):
        native.kernels.tie_ordered(few, few, 3, 1)
