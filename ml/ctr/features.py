"""The blender's features: one function for training and for serving.

`RAW` are the numbers that the platform has (or NaN); `NAMES` are the columns that the trees see. Nothing here
depends on bids, budgets or floors: a price must not change the click probability that it is computed from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ml.artifacts import schema_hash
from ml.ctr import counters
from ml.ctr.counters import Raw
from ml.native import kernels
from ml.schema import CONTEXT, Column, Floats, Vectors

RAW = ("text_score", *Raw._fields, *CONTEXT)

NAMES = (
    "text_score",
    "creative_ctr",
    "creative_recent_ctr",
    "creative_log_impressions",
    "line_item_ctr",
    "line_item_log_impressions",
    "slot_lift",
    "site_lift",
    "slot_log_impressions",
    "visitor_ctr",
    "visitor_log_impressions",
    "visitor_residual",
    "visitor_recent_residual",
    "frequency_log",
    "position",
    "hour",
    "weekday",
    "device",
    "has_profile",
    "format",
    "log_area",
    "log_shape",
)

# A larger value of these must not lower the predicted probability.
RISING = frozenset(
    {
        "text_score",
        "creative_ctr",
        "creative_recent_ctr",
        "line_item_ctr",
        "slot_lift",
        "site_lift",
        "visitor_ctr",
    }
)

SCHEMA = schema_hash((*NAMES, *(repr(constant) for constant in counters.CONSTANTS)))

DEVICES = {"desktop": 0.0, "mobile": 1.0, "tablet": 2.0, "tv": 3.0}
FORMATS = {"banner": 0.0, "native": 1.0, "video": 2.0, "audio": 3.0}
_COPIED = ("text_score", "position", "hour", "weekday", "device", "has_profile", "format")
_OF_ADS_AND_PLACES = {name for name in Raw._fields if not name.startswith("visitor") and name != "frequency"}
_MISSING = {name: 0.0 if name in _OF_ADS_AND_PLACES else float("nan") for name in RAW}
_OF_ADS = tuple(name for name in RAW if name.startswith(("creative", "line_item", "campaign", "advertiser")))
MISSING_REQUEST = {name: value for name, value in _MISSING.items() if name not in _OF_ADS}


_PLACES = np.array(
    [
        NAMES.index(name)
        for name in (
            "text_score",
            "creative_ctr",
            "creative_recent_ctr",
            "creative_log_impressions",
            "line_item_ctr",
            "line_item_log_impressions",
        )
    ],
    np.int32,
)
_FREQUENCY = NAMES.index("frequency_log")


def device_code(device: str | None) -> float:
    """The number of a device class, NaN where it is unknown."""
    return DEVICES.get(device or "", float("nan"))


def format_code(ad_format: str | None) -> float:
    """The number of a creative's format, NaN where it is unknown."""
    return FORMATS.get(ad_format or "", float("nan"))


class AdSide(NamedTuple):
    """What the ads bring to their rows, apart from the moment: smoothed rates, counts and recent sums by row, and the
    overall rate. Serving computes it once per view of the statistics, for every ad."""

    creative: Floats
    line_item: Floats
    creative_log_impressions: Floats
    line_item_log_impressions: Floats
    creative_recent_clicks: Floats
    creative_recent_exposure: Floats
    line_item_recent_clicks: Floats
    line_item_recent_exposure: Floats
    overall: Any

    def table(self) -> Floats:
        """All of them but the overall rate, a row each: what `of_ads` picks from at once."""
        return np.stack(self[:-1])


# In the places of a request's ads, where only the request matters.
_NO_AD: Any = AdSide._make((0.5, 0.5, *(0.0,) * 7))


def ad_side(raw: Mapping[str, Any]) -> AdSide:
    """From the counters of ads among the numbers of RAW."""
    rates = counters.ad_rates(raw)
    return AdSide(
        creative=rates.creative,
        line_item=rates.line_item,
        creative_log_impressions=np.log1p(raw["creative_impressions"]),
        line_item_log_impressions=np.log1p(raw["line_item_impressions"]),
        creative_recent_clicks=raw["creative_recent_clicks"],
        creative_recent_exposure=raw["creative_recent_exposure"],
        line_item_recent_clicks=raw["line_item_recent_clicks"],
        line_item_recent_exposure=raw["line_item_recent_exposure"],
        overall=rates.overall,
    )


