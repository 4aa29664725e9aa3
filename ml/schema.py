"""The only contract between ml and whoever calls it: array types and the impression log.

Everything comes in as numpy columns of equal length. Times are seconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Column = npt.NDArray[Any]

CONTEXT = ("position", "hour", "weekday", "device", "has_profile", "format", "width", "height")

_ABOVE = ("campaign", "advertiser", "site")


@dataclass(frozen=True)
class Withdrawn:
    """Impressions and clicks that counted for a while, until they were found invalid: no rows of a log, nothing is learned
    from them, yet between `time` and `found_at` the counters that requests met held them.

    `time`: when it was served, or its click arrived. The ids are those of its impression, as in the log.
    """

    time: Floats
    found_at: Floats
    is_click: Mask
    creative: Column
    line_item: Column
    slot: Column
    visitor: Column
    campaign: Column | None = None
    advertiser: Column | None = None
    site: Column | None = None

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True)
class ImpressionLog:
    """One row per impression shown, in any order.

    `time` is when the ad was served; `click_time` is when its click arrived, NaN where none came.
    `visitor` is None (or "") where no consent allowed an identifier: such a row neither reads nor
    leaves visitor statistics. `context` holds the columns of CONTEXT as floats, NaN where unknown.
    `campaign` and `advertiser` are those of the line item, `site` that of the slot; None: there are none.
    `withdrawn` is told beside the rows, whichever of them are taken.
    """

    time: Floats
    click_time: Floats
    creative: Column
    line_item: Column
    slot: Column
    visitor: Column
    context: Mapping[str, Floats] = field(default_factory=dict)
    campaign: Column | None = None
    advertiser: Column | None = None
    site: Column | None = None
    withdrawn: Withdrawn | None = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def clicked(self) -> Floats:
        """1.0 where a click came, else 0.0."""
        return (~np.isnan(self.click_time)).astype(np.float64)

    def take(self, rows: Ints | Mask) -> ImpressionLog:
        """The same log with only these rows (a mask, or positions in the wanted order)."""
        return ImpressionLog(
            time=self.time[rows],
            click_time=self.click_time[rows],
            creative=self.creative[rows],
            line_item=self.line_item[rows],
            slot=self.slot[rows],
            visitor=self.visitor[rows],
            context={name: column[rows] for name, column in self.context.items()},
            withdrawn=self.withdrawn,
            **{name: None if (column := getattr(self, name)) is None else column[rows] for name in _ABOVE},
        )
