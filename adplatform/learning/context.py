"""What the models know of the moment and the place of an ad: one definition for training and for serving.

No Django here: the ads process scores with it. Hours and weekdays are those of the site's own clock.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from ml.ctr.features import device_code, format_code
from ml.schema import CONTEXT, Column, Floats

HOUR_SECONDS = 3_600


class Place(NamedTuple):
    """An ad slot as the models see it; `position` 1 is the top of the page, sizes are CSS pixels."""

    position: int
    format: str
    width: int
    height: int


def of_request(
    at: datetime, *, time_zone: str, place: Place, device: str, has_profile: bool
) -> dict[str, float]:
    """The columns of ml.schema.CONTEXT for one ad request."""
    local = at.astimezone(_zone(time_zone))
    values = (
        float(place.position),
        float(local.hour),
        float(local.weekday()),
        device_code(device),
        float(has_profile),
        format_code(place.format),
        float(place.width),
        float(place.height),
    )
    return dict(zip(CONTEXT, values, strict=True))


def of_log(
    time: Floats, *, time_zone: Column, place: dict[str, Column], device: Column, has_profile: Column
) -> dict[str, Floats]:
    """The same for many rows at once; `place` holds a column for each field of Place."""
    hour, weekday = _local(time, time_zone)
    columns = (
        place["position"],
        hour,
        weekday,
        _coded(device, device_code),
        has_profile,
        _coded(place["format"], format_code),
        place["width"],
        place["height"],
    )
    return {name: np.asarray(column, np.float64) for name, column in zip(CONTEXT, columns, strict=True)}


def _local(time: Floats, time_zone: Column) -> tuple[Floats, Floats]:
    """Local hour and weekday (Monday 0). Offsets are multiples of a quarter of an hour: one look-up per quarter."""
    quarter = np.floor(time / (HOUR_SECONDS / 4)).astype(np.int64)
    zones, zone = np.unique(time_zone.astype(str), return_inverse=True)
    pairs, row = np.unique(np.stack([zone, quarter]), axis=1, return_inverse=True)
    hours, weekdays = np.empty(pairs.shape[1]), np.empty(pairs.shape[1])
    for place, (code, number) in enumerate(pairs.T.tolist()):
        local = datetime.fromtimestamp(number * HOUR_SECONDS // 4, _zone(str(zones[code])))
        hours[place], weekdays[place] = local.hour, local.weekday()
    return hours[row.ravel()], weekdays[row.ravel()]


def _coded(column: Column, code_of: Callable[[str], float]) -> Floats:
    names, row = np.unique(column.astype(str), return_inverse=True)
    return np.array([code_of(name) for name in names.tolist()], np.float64)[row]


@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
