"""Chance that can be replayed: 64-bit mixing of a seed with ids, the same on every machine.

The mixer is splitmix64 (Steele, Lea, Flood, OOPSLA 2014). Noise is tied to a candidate's id and not to
its place in a list, so the order in which candidates arrive changes nothing.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

WordArray = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_NORMALS = 1 << 16
_ONE, _STEP = np.uint64(1), np.uint64(_GOLDEN)
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST = np.uint64(31)


def mix(seed: int, number: int) -> int:
    """A 64-bit word from two numbers."""
    word = (seed + _GOLDEN * (number + 1)) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def mixed(seed: int, numbers: npt.NDArray[np.int64]) -> WordArray:
    """`mix` of one seed with many numbers."""
    word = numbers.astype(np.uint64)  # changed in place from here on: half the cost for the few of a request
    word += _ONE
    word *= _STEP
    word += np.uint64(seed & _MASK)
    for shift, factor in _ROUNDS:
        word ^= word >> shift
        word *= factor
    word ^= word >> _LAST
    return word


def share(word: int) -> float:
    """A word as a number in [0, 1)."""
    return (word >> 11) * 2.0**-53


def word_of(*names: str) -> int:
    """A 64-bit word from names, stable over processes and versions."""
    return int.from_bytes(blake2b("\x1f".join(names).encode(), digest_size=8).digest(), "big")


@cache
def normals() -> npt.NDArray[np.float64]:
    """65,536 standard normal numbers: the exact quantiles, shuffled by `mixed`.

    A bank instead of a generator: cheaper in a request, and no library's version can change it.
    """
    inverse = NormalDist().inv_cdf
    half = [inverse((i + 0.5) / _NORMALS) for i in range(_NORMALS // 2)]
    quantiles = np.array([*half, *(-value for value in reversed(half))])
    return quantiles[np.argsort(mixed(0, np.arange(_NORMALS)), kind="stable")]


@cache
def bank(draws: int) -> npt.NDArray[np.float32]:
    """The bank in single precision, its beginning again at its end, so that a stretch of `draws` fits everywhere."""
    narrow = normals().astype(np.float32)  # seven digits of a random number are plenty, and half the work
    return np.concatenate([narrow, narrow[: draws - 1]])


@cache
def _windows(draws: int) -> npt.NDArray[np.float32]:
    return np.lib.stride_tricks.sliding_window_view(bank(draws), draws)


def starts(seed: int, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where in the bank the noise of each id begins."""
    return (mixed(seed, ids) & np.uint64(_NORMALS - 1)).astype(np.int64)


def noise(starts: npt.NDArray[np.int64], draws: int) -> npt.NDArray[np.float32]:
    """Standard normal numbers, one row of `draws` for each start."""
    return _windows(draws)[starts]


def normal(starts: npt.NDArray[np.int64], draw: int, draws: int) -> npt.NDArray[np.float32]:
    """One column of `noise`."""
    return bank(draws)[starts + draw]
