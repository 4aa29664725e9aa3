"""Money is whole micros: parts add up, text and amount agree, rounding is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.core.money import (
    MoneyError,
    digits_of,
    format_micros,
    format_plain,
    parse_micros,
    per_mille,
    split,
)

micros = st.integers(-(10**15), 10**15)


def test_a_cost_splits_into_publisher_and_platform() -> None:
    assert split(1_000_001, 7_000) == (700_000, 300_001)
    assert split(-1_000_001, 7_000) == (-700_000, -300_001)
    assert split(7, 10_000) == (7, 0)
    assert split(7, 0) == (0, 7)


@given(cost=micros, share_bp=st.integers(0, 10_000))
def test_parts_always_add_up_and_reversals_undo_them(cost: int, share_bp: int) -> None:
    publisher, platform = split(cost, share_bp)
    assert publisher + platform == cost
    assert split(-cost, share_bp) == (-publisher, -platform)
    assert abs(publisher) <= abs(cost)


@pytest.mark.parametrize("share_bp", [-1, 10_001])
def test_a_share_is_a_part_of_the_whole(share_bp: int) -> None:
    with pytest.raises(MoneyError):
        split(1, share_bp)


def test_one_impression_costs_a_thousandth_rounded_up() -> None:
    assert [per_mille(price) for price in (0, 1, 999, 1_000, 1_001, 2_500_000)] == [0, 1, 1, 1, 2, 2_500]


def test_currencies_have_their_own_smallest_coin() -> None:
    assert [digits_of(code) for code in ("JPY", "EUR", "usd", "KWD", "ZZZ")] == [0, 2, 2, 3, 2]


@pytest.mark.parametrize(
    ("text", "currency", "wanted"),
    [
        ("12", "EUR", 12_000_000),
        (" 1,234.50 ", "EUR", 1_234_500_000),
        ("1 234.5", "EUR", 1_234_500_000),
        ("-0.01", "EUR", -10_000),
        ("500", "JPY", 500_000_000),
        ("0.125", "KWD", 125_000),
    ],
)
def test_an_amount_is_read_exactly(text: str, currency: str, wanted: int) -> None:
    assert parse_micros(text, currency) == wanted


@pytest.mark.parametrize("text", ["", "abc", "1e3", "NaN", "inf", "1.2.3", "--1", "0x1", "1" * 13, "٣"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(MoneyError, match="not an amount"):
        parse_micros(text, "EUR")


def test_finer_than_the_coin_is_refused_unless_asked_for() -> None:
    with pytest.raises(MoneyError, match="at most 2 decimals"):
        parse_micros("0.001", "EUR")
    with pytest.raises(MoneyError, match="at most 0 decimals"):
        parse_micros("1.5", "JPY")
    assert parse_micros("0.001", "EUR", digits=6) == 1_000


@pytest.mark.parametrize(
    ("amount", "currency", "wanted"),
    [
        (1_234_500_000, "EUR", "€1,234.50"),
        (-1_234_500_000, "USD", "-$1,234.50"),
        (5_000, "EUR", "€0.01"),  # half a cent rounds away from zero
        (-5_000, "EUR", "-€0.01"),
        (-4_999, "EUR", "€0.00"),
        (1_500_000, "JPY", "¥2"),
        (1_234_567, "KWD", "KWD 1.235"),
        (12_000_000, "CHF", "CHF 12.00"),
    ],
)
def test_an_amount_for_people(amount: int, currency: str, wanted: str) -> None:
    assert format_micros(amount, currency) == wanted


def test_bids_show_their_decimals() -> None:
    assert format_micros(1_250, "EUR", digits=6) == "€0.001250"


@given(coins=st.integers(-(10**9), 10**9), currency=st.sampled_from(("JPY", "EUR", "KWD")))
def test_text_and_amount_are_two_forms_of_one_number(coins: int, currency: str) -> None:
    amount = coins * 10 ** (6 - digits_of(currency))
    assert parse_micros(format_plain(amount, currency), currency) == amount
