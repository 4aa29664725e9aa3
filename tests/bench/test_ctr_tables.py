"""The benchmark's tables: a fair draw of candidates that knows nothing of the future, and splits by time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.ctr.candidates import RIVALS, candidate_table, order_lines
from bench.ctr.contenders import PEERS_BY_NAME, ours
from bench.ctr.judging import Judge
from bench.ctr.sets import Options, Prepared, movietweetings, upworthy

FIRST_DAY = pd.Timestamp("2026-01-01")


def sheet(orders: int = 300, seed: int = 0) -> pd.DataFrame:
    """Orders of three of 60 products each; product 10059 appears only in the last one."""
    rng = np.random.default_rng(seed)
    rows = []
    for order in range(orders):
        products = rng.choice(59, 3, replace=False) + 10_000
        if order == orders - 1:
            products[0] = 10_059
        for product in products:
            at = FIRST_DAY + pd.Timedelta(hours=order)
            price = 1.0 + order / 100
            rows.append((str(order), str(product), f"thing {product}", 2, at, price, order % 40, "France"))
    names = [
        "Invoice",
        "StockCode",
        "Description",
        "Quantity",
        "InvoiceDate",
        "Price",
        "Customer ID",
        "Country",
    ]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    return order_lines(sheet())


@pytest.fixture(scope="module")
def drawn(lines: pd.DataFrame) -> pd.DataFrame:
    return candidate_table(lines, seed=1, visitors=30, answers_per_order=2, warm_up_days=3)


def test_each_purchase_competes_with_twenty_rivals(drawn: pd.DataFrame) -> None:
    groups = drawn.groupby("group")
    assert set(groups.size()) == {RIVALS + 1}
    assert set(groups["bought"].sum()) == {1}
    assert groups["product"].nunique().eq(RIVALS + 1).all()
    assert groups["at"].nunique().eq(1).all()
    assert drawn["visitor"].nunique() <= 30


def test_no_candidate_was_unknown_at_its_time(lines: pd.DataFrame, drawn: pd.DataFrame) -> None:
    first_sold = lines.groupby("stock_code")["at"].min()
    assert (drawn["product"].map(first_sold) < drawn["at"]).all()
    assert "10059" not in set(drawn["product"])


def test_what_the_same_order_holds_is_no_rival(lines: pd.DataFrame, drawn: pd.DataFrame) -> None:
    held = set(zip(lines["visitor"], lines["at"], lines["stock_code"], strict=True))
    rivals = drawn[drawn["bought"] == 0]
    assert not held & set(zip(rivals["visitor"], rivals["at"], rivals["product"], strict=True))


def test_the_price_is_that_of_the_last_sale_before(lines: pd.DataFrame, drawn: pd.DataFrame) -> None:
    for row in drawn.iloc[::97].itertuples():
        before = lines[(lines["stock_code"] == row.product) & (lines["at"] < row.at)]
        assert row.price == before.iloc[-1]["price"]


def test_the_future_changes_no_earlier_candidate() -> None:
    whole = sheet()
    half = whole[whole["InvoiceDate"] < FIRST_DAY + pd.Timedelta(hours=200)]
    known = candidate_table(order_lines(whole), seed=1, visitors=40, answers_per_order=9, warm_up_days=3)
    alone = candidate_table(order_lines(half), seed=1, visitors=40, answers_per_order=9, warm_up_days=3)
    answers = known[known["bought"] == 1].head(len(alone) // (RIVALS + 1))
    assert answers["product"].tolist() == alone[alone["bought"] == 1]["product"].tolist()
    # Popularity decides how likely a rival is; it must be that of the past alone.
    early, of_alone = known[known["at"] <= alone["at"].max()], alone
    assert set(early["product"]) <= set(half["StockCode"])
    assert len(early) == len(of_alone)


def test_one_seed_draws_one_table(lines: pd.DataFrame) -> None:
    first, second, other = (
        candidate_table(lines, seed=seed, visitors=10, answers_per_order=1, warm_up_days=3)
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)


def test_returns_and_postage_are_no_purchases() -> None:
    table = sheet(orders=20)
    table.loc[0, "Invoice"] = "C0"
    table.loc[4, "StockCode"] = "POST"
    table.loc[8, "Quantity"] = -1
    assert len(order_lines(table)) == 57


def test_ratings_are_split_by_time_and_labelled_from_eight(tmp_path: Path) -> None:
    ratings = pd.DataFrame(
        {
            "user_id": np.arange(100) % 7,
            "movie_id": np.arange(100) % 10,
            "rating": np.arange(100) % 11,
            "timestamp": np.arange(100)[::-1] + 1_000_000_000,
        }
    )
    ratings.to_parquet(tmp_path / "ratings_100k.parquet")
    films = pd.DataFrame(
        {"movie_id": range(10), "title": [f"film {n}" for n in range(10)], "genres": "Drama|War"}
    )
    films.to_parquet(tmp_path / "movies.parquet")
    found = movietweetings(tmp_path)
    assert (len(found.train), len(found.test)) == (80, 20)
    assert found.train["timestamp"].max() < found.test["timestamp"].min()
    assert found.train["liked"].sum() + found.test["liked"].sum() == (ratings["rating"] >= 8).sum()
    assert "rating" not in found.train


def test_headline_tests_stay_whole_and_equal_headlines_are_one_arm(tmp_path: Path) -> None:
    table = pd.DataFrame(
        [
            ("a", "One", 100, 5, 201443),
            ("a", "One", 50, 1, 201443),
            ("a", "Two", 90, 3, 201444),
            ("b", "One", 80, 2, 201430),
        ],
        columns=["clickability_test_id", "headline", "impressions", "clicks", "test_week"],
    )
    table.to_parquet(tmp_path / "upworthy_dev.parquet")
    found = upworthy(tmp_path)
    assert found.train[["test", "clicks"]].values.tolist() == [["b", 2]]
    assert found.test[["headline", "impressions", "clicks"]].values.tolist() == [
        ["One", 150, 6],
        ["Two", 90, 3],
    ]


def test_options_are_the_words_of_fit_predict() -> None:
    options = Options(
        label="click", time="at", user="u", item="i", text=["title"], numeric=["a", "b"], progressive=True
    )
    assert options.arguments() == [
        *("--label", "click", "--time", "at", "--user", "u", "--item", "i"),
        *("--text", "title", "--numeric", "a", "b", "--progressive"),
    ]
    assert {name: row[1].text for name, row in ours(options).items()} == {
        "ours": [],
        "ours-text": ["title"],
        "ours-frozen": [],
    }


def test_a_peer_says_what_it_lacks() -> None:
    only_text = Options(clicks="c", impressions="n", group="test", text=["headline"])
    assert PEERS_BY_NAME["lightgbm"].lacks(only_text) == "takes no text, and there is nothing else"
    assert PEERS_BY_NAME["tfidf-ridge"].lacks(only_text) is None
    assert PEERS_BY_NAME["vw"].lacks(only_text) is None


def test_segments_are_judged_from_a_thousand_expected_clicks() -> None:
    test = pd.DataFrame({"click": [1, 0] * 3_000, "slot": ["top|wide"] * 4_000 + ["side"] * 2_000})
    prepared = Prepared(
        "x", test, test, Options(label="click", categorical=["slot"]), "slot", segments=["slot"]
    )
    p = np.where(test["slot"] == "side", 0.4, 0.5)
    found = {
        segment.name: (segment.expected, segment.ratio, segment.is_right)
        for segment in Judge(prepared).segments(p)
    }
    assert found == {"slot top": (2_000, 1.0, True), "slot wide": (2_000, 1.0, True)}
    again = {segment.name: round(segment.ratio, 3) for segment in Judge(prepared).segments(p + 0.2)}
    assert again == {"slot top": 1.4, "slot wide": 1.4, "slot side": 1.2}
