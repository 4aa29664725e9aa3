"""Profiles as they stood at any moment: the decayed mean of the texts of what a visitor had done before it.

One running sum per visitor, s ← s · 2^(−Δt/half-life) + w·v, replayed forward in time over all visitors at once.
Only its direction is kept, so that a profile changes when its visitor does something and at no other time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.schema import Floats, Ints, Mask, Vectors

DAY_SECONDS = 86_400.0
NONE = -1


@dataclass(frozen=True)
class Trace:
    """What visitors did, sorted by visitor and time. `visitor` is a code 0…, `text` a row of the vectors, `time`
    seconds since 1970 UTC. `weight` is 1 where it is None; what a visitor does not want weighs −1."""

    visitor: Ints
    time: Floats
    text: Ints
    weight: Floats | None = None

    @classmethod
    def of(cls, visitor: Ints, time: Floats, text: Ints, weight: Floats | None = None) -> Trace:
        """The same acts in any order."""
        order = np.lexsort((time, visitor))
        return cls(visitor[order], time[order], text[order], None if weight is None else weight[order])

    def __len__(self) -> int:
        return len(self.time)

    def spoken(self, has_vector: Mask) -> Trace:
        """Without the acts whose text has no vector."""
        kept = has_vector[self.text]
        weight = None if self.weight is None else self.weight[kept]
        return Trace(self.visitor[kept], self.time[kept], self.text[kept], weight)


def states_before(trace: Trace, visitor: Ints, time: Floats, *, refresh_seconds: float = 0.0) -> Ints:
    """For each (visitor, time) the row of `trace` that came last before it; NONE without a profile.

    With `refresh_seconds` a profile is as old as the last refresh, at the full multiple of it: what a request was
    answered with, when profiles are rebuilt once an hour.
    """
    if len(trace) == 0:
        return np.full(len(time), NONE, np.int64)
    known_at = np.floor(time / refresh_seconds) * refresh_seconds if refresh_seconds else time
    moments = np.unique(trace.time)
    stride = len(moments) + 1
    key = trace.visitor * stride + np.searchsorted(moments, trace.time, side="left")
    wanted = visitor * stride + np.searchsorted(moments, known_at, side="left")
    place = np.searchsorted(key, wanted, side="left") - 1
    own = (place >= 0) & (visitor >= 0) & (trace.visitor[np.maximum(place, 0)] == visitor)
    return np.where(own, place, NONE)


def last_states(trace: Trace) -> Ints:
    """The last row of each visitor, in order of visitor code."""
    return (
        np.append(np.flatnonzero(np.diff(trace.visitor)), len(trace) - 1)
        if len(trace)
        else np.empty(0, np.int64)
    )


def profiles(trace: Trace, vectors: Vectors, states: Ints, *, half_life_seconds: float) -> Vectors:
    """The unit profile just after each of these rows of `trace`, rounded to float16 as it is stored and served."""
    wanted, place = np.unique(states, return_inverse=True)
    out = np.zeros((len(wanted), vectors.shape[1]), np.float32)
    if len(wanted) == 0:
        return out
    slot = np.full(len(trace), NONE, np.int64)
    slot[wanted] = np.arange(len(wanted))
    starts, lengths = _runs(trace.visitor)
    longest_first = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[longest_first], lengths[longest_first]
    decay = _decay(trace, half_life_seconds)
    running = np.zeros((len(starts), vectors.shape[1]), np.float32)
    for step in range(int(lengths[0])):
        active = int(np.searchsorted(-lengths, -step, side="left"))
        rows = starts[:active] + step
        running[:active] *= decay[rows, None]
        running[:active] += weighted(trace, vectors, rows)
        kept = slot[rows] != NONE
        out[slot[rows[kept]]] = running[:active][kept]
    norms = np.linalg.norm(out, axis=1, keepdims=True)
    out /= np.maximum(norms, 1e-12)
    return out.astype(np.float16).astype(np.float32)[place]


def weighted(trace: Trace, vectors: Vectors, rows: Ints) -> Vectors:
    """What these acts add to a profile."""
    added: Vectors = vectors[trace.text[rows]]
    return added if trace.weight is None else added * trace.weight[rows, None].astype(np.float32)


def _runs(visitor: Ints) -> tuple[Ints, Ints]:
    """First row and number of rows of each visitor."""
    starts = np.flatnonzero(np.append(True, np.diff(visitor) != 0))
    return starts, np.diff(np.append(starts, len(visitor)))


def _decay(trace: Trace, half_life_seconds: float) -> Vectors:
    """What is left of a visitor's sum when his next act comes; the first act of a visitor starts from nothing."""
    gap = np.diff(trace.time, prepend=trace.time[:1])
    gap[np.diff(trace.visitor, prepend=trace.visitor[:1]) != 0] = 0.0
    return np.exp2(-gap / half_life_seconds).astype(np.float32)