def build(raw: Mapping[str, Column | float]) -> Vectors:
    """Feature rows, float32 of shape (n, len(NAMES)), NaN where something is missing.

    `raw` maps names of RAW to a column of n numbers, or to one number that holds for all rows (a request's
    hour). A missing name is unknown; counters of ads and places that are missing were never raised.
    `creative_impressions` must be a column: it says how many rows there are.
    """
    columns = {name: _number(raw.get(name, missing)) for name, missing in _MISSING.items()}
    return assembled(ad_side(columns), columns, size=np.size(raw["creative_impressions"]))


def assembled(ads: AdSide, raw: Mapping[str, Any], *, size: int) -> Vectors:
    """`build` where the ads' side is known; `raw` holds the other numbers of RAW, all of them (see `MISSING_REQUEST`)."""
    columns = _columns(ads, raw)
    out = np.empty((size, len(NAMES)), np.float32)
    out[:] = [0.0 if isinstance(columns[name], np.ndarray) else columns[name] for name in NAMES]
    for place, name in enumerate(NAMES):
        if isinstance(column := columns[name], np.ndarray):
            out[:, place] = column
    return out


def of_ads(
    table: Floats,
    rows: Column,
    overall: float,
    raw: Mapping[str, Any],
    *,
    creative_faded: float,
    line_item_faded: float,
) -> Vectors:
    """`assembled` of these rows of an `AdSide.table`, their recent sums multiplied by how much they have faded since."""
    if kernels is None:
        picked = table[:, rows]
        picked[4:6] *= creative_faded
        picked[6:8] *= line_item_faded
        return assembled(AdSide._make((*picked, overall)), raw, size=len(rows))
    columns = _columns(_NO_AD._replace(overall=overall), raw)
    constants = np.array(
        [0.0 if isinstance(columns[name], np.ndarray) else columns[name] for name in NAMES], np.float32
    )
    out = np.empty((len(rows), len(NAMES)), np.float32)
    kernels.features(
        constants,
        _PLACES,
        rows,
        len(rows),
        table,
        table.shape[1],
        creative_faded,
        line_item_faded,
        counters.CREATIVE_STRENGTH,
        counters.LINE_ITEM_STRENGTH,
        raw["text_score"],
        out,
    )
    if isinstance(frequency := columns["frequency_log"], np.ndarray):
        out[:, _FREQUENCY] = frequency
    return out


def _columns(ads: AdSide, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Every feature, a column or one number for all rows."""
    slot_lift, site_lift = counters.place_lifts(raw)
    width, height = _log_size(raw["width"]), _log_size(raw["height"])
    return {
        "creative_ctr": ads.creative,
        "creative_recent_ctr": _recent_rate(ads),
        "creative_log_impressions": ads.creative_log_impressions,
        "line_item_ctr": ads.line_item,
        "line_item_log_impressions": ads.line_item_log_impressions,
        "slot_lift": slot_lift,
        "site_lift": site_lift,
        "slot_log_impressions": _log1p(raw["slot_impressions"]),
        "visitor_ctr": counters.smoothed(
            raw["visitor_clicks"], raw["visitor_impressions"], ads.overall, counters.VISITOR_STRENGTH
        ),
        "visitor_log_impressions": _log1p(raw["visitor_impressions"]),
        "visitor_residual": counters.visitor_residual(
            raw["visitor_clicks"], raw["visitor_expected"], raw["visitor_impressions"]
        ),
        "visitor_recent_residual": counters.visitor_residual(
            raw["visitor_recent_clicks"], raw["visitor_recent_expected"], raw["visitor_recent_impressions"]
        ),
        "frequency_log": _log1p(raw["frequency"]),
        "log_area": width + height,
        "log_shape": width - height,
        **{name: raw[name] for name in _COPIED},
    }


def _log1p(value: Any) -> Any:
    return math.log1p(value) if isinstance(value, float) else np.log1p(value)


def _log_size(pixels: Any) -> Any:
    return math.log(max(pixels, 1.0)) if isinstance(pixels, float) else np.log(np.maximum(pixels, 1))


def _number(value: Column | float) -> Floats | float:
    """A column as float64; one number stays one, since numpy is slow with those."""
    return float(value) if isinstance(value, int | float | np.generic) else np.asarray(value, np.float64)


def _recent_rate(ads: AdSide) -> Any:
    recent = {
        "creative_recent_clicks": ads.creative_recent_clicks,
        "creative_recent_exposure": ads.creative_recent_exposure,
        "line_item_recent_clicks": ads.line_item_recent_clicks,
        "line_item_recent_exposure": ads.line_item_recent_exposure,
    }
    return counters.recent_ad_rate(recent, counters.AdRates(ads.creative, ads.line_item, None, ads.overall))
