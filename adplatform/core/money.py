"""Amounts of money: integer micros (1e-6 of a currency unit), never floats.

Rounding is decided here once. Shares round towards the platform's side of the split and always add
up; a price per thousand rounds up to whole micros per impression; text rounds half away from zero;
invoices round to coins, half to even.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

MICROS = 1_000_000
BASIS_POINTS = 10_000
_WRITTEN = re.compile(r"[+-]?\d{1,12}(\.\d+)?", re.ASCII)

# ISO 4217 minor units other than 2.
_WHOLE = ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV")
_THOUSANDTHS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_DIGITS = {**dict.fromkeys((*_WHOLE, "XAF", "XOF", "XPF"), 0), **dict.fromkeys(_THOUSANDTHS, 3)}
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "VND": "₫", "UAH": "₴"}


class MoneyError(ValueError):
    """An amount that cannot be read, with a sentence a person can act on."""


def digits_of(currency: str) -> int:
    """Decimals of the currency's smallest coin (ISO 4217): JPY 0, EUR 2, KWD 3."""
    return _DIGITS.get(currency.upper(), 2)


def split(cost_micros: int, share_bp: int) -> tuple[int, int]:
    """(publisher, platform) parts of a cost; they add up to it exactly.

    `share_bp` is the publisher's share in basis points. The fraction of a micro goes to the platform,
    and a reversal splits into exactly the negated parts of what it reverses.
    """
    if not 0 <= share_bp <= BASIS_POINTS:
        raise MoneyError(f"A share lies between 0 and {BASIS_POINTS} basis points, not {share_bp}.")
    publisher_micros = abs(cost_micros) * share_bp // BASIS_POINTS
    if cost_micros < 0:
        publisher_micros = -publisher_micros
    return publisher_micros, cost_micros - publisher_micros


def per_mille(price_cpm_micros: int) -> int:
    """What one impression owes at a price per 1,000, rounded up to a whole micro.

    A publisher's floor is thus never undercut by rounding; the auction caps the result by the bid.
    """
    return -(-price_cpm_micros // 1000)


def parse_micros(text: str, currency: str, *, digits: int | None = None) -> int:
    """Micros of a written amount such as '1,234.50'; commas and spaces group thousands.

    More decimals than the currency has are refused, not rounded; `digits` allows finer amounts (bids).
    """
    allowed = digits_of(currency) if digits is None else digits
    bare = "".join(text.replace(",", "").split())
    if not _WRITTEN.fullmatch(bare):
        raise MoneyError(f"“{text}” is not an amount of money.")
    amount = Decimal(bare)
    if amount != round(amount, allowed):
        raise MoneyError(f"{currency} amounts have at most {allowed} decimals.")
    return int(amount * MICROS)


def round_half_even(micros: int, currency: str, *, of: int = 1) -> int:
    """Micros / `of`, rounded once to whole coins of the currency, half to the even coin. Exact: integers only."""
    coin: int = 10 ** (6 - digits_of(currency)) * of
    whole, rest = divmod(micros, coin)
    if rest * 2 > coin or (rest * 2 == coin and whole % 2):
        whole += 1
    return whole * (coin // of)


def format_plain(micros: int, currency: str, *, digits: int | None = None) -> str:
    """The amount alone, as `parse_micros` reads it back: '1234.50'."""
    return f"{_rounded(micros, digits_of(currency) if digits is None else digits):f}"


def format_micros(micros: int, currency: str, *, digits: int | None = None) -> str:
    """An amount for people: '€1,234.50', '-¥500', 'CHF 12.00'."""
    code = currency.upper()
    amount = _rounded(micros, digits_of(code) if digits is None else digits)
    sign = "-" if amount < 0 else ""
    return f"{sign}{_SYMBOLS.get(code, f'{code} ')}{abs(amount):,f}"


def _rounded(micros: int, digits: int) -> Decimal:
    amount = (Decimal(micros) / MICROS).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return amount if amount else abs(amount)
