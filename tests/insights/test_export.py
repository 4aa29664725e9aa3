"""A CSV file opens in a spreadsheet as numbers and text, never as a formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.insights import export
from adplatform.insights.metrics import Totals


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\n=1"])
def test_text_that_would_run_as_a_formula_is_marked_as_text(text: str) -> None:
    assert export.cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["Shoes = fun", "a@b.example", 5, -5, 0.25])
def test_ordinary_text_and_numbers_stay(value: object) -> None:
    assert export.cell(value) == value


def test_what_is_unknown_is_an_empty_cell() -> None:
    assert export.cell(None) == ""


@given(st.text())
def test_no_cell_starts_as_a_formula(text: str) -> None:
    assert not str(export.cell(text)).lstrip().startswith(("=", "+", "-", "@"))


def test_the_file_is_streamed_and_reads_back() -> None:
    response = export.csv_response(
        "campaigns", ["name", "clicks"], iter([['Say "hi", friend', 3], ["=cmd", 0]])
    )
    assert response.streaming
    assert response["Content-Disposition"] == 'attachment; filename="campaigns.csv"'
    text = b"".join(response).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "clicks"],
        ['Say "hi", friend', "3"],
        ["'=cmd", "0"],
    ]


def test_amounts_keep_all_their_micros() -> None:
    cells = export.totals_cells(Totals(spend_micros=1_234_567, earned_micros=1), ["spend", "earned", "cpc"])
    assert [str(export.cell(cell)) for cell in cells] == ["1.234567", "0.000001", ""]
