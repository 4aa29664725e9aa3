"""`python -m ml fit-predict` on tables with a known truth."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ml.cli import main

WORDS = ("free", "shocking", "quiet", "annual", "report", "kitten", "secret", "tax")
APPEAL = np.array([0.5, 1.0, -0.5, -1.0, -0.5, 1.0, 0.5, -1.0])


def ratings(rows: int = 3_000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 150, rows), rng.integers(0, 60, rows)
    log_odds = rng.normal(size=150)[user] + rng.normal(size=60)[item] - 1
    return pd.DataFrame(
        {
            "user": user,
            "item": [f"i{number}" for number in item],
            "kind": np.where(item % 2, "a|b", "c"),
            "at": pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(np.arange(rows) // 2, unit="min"),
            "price": rng.random(rows),
            "click": (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int),
        }
    )


def headlines(tests: int = 260, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for test in range(tests):
        level = rng.normal() * 0.4 - 3.5
        for _ in range(3):
            chosen = rng.choice(len(WORDS), 3, replace=False)
            rate = 1 / (1 + np.exp(-(level + 0.4 * APPEAL[chosen].sum())))
            text = "The " + " ".join(WORDS[word] for word in chosen)
            rows.append((test, text, 3_000, rng.binomial(3_000, rate), test // 10))
    return pd.DataFrame(rows, columns=["test", "headline", "shown", "clicks", "week"])


def fit_predict(folder: Path, train: pd.DataFrame, test: pd.DataFrame, *options: str) -> np.ndarray:
    train.to_parquet(folder / "a.parquet")
    test.to_parquet(folder / "b.parquet")
    files = {"train": "a.parquet", "test": "b.parquet", "predictions": "p.parquet"}
    arguments = [part for name, file in files.items() for part in (f"--{name}", str(folder / file))]
    assert main(["fit-predict", *arguments, *options]) == 0
    written = pd.read_parquet(folder / "p.parquet")
    assert list(written.columns) == ["probability"]
    assert len(written) == len(test)
    p = written["probability"].to_numpy()
    assert ((p > 0) & (p < 1)).all()
    return p


RATINGS = ("--label", "click", "--time", "at", "--user", "user", "--item", "item")


def test_the_answer_is_one_object_with_quality_and_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ratings()
    fit_predict(tmp_path, table[:2_400], table[2_400:], *RATINGS, "--numeric", "price", "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["normalised_entropy"] < 0.95
    assert said["auc"] > 0.65
    assert 0.8 < said["calibration_ratio"] < 1.2
    assert (said["train_rows"], said["test_rows"]) == (2_400, 600)
    assert said.keys() >= {
        "log_loss",
        "calibration_error",
        "train_seconds",
        "predict_us_per_row",
        "peak_memory_mb",
    }


def test_test_labels_change_nothing(tmp_path: Path) -> None:
    table = ratings(1_500)
    train, test = table[:1_200], table[1_200:].copy()
    first = fit_predict(tmp_path, train, test, *RATINGS, "--categorical", "kind")
    np.testing.assert_array_equal(
        first,
        fit_predict(tmp_path, train, test.assign(click=1 - test["click"]), *RATINGS, "--categorical", "kind"),
    )
    np.testing.assert_array_equal(
        first, fit_predict(tmp_path, train, test.drop(columns="click"), *RATINGS, "--categorical", "kind")
    )


def test_progressive_labels_reach_only_strictly_later_rows(tmp_path: Path) -> None:
    table = ratings(1_500)
    train, test = table[:1_200], table[1_200:].reset_index(drop=True)
    first = fit_predict(tmp_path, train, test, *RATINGS, "--progressive")
    flipped = test.copy()
    flipped.loc[150, "click"] = 1 - flipped.loc[150, "click"]
    second = fit_predict(tmp_path, train, flipped, *RATINGS, "--progressive")
    not_later = (test["at"] <= test["at"][150]).to_numpy()
    np.testing.assert_array_equal(first[not_later], second[not_later])
    assert (first[~not_later] != second[~not_later]).any()


def test_progressive_labels_do_not_reach_their_own_group(tmp_path: Path) -> None:
    table = ratings(1_500)
    table["slate"] = np.arange(1_500) // 10  # a slate lasts several minutes
    train, test = table[:1_200], table[1_200:].reset_index(drop=True)
    options = (*RATINGS, "--group", "slate", "--progressive")
    first = fit_predict(tmp_path, train, test, *options)
    flipped = test.copy()
    flipped.loc[150, "click"] = 1 - flipped.loc[150, "click"]
    second = fit_predict(tmp_path, train, flipped, *options)
    own = (test["slate"] == test["slate"][150]).to_numpy()
    np.testing.assert_array_equal(first[own], second[own])
    assert (first != second).any()


def test_without_time_a_training_row_does_not_see_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ratings()
    rng = np.random.default_rng(1)
    # Every user and item is new each time: history can only be noise, unless a row saw its own label.
    table["user"], table["item"] = rng.permutation(3_000), rng.permutation(3_000)
    table["click"] = rng.integers(0, 2, 3_000)
    options = ("--label", "click", "--user", "user", "--item", "item", "--json")
    fit_predict(tmp_path, table[:2_400], table[2_400:], *options)
    assert json.loads(capsys.readouterr().out)["normalised_entropy"] == pytest.approx(1.0, abs=0.02)


def test_users_that_nobody_knows_yet_are_not_predicted_from_the_history_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    user = np.repeat(np.arange(800), 10)
    eager = rng.random(800) < 0.3  # most of what is known of a training row is its user's history
    table = pd.DataFrame(
        {
            "user": user,
            "item": rng.integers(0, 40, len(user)),
            "slate": np.arange(len(user)) // 5,
            "click": (rng.random(len(user)) < np.where(eager[user], 0.8, 0.05)).astype(int),
        }
    )
    train, test = table[:6_400], table[6_400:]
    options = ("--label", "click", "--user", "user", "--item", "item", "--group", "slate", "--json")
    p = fit_predict(tmp_path, train, test, *options)
    assert p.mean() == pytest.approx(train["click"].mean(), rel=0.1)
    assert json.loads(capsys.readouterr().out)["normalised_entropy"] == pytest.approx(1.0, abs=0.02)


def test_texts_that_compete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = headlines()
    options = ("--clicks", "clicks", "--impressions", "shown", "--time", "week", "--group", "test")
    p = fit_predict(tmp_path, table[:600], table[600:], *options, "--text", "headline", "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["normalised_entropy"] < 1.0
    rate = (table["clicks"] / table["shown"]).to_numpy()[600:].reshape(-1, 3)
    picked = rate[np.arange(len(rate)), p.reshape(-1, 3).argmax(axis=1)]
    assert picked.mean() > 1.15 * rate.mean()


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    table = headlines(120)
    options = ("--clicks", "clicks", "--impressions", "shown", "--text", "headline", "--seed", "4")
    first, second = (fit_predict(tmp_path, table[:300], table[300:], *options) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--label", "nothing", "--user", "user"), "has no column nothing"),
        (("--label", "price2", "--user", "user"), "labels must lie between 0 and 1; row 0"),
        (("--label", "item", "--user", "user"), "column item is not a number"),
        (("--label", "click"), "name at least one of"),
        (("--user", "user"), "give --label"),
        (("--clicks", "click", "--user", "user"), "belong together"),
        (("--label", "click", "--user", "user", "--progressive"), "--progressive needs --time"),
        (("--label", "zero", "--user", "user"), "need both clicks and non-clicks"),
        (("--label", "click", "--time", "item", "--user", "user"), "column item is not a time"),
    ],
)
def test_a_table_that_is_not_as_described_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], reason: str
) -> None:
    table = ratings(200).assign(price2=5.0, zero=0)
    table.to_csv(tmp_path / "a.csv", index=False)
    files = ["--train", str(tmp_path / "a.csv"), "--test", str(tmp_path / "a.csv")]
    assert main(["fit-predict", *files, "--predictions", str(tmp_path / "p.parquet"), *options]) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "p.parquet").exists()


def test_a_missing_file_and_a_wrong_option_are_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ["--train", "no.parquet", "--test", "no.parquet", "--predictions", str(tmp_path / "p.parquet")]
    assert main(["fit-predict", *missing, "--label", "click", "--user", "u"]) == 2
    assert capsys.readouterr().err == "ml fit-predict: no.parquet does not exist\n"
    with pytest.raises(SystemExit) as ended:
        main(["fit-predict", "--nonsense"])
    assert ended.value.code == 2
