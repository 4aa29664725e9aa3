"""A calibration as it serves: a small file beside the trees, evaluated by numpy alone.

How it is fitted and chosen: ml.ctr.calibrate. In log odds x of the trees, after the share of sampled non-clicks was put
right (ml.ctr.sampling):

    none x · level x + b · platt a·x + b · beta a·ln p − b·ln(1 − p) + c, p = 1 / (1 + e^−x)
    segments x + b + shift of the campaign in the slot · isotonic: straight lines between knots
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml import artifacts
from ml.schema import Column, Floats, Ints

FILE = "calibration.json"
OLDER_FILE = "level.json"  # of models trained before there was anything but a level
SLOTS = 1 << 31  # ids of slots are below it, so that campaign and slot make one number


@dataclass(frozen=True)
class Calibration:
    """`kind` and its numbers; `segments`: campaign and slot (`segment_of`) → what is added to the log odds;
    `offset`: added first, what training on a share of the non-clicks took away."""

    kind: str = "none"
    parameters: tuple[float, ...] = ()
    segments: Mapping[int, float] = field(default_factory=dict)
    offset: float = 0.0

    @property
    def size(self) -> int:
        """How many numbers were fitted."""
        return len(self.parameters) + len(self.segments)

    def log_odds(self, x: Floats, *, campaign: Ints | None = None, slot: Ints | int | None = None) -> Floats:
        """Calibrated log odds of the trees' own. Campaigns and slots matter where there are segments; one that has
        no level of its own has the common one."""
        moved = _MAPS[self.kind](x + self.offset, self.parameters)
        if self.segments and campaign is not None and slot is not None:
            moved = moved + self._shifts(segment_of(campaign, slot))
        return moved

    def probabilities(
        self, x: Floats, *, campaign: Ints | None = None, slot: Ints | int | None = None
    ) -> Floats:
        """Calibrated probabilities of the trees' log odds."""
        p: Floats = 1 / (1 + np.exp(-self.log_odds(x, campaign=campaign, slot=slot)))
        return p

    def _shifts(self, segment: Column) -> Floats:
        get = self.segments.get
        return np.array([get(one, 0.0) for one in segment.tolist()], np.float64)

    def save(self, folder: Path | str) -> str:
        """Write it into the folder; returns the file's name for its manifest."""
        stored = {
            "kind": self.kind,
            "parameters": list(self.parameters),
            "segments": sorted(self.segments.items()),
            "offset": self.offset,
        }
        (Path(folder) / FILE).write_text(json.dumps(stored))
        return FILE

    @classmethod
    def read(cls, folder: Path | str, manifest: artifacts.Manifest) -> Calibration:
        """That of a verified model folder."""
        if FILE not in manifest.files:
            factor = float(json.loads(artifacts.read(folder, manifest, OLDER_FILE))["factor"])
            return cls("level", (math.log(factor),))
        stored = json.loads(artifacts.read(folder, manifest, FILE))
        return cls(
            str(stored["kind"]),
            tuple(float(number) for number in stored["parameters"]),
            {int(segment): float(shift) for segment, shift in stored["segments"]},
            float(stored["offset"]),
        )


IDENTITY = Calibration()


def segment_of(campaign: Ints, slot: Ints | int) -> Ints:
    """One number for a campaign in a slot."""
    return np.asarray(campaign, np.int64) * SLOTS + slot


def _beta(x: Floats, parameters: tuple[float, ...]) -> Floats:
    a, b, c = parameters
    moved: Floats = b * np.logaddexp(0, x) - a * np.logaddexp(0, -x) + c
    return moved


def _isotonic(x: Floats, parameters: tuple[float, ...]) -> Floats:
    knots = len(parameters) // 2
    return np.interp(x, parameters[:knots], parameters[knots:])


_MAPS: dict[str, Callable[[Floats, tuple[float, ...]], Floats]] = {
    "none": lambda x, _: x,
    "level": lambda x, of: x + of[0],
    "segments": lambda x, of: x + of[0],
    "platt": lambda x, of: of[0] * x + of[1],
    "beta": _beta,
    "isotonic": _isotonic,
}
