"""VAT on advertising services: which rate, and what the invoice must say. Standard rates by the day they began.

An operator's TaxRate rows come before this table (a reduced rate, a change of law, a country outside the EU).
Sources: Council Directive 2006/112/EC articles 44 and 196; rates as the European Commission publishes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from adplatform.billing.models import BillingProfile, TaxRate

_LONG_AGO = date(2020, 1, 1)
_STANDARD: dict[str, tuple[tuple[date, int], ...]] = {
    **{
        country: ((_LONG_AGO, percent * 100),)
        for country, percent in {
            **{"AT": 20, "BE": 21, "BG": 20, "CY": 19, "CZ": 21, "DE": 19, "DK": 25, "ES": 21, "FR": 20},
            **{"GR": 24, "HR": 25, "HU": 27, "IE": 23, "IT": 22, "LT": 21, "LU": 17, "LV": 21, "MT": 18},
            **{"NL": 21, "PL": 23, "PT": 23, "SE": 25, "SI": 22},
        }.items()
    },
    "EE": ((_LONG_AGO, 2_000), (date(2024, 1, 1), 2_200), (date(2025, 7, 1), 2_400)),
    "FI": ((_LONG_AGO, 2_400), (date(2024, 9, 1), 2_550)),
    "RO": ((_LONG_AGO, 1_900), (date(2025, 8, 1), 2_100)),
    "SK": ((_LONG_AGO, 2_000), (date(2025, 1, 1), 2_300)),
}
EU = frozenset(_STANDARD)
_VAT_ID = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,13}")
REVERSE_CHARGE = "Reverse charge: VAT is due from the recipient (Article 196, Directive 2006/112/EC)."
OUTSIDE = "Not subject to VAT here: the recipient is established outside the European Union."


@dataclass(frozen=True, slots=True)
class Tax:
    rate_bp: int
    note: str = ""


def tax_for(profile: BillingProfile | None, *, seller_country: str, on: date) -> Tax:
    """The rate of an advertiser's invoice for services of that day. A seller without a country charges no VAT."""
    if not seller_country:
        return Tax(0)
    buyer = profile.country if profile else seller_country
    if buyer == seller_country:
        return Tax(rate(seller_country, on))
    if buyer not in EU or seller_country not in EU:
        return Tax(0, OUTSIDE)
    if profile is not None and profile.vat_id:
        return Tax(0, REVERSE_CHARGE)
    return Tax(rate(seller_country, on))


def rate(country: str, on: date) -> int:
    """Basis points of that country's VAT on that day."""
    own = TaxRate.objects.filter(country=country, valid_from__lte=on).order_by("-valid_from").first()
    if own is not None:
        return own.rate_bp
    began = [bp for since, bp in _STANDARD.get(country, ()) if since <= on]
    return began[-1] if began else 0


def is_vat_id(text: str, country: str) -> bool:
    """Whether it has the shape of that country's VAT id (Greece writes EL)."""
    prefix = "EL" if country == "GR" else country
    return bool(_VAT_ID.fullmatch(text)) and text.startswith(prefix)
