"""What the history features of a table know: outcomes that were over strictly before, or those of other folds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.table.asof import Events
from ml.table.level import follow
from ml.table.reading import Meaning, Rows
from ml.table.walk import history_features

SIZE = 240


def table(*, timed: bool = True, slates: bool = False, seed: int = 0) -> Rows:
    """Rows two a second; the last fifth is the test, its outcomes known (progressive)."""
    rng = np.random.default_rng(seed)
    item = rng.integers(-1, 9, SIZE)
    return Rows(
        is_test=np.arange(SIZE) >= SIZE * 4 // 5,
        rate=rng.integers(0, 2, SIZE).astype(np.float64),
        weight=rng.integers(1, 4, SIZE).astype(np.float64),
        time=np.arange(SIZE) // 2 * 1.0 if timed else None,
        user=rng.integers(-1, 8, SIZE),
        item=item,
        group=np.arange(SIZE) // 4 if slates else None,
        texts=[str(number) for number in range(9)],
        text=np.maximum(item, 0),
        sets=[[((), (0,), (1, 2), (0, 2))[number % 4] for number in item.tolist()]],
        numeric=np.empty((SIZE, 0)),
        meaning=Meaning(label="click", categorical=("kind",), progressive=True),
    )


def features(rows: Rows) -> dict[str, np.ndarray]:
    vectors = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    found, names, _ = history_features(rows, vectors=vectors, seed=0)
    return dict(zip(names, found.T, strict=True))


def of_nobody(rows: Rows, **columns: object) -> Rows:
    """Only what is given besides the outcomes, without sets and texts."""
    nothing = {"user": None, "item": None, "text": None, "sets": [], "meaning": Meaning(label="click")}
    return replace(rows, **(nothing | columns))


@pytest.mark.parametrize("slates", [False, True])
@settings(max_examples=20, deadline=None)
@given(flipped=st.integers(0, SIZE - 1))
def test_an_outcome_reaches_only_strictly_later_rows_of_other_groups(slates: bool, flipped: int) -> None:
    rows = table(slates=slates)
    # Smoothing leans on the rate of the training rows: the flipped one is none of them.
    rows = replace(rows, is_test=np.arange(SIZE) == flipped, weight=np.ones(SIZE))
    rate = rows.rate.copy()
    rate[flipped] = 1 - rate[flipped]
    before, after = features(rows), features(replace(rows, rate=rate))
    allowed = rows.time > rows.time[flipped]
    if rows.group is not None:
        allowed &= rows.group != rows.group[flipped]
    for name, column in before.items():
        np.testing.assert_array_equal(column[~allowed], after[name][~allowed], err_msg=name)


def test_counts_are_of_what_was_over_before() -> None:
    rows = of_nobody(table(), user=np.zeros(SIZE, np.int64), weight=np.ones(SIZE))
    known = features(rows)
    # Two rows a second: the pair at one time knows as much.
    np.testing.assert_allclose(np.expm1(known["user_log_seen"]), np.arange(SIZE) // 2 * 2)
    clicks = np.append(0, np.cumsum(rows.rate))[np.arange(SIZE) // 2 * 2]
    base, overall = rows.rate[~rows.is_test].mean(), np.arange(SIZE) // 2 * 2
    strength = max(5.0, 5 / np.sqrt(base))
    rate = (clicks + 20 * base) / (overall + 20)
    np.testing.assert_allclose(known["user_rate"], (clicks + strength * rate) / (overall + strength))
    assert np.isnan(known["user_ago"][:2]).all()
    np.testing.assert_allclose(known["user_ago"][2:], np.log1p(1))


def test_a_row_whose_user_nobody_knows_has_no_history() -> None:
    known = features(table())
    unknown = table().user < 0
    assert (known["user_log_seen"][unknown] == 0).all()
    assert (known["pair_seen"][unknown] == 0).all()
    assert np.isnan(known["company_total"][unknown]).all()
    assert np.isnan(known["likeness_mean"][unknown]).all()


def test_company_is_the_cosine_of_items_clicked_by_the_same_people() -> None:
    """Two people click 0 then 1; a third, who clicked 0, is asked about 1."""
    rows = of_nobody(
        table(),
        is_test=np.arange(6) == 5,
        rate=np.ones(6),
        weight=np.ones(6),
        time=np.arange(6.0),
        user=np.array([0, 0, 1, 1, 2, 2]),
        item=np.array([0, 1, 0, 1, 0, 1]),
        numeric=np.empty((6, 0)),
    )
    known = features(rows)
    assert known["company_size"].tolist() == [0, 1, 0, 1, 0, 1]
    assert known["company_total"][3] == pytest.approx(1 / np.sqrt((2 + 5) * (1 + 5)))
    assert known["company_largest"][5] == pytest.approx(2 / np.sqrt((3 + 5) * (2 + 5)))


def test_without_times_a_row_knows_the_other_folds_and_never_itself() -> None:
    rows = table(timed=False)
    before = features(rows)
    for flipped in range(0, 192, 17):
        rate = rows.rate.copy()
        rate[flipped] = 1 - rate[flipped]
        after = features(replace(rows, rate=rate))
        assert before["user_fading_rate"][flipped] == pytest.approx(
            after["user_fading_rate"][flipped], nan_ok=True
        )
        assert before["pair_clicked"][flipped] == after["pair_clicked"][flipped]


def test_fading_sums_forget_by_the_number_of_events() -> None:
    key = np.array([1, 0, 1, 1, 0])
    events = Events.of(key, np.arange(5), 6)
    fading = np.empty(5)
    fading[events.order] = events.fading(np.array([8.0, 1.0, 4.0, 2.0, 1.0]), 0.5)
    assert fading.tolist() == [8, 1, 8, 6, 1.5]
    assert events.sums_before(np.array([8.0, 1.0, 4.0, 2.0, 1.0])).tolist() == [0, 0, 8, 12, 1]


def test_keys_of_any_size_are_sorted() -> None:
    key = np.random.default_rng(0).integers(0, 2**40, 500) // 2**33 * 2**33
    assert Events.of(key, np.arange(500), 501).order.tolist() == np.argsort(key, kind="stable").tolist()


def test_the_level_follows_what_is_known_strictly_before() -> None:
    rows = of_nobody(table(), rate=np.ones(SIZE), weight=np.ones(SIZE))
    everybody = np.arange(SIZE)
    moved = follow(np.full(SIZE, 0.5), rows, everybody, everybody, memory=100.0)
    assert moved[:2].tolist() == [0.5, 0.5]
    observed = 0.5 * (2 + 20) / (1 + 20)
    np.testing.assert_allclose(moved[2:4], observed)
    kept = np.exp(-1 / 100)
    np.testing.assert_allclose(moved[4], 0.5 * (2 * kept + 2 + 20) / (kept + 1 + 20))
    assert (np.diff(moved) >= 0).all()
