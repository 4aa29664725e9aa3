"""`manage.py replay_auctions`: figures of a file, and bad usage said in one line with exit status 2."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command


@pytest.fixture
def file(tmp_path: Path) -> str:
    rng = np.random.default_rng(3)
    pctr = rng.uniform(0.001, 0.01, 5_000)
    table = pa.table(
        {
            "click": (rng.random(5_000) < pctr).astype(np.int8),
            "market_price": rng.integers(1, 300, 5_000),
            "pctr": pctr,
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    return str(tmp_path / "log.parquet")


def replay(*arguments: str) -> str:
    out = StringIO()
    call_command("replay_auctions", *arguments, stdout=out)
    return out.getvalue()


def test_the_json_has_what_others_rely_on(file: str) -> None:
    figures = json.loads(replay(file, "--budget-share", "0.125", "--json"))
    assert {"impressions", "clicks", "value", "spend", "spend_ratio"} <= figures.keys()
    assert 0.98 < figures["spend_ratio"] <= 1
    assert figures["spend"] == pytest.approx(figures["spend_ratio"] * figures["budget"])


def test_a_mean_cost_and_a_period_set_the_budget(file: str) -> None:
    figures = json.loads(
        replay(
            file, "--budget-share", "0.5", "--mean-cost", "100", "--period", "1000", "--tick", "10", "--json"
        )
    )
    assert figures["budget"] == 0.5 * 100 * 5_000


@pytest.mark.parametrize("bidder", ["receding", "dual"])
def test_a_worth_of_a_click_limits_what_is_paid(file: str, bidder: str) -> None:
    figures = json.loads(replay(file, "--budget-share", "1", "--ecpc", "9000", "--bidder", bidder, "--json"))
    assert figures["spend"] < 9_000 * figures["value"]


def test_the_words_name_the_same_figures(file: str) -> None:
    assert [line.split()[0] for line in replay(file, "--budget-share", "0.5").splitlines()] == [
        "auctions",
        "impressions",
        "clicks",
        "value",
        "spend",
        "spend_ratio",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget-share", "0"], "--budget-share must be more than 0."),
        (["--budget-share", "nan"], "--budget-share must be more than 0."),
        (["--budget-share", "1", "--period", "-5"], "--period must be more than 0."),
        (["--budget-share", "1", "--bidder", "linear"], "--bidder linear needs --ecpc."),
    ],
)
def test_bad_usage_is_one_line_and_status_two(file: str, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        replay(file, *arguments)
    assert (str(caught.value), caught.value.returncode) == (message, 2)


def test_a_file_that_cannot_be_replayed_says_why(tmp_path: Path) -> None:
    pq.write_table(pa.table({"click": [1]}), tmp_path / "short.parquet")
    (tmp_path / "broken.parquet").write_text("no parquet")
    empty = pa.table({name: pa.array([], pa.float64()) for name in ("click", "market_price", "pctr")})
    pq.write_table(empty, tmp_path / "empty.parquet")
    for name, words in [
        ("short", "has no column market_price, pctr."),
        ("broken", "cannot be replayed"),
        ("empty", "has no rows."),
        ("absent", "cannot be replayed"),
    ]:
        with pytest.raises(CommandError, match=words) as caught:
            replay(str(tmp_path / f"{name}.parquet"), "--budget-share", "1")
        assert caught.value.returncode == 2
        assert "\n" not in str(caught.value)
