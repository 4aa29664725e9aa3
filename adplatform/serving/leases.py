"""What this process may spend: leases of budgets, taken in the background, spent in memory.

`spend(snapshot)` is the live column that a decision reads: what is left of each campaign's lease, by candidate. A served
ad takes its charge from it, a click's by the probability that it comes; `tend` tells Valkey what was spent and tops up
what runs low, and nothing of that happens in a request. Without a beat for `TTL_SECONDS` all leases are worth nothing:
the worker may have given them to others. No Django here.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import redis

from adplatform.campaigns.stretches import stretch_of
from adplatform.decision.types import IntArray, Pick

from .lease_protocol import TTL_SECONDS, Beat, Claim, Ledger

if TYPE_CHECKING:  # of which only the candidates are read; loading it takes the models along
    from .snapshot import Snapshot

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_BEAT_SECONDS = 1.0
_REST_SECONDS = 1.0  # after a failed trip
_REPORT_SECONDS = 5.0  # a killed process has told all but the last of what it spent
_PIECE = 250  # campaigns for which the lock is held at once: a request that takes from its lease waits under a millisecond
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 16.0  # until a campaign that has nothing is asked for again


@dataclass(slots=True)
class _Lease:
    """A campaign's lease. `held_micros`: as Valkey has it; `spent_micros`: of that, not told yet, in `untold` by the
    stretch in which it was served; `least_micros` and `most_micros`: what one event of its ads may cost; `low_micros`:
    below which more is asked for."""

    held_micros: int = 0
    spent_micros: int = 0
    untold: dict[int, int] = field(default_factory=dict)
    least_micros: int = 0
    most_micros: int = 0
    low_micros: int = 0
    pause_seconds: float = 0.0
    ask_at: float = 0.0

    @property
    def left_micros(self) -> int:
        return max(0, self.held_micros - self.spent_micros)


class Spend:
    """What is left for each candidate of one snapshot, and the way to take from it."""

    def __init__(self, snapshot: Snapshot, leases: Leases) -> None:
        self.snapshot = snapshot
        self._leases = leases
        self.campaigns, inverse = np.unique(snapshot.candidates.campaign_id, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        ends = np.cumsum(np.bincount(inverse, minlength=len(self.campaigns)))
        self._rows = np.split(order, ends[:-1]) if len(self.campaigns) else []
        self._index = {int(id): place for place, id in enumerate(self.campaigns.tolist())}
        needed = snapshot.candidates.needed_micros
        self.most_micros = np.zeros(len(self.campaigns), np.int64)
        np.maximum.at(self.most_micros, inverse, needed)
        self.least_micros = self.most_micros.copy()
        np.minimum.at(self.least_micros, inverse, needed)
        self.remaining_micros: IntArray = np.zeros(len(inverse), np.int64)

    def needs(self) -> Iterator[tuple[int, int, int]]:
        """(campaign, least, most that one event of its ads may cost), which is never nothing."""
        costs = np.maximum(1, self.least_micros).tolist(), np.maximum(1, self.most_micros).tolist()
        return zip(self.campaigns.tolist(), *costs, strict=True)

    def take(self, pick: Pick, at: datetime) -> None:
        """Expect the charge of an impression at once, that of a click with its probability."""
        chance = pick.pctr if pick.price_kind == "cpc" else 1.0
        self._leases.take(pick.candidate.campaign_id, round(pick.charge_micros * chance), at)

    def show(self, campaign_id: int, left_micros: int) -> None:
        place = self._index.get(campaign_id)
        if place is not None:
            self.remaining_micros[self._rows[place]] = left_micros


class Leases:
    """All leases of this process. `tend` is called by the background thread, or by whoever has none before each decision."""

    def __init__(self, client: redis.Redis) -> None:
        self._ledger = Ledger(client)
        self._lock = threading.Lock()  # of what requests and the background share: amounts and columns
        self._tending = threading.Lock()
        self._name = _new_name()
        self._beat = Beat(0, "", 0, 0, is_known=False)
        self._held: dict[int, _Lease] = {}
        self._columns: list[Spend] = []  # of the newest snapshot, and of the one before it
        self._asking: set[int] = set()
        self._dry: set[int] = set()
        self._touched: set[int] = set()
        self._valid_until = self._beat_at = self._report_at = self._rest_until = 0.0

    # --- in a request -------------------------------------------------------------------------------------------------

    def spend(self, snapshot: Snapshot) -> Spend:
        """The column of this snapshot; all zeros where the leases have run out."""
        if self._beat.number and time.monotonic() > self._valid_until:
            self._forget(is_struck_off=True)
        for column in self._columns:
            if column.snapshot is snapshot:
                return column
        return self._column(snapshot)

    def take(self, campaign_id: int, micros: int, at: datetime) -> None:
        stretch = stretch_of(at.timestamp())
        with self._lock:
            lease = self._held.get(campaign_id)
            if lease is None:
                lease = self._held[campaign_id] = _Lease()
            lease.spent_micros += micros
            lease.untold[stretch] = lease.untold.get(stretch, 0) + micros
            self._reveal(campaign_id, lease)
            self._touched.add(campaign_id)
            if lease.left_micros < lease.low_micros:
                self._asking.add(campaign_id)

    # --- in the background --------------------------------------------------------------------------------------------

    def adopt(self, snapshot: Snapshot) -> None:
        """Lease for a snapshot before it is served from; leases of campaigns that it lacks are given back."""
        column = self._column(snapshot)
        for needs in _pieces(list(column.needs())):
            with self._lock:
                for campaign_id, least, most in needs:
                    lease = self._held.setdefault(campaign_id, _Lease())
                    lease.least_micros, lease.most_micros, lease.ask_at = least, most, 0.0
                    if lease.left_micros < most:
                        self._asking.add(campaign_id)
        with self._lock:
            for campaign_id in self._held.keys() - set(column.campaigns.tolist()):
                self._held[campaign_id].most_micros = 0
                self._asking.add(campaign_id)
            self._beat_at = 0.0  # which budgets are settled by now is known with the beat
        self.tend()

    def tend(self) -> None:
        """Show that this process lives, tell what it spent, top up. Valkey may be away."""
        with self._tending:
            now = time.monotonic()
            if now < self._rest_until:
                return
            try:
                if now >= self._beat_at:
                    self._show(now)
                if self._beat.number and (due := self._due(now)):
                    self._claim(due, now)
            except (redis.RedisError, OSError):
                self._rest_until = now + _REST_SECONDS
                raise

    def close(self) -> None:
        """Give everything back."""
        with self._tending:
            if not self._beat.number:
                return
            with self._lock:  # nobody asks any more
                for lease in self._held.values():
                    lease.most_micros = 0
                due = [id for id, lease in self._held.items() if lease.held_micros or lease.spent_micros]
            self._claim(due, time.monotonic())
            self._ledger.leave(self._name, self._beat.number)
            self._valid_until, self._beat = 0.0, Beat(0, "", 0, 0, is_known=False)

    @property
    def gauges(self) -> dict[str, float]:
        """Figures of this process for /metrics."""
        with self._lock:
            held = [lease.left_micros for lease in self._held.values()]
        return {
            "adplatform_lease_epoch": float(self._beat.number),
            "adplatform_leases": float(sum(left > 0 for left in held)),
            "adplatform_leases_dry": float(len(self._dry)),
            "adplatform_leases_valid_seconds": max(0.0, self._valid_until - time.monotonic()),
        }

    def _column(self, snapshot: Snapshot) -> Spend:
        column = Spend(snapshot, self)
        with self._lock:  # from now on what is taken shows in it, too
            self._columns = [column, *self._columns[:1]]
        for ids in self._held_in_pieces():
            with self._lock:
                for id in ids:
                    if (lease := self._held.get(id)) is not None:
                        column.show(id, lease.left_micros)
        return column

    def _held_in_pieces(self) -> list[Sequence[int]]:
        with self._lock:
            return _pieces(list(self._held))

    def _show(self, now: float) -> None:
        """Beat. Where there is no epoch, what is held stays good for its time: no other epoch opens before."""
        self._beat_at = now + _BEAT_SECONDS
        if self._beat.number and now > self._valid_until:
            self._forget(is_struck_off=True)
        beat = self._ledger.beat(self._name, self._beat.number)
        if beat.number == 0:
            return
        if not beat.is_known:
            self._forget(is_struck_off=True)
            beat = self._ledger.beat(self._name, 0)
        elif beat.number != self._beat.number:
            self._forget(is_struck_off=False)
        if beat.number:
            self._beat, self._valid_until = beat, now + TTL_SECONDS

    def _forget(self, *, is_struck_off: bool) -> None:
        """All leases are void. Who was struck off goes on under another name: its old leases are being taken back."""
        with self._lock:
            if is_struck_off:
                self._name, self._beat = _new_name(), Beat(0, "", 0, 0, is_known=False)
            self._asking |= self._held.keys()
        for ids in self._held_in_pieces():
            with self._lock:
                for id in ids:
                    if (lease := self._held.get(id)) is not None:
                        lease.held_micros = 0
                        self._reveal(id, lease)

    def _due(self, now: float) -> list[int]:
        with self._lock:
            due = set(self._asking)
            if now >= self._report_at:
                self._report_at = now + _REPORT_SECONDS
                due |= self._touched
            due |= {id for id in self._dry if self._held[id].ask_at <= now}
            self._asking.clear()
            self._touched -= due
        return [id for id in due if id not in self._dry or self._held[id].ask_at <= now]

    def _claim(self, due: Sequence[int], now: float) -> None:
        name, beat = self._name, self._beat
        claims: list[Claim] = []
        for ids in _pieces(due):
            with self._lock:
                claims += map(self._claim_of, ids)
        try:
            answers = self._ledger.claim(name, beat, claims)
        except (redis.RedisError, OSError):
            with self._lock:
                self._asking.update(due)
            raise
        for answered in _pieces(list(zip(claims, answers, strict=True))):
            with self._lock:
                is_late = name != self._name or time.monotonic() > self._valid_until
                for claim, lease_micros in answered:
                    self._was_told(claim)
                    if is_late:  # what it gives is void by now
                        self._asking.add(claim.campaign_id)
                    else:
                        self._settle(claim, lease_micros, now)

    def _claim_of(self, campaign_id: int) -> Claim:
        """What is too little to serve anything is given up before it is said, so that another process may use it."""
        lease = self._held[campaign_id]
        if lease.most_micros == 0 or lease.left_micros < lease.least_micros:
            lease.held_micros = lease.spent_micros
            self._reveal(campaign_id, lease)
        untold = dict(lease.untold)
        return Claim(campaign_id, untold, lease.left_micros, lease.least_micros, lease.most_micros)

    def _was_told(self, claim: Claim) -> None:
        """What was spent meanwhile stays to be told."""
        lease = self._held[claim.campaign_id]
        told = sum(claim.spent.values())
        # Both move, so that nothing is set free: a lease that is void stays void.
        lease.spent_micros, lease.held_micros = lease.spent_micros - told, max(0, lease.held_micros - told)
        for stretch, micros in claim.spent.items():
            if lease.untold[stretch] == micros:
                del lease.untold[stretch]
            else:
                lease.untold[stretch] -= micros

    def _settle(self, claim: Claim, lease_micros: int, now: float) -> None:
        """Take the answer over."""
        id, lease = claim.campaign_id, self._held[claim.campaign_id]
        # Where nothing is given now, what is held stays good for its time.
        lease.held_micros = claim.held_micros if lease_micros < 0 else lease_micros
        lease.low_micros = max(lease.held_micros // 2, min(lease.held_micros, 2 * lease.most_micros))
        self._reveal(id, lease)
        if lease_micros > 0:
            lease.pause_seconds = 0.0
            self._dry.discard(id)
        elif lease.most_micros:
            longer = min(_LONGEST_PAUSE, 2 * lease.pause_seconds)
            lease.pause_seconds = _SHORTEST_PAUSE if lease_micros < 0 else max(_SHORTEST_PAUSE, longer)
            lease.ask_at = now + lease.pause_seconds
            self._dry.add(id)
        elif not lease.spent_micros:
            self._dry.discard(id)
            del self._held[id]

    def _reveal(self, campaign_id: int, lease: _Lease) -> None:
        for column in self._columns:
            column.show(campaign_id, lease.left_micros)


def _pieces(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + _PIECE] for start in range(0, len(items), _PIECE)]


def _new_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
