"""The worker's side of budget leases: carries what PostgreSQL lets campaigns spend into Valkey, round after round.

Each round is one transaction that holds the row of the epoch, so that rounds never mix. It asks whether Valkey is the one
that the last round left behind; one that was restarted, emptied or restored gets a new epoch, which opens when all
processes have given up their leases of the old one, or could not have kept them. Never imported by a web process.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, cast

import redis
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, transaction

from adplatform.billing import queries as billing
from adplatform.campaigns import budgets, stretches
from adplatform.campaigns.models import LeaseEpoch, Purse
from adplatform.core import clock
from adplatform.events.stream import connect
from adplatform.learning.statistics import UNTIL_KEY

from .lease_protocol import (
    DEAD_KEY,
    EPOCH_KEY,
    MARGIN_SECONDS,
    MOST_MICROS,
    PENDING_SECONDS,
    PROCESSES_KEY,
    TTL_SECONDS,
    Grant,
    Ledger,
)

log = logging.getLogger(__name__)

ROUND_SECONDS = 2.0  # at 10,000 campaigns a round costs 60 ms of CPU here and as much in PostgreSQL
_EVERYTHING_ROUNDS = 30  # after which every campaign is written again
_OUT_SECONDS = TTL_SECONDS + MARGIN_SECONDS


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a round did. `epoch` is not open while processes may hold leases of the one before."""

    epoch: int
    is_open: bool
    campaigns: int
    struck_off: int


@dataclass(frozen=True, slots=True)
class _Valkey:
    """How a round finds Valkey. Names are of processes, with the seconds since 1970 of their last beats."""

    run_id: str
    number: int
    run: str
    serial: int
    until: float
    now: float
    processes: dict[str, float]
    dead: list[str]

    @classmethod
    def read(cls, hot: redis.Redis) -> _Valkey:
        with hot.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.hgetall(EPOCH_KEY)
            pipe.zrange(PROCESSES_KEY, 0, -1, withscores=True)
            pipe.smembers(DEAD_KEY)
            pipe.get(UNTIL_KEY)
            pipe.time()
            info, epoch, processes, dead, until, time = pipe.execute()
        return cls(
            run_id=info["run_id"],
            number=int(epoch.get(b"number", 0)),
            run=epoch.get(b"run", b"").decode(),
            serial=int(epoch.get(b"serial", 0)),
            until=float(until or 0),
            now=time[0] + time[1] / 1e6,
            processes={name.decode(): beat / 1000 for name, beat in processes},
            dead=[name.decode() for name in dead],
        )

    def follows(self, epoch: LeaseEpoch) -> bool:
        """Whether this is what the last round, or the one before it, left behind, or newer."""
        is_same = self.number == epoch.number > 0 and self.run_id == self.run == epoch.run_id
        return is_same and self.serial >= epoch.serial - 1


class Granter:
    """Rounds of renewal. It remembers what it wrote last, so that a round writes only what changed."""

    def __init__(self, hot: redis.Redis) -> None:
        self._hot = hot
        self._ledger = Ledger(hot)
        self._written: dict[int, Grant] = {}
        self._sums: dict[int, tuple[int, int]] = {}
        self._serial = -1

    def renew(self, *, at: datetime) -> Renewed:
        """One round; raises RedisError where Valkey is away."""
        with transaction.atomic():
            epoch = LeaseEpoch.objects.select_for_update().get_or_create(pk=1)[0]
            valkey = _Valkey.read(self._hot)
            if not valkey.follows(epoch):
                self._begin(epoch, valkey, at)
            self._wait(epoch, valkey)
            if epoch.serial != self._serial or epoch.serial % _EVERYTHING_ROUNDS == 0:
                self._written.clear()  # another worker wrote since, or it is time to make sure
            epoch.serial += 1
            epoch.renewed_at, epoch.processes = at, valkey.processes
            epoch.save()
            dead = self._strike_off(valkey)
            count = 0 if epoch.waiting else self._grant(epoch, dead, at)
            self._publish(epoch, valkey, at)
            self._serial = epoch.serial
        return Renewed(epoch.number, not epoch.waiting, count, len(dead))

    def _begin(self, epoch: LeaseEpoch, valkey: _Valkey, at: datetime) -> None:
        """A new epoch. Where Valkey is older than the last round, it may not know all who hold leases."""
        held = valkey.processes
        if valkey.number != epoch.number or valkey.serial < epoch.serial:
            held = {**cast("dict[str, float]", epoch.processes), **held}
        epoch.number = max(epoch.number, valkey.number) + 1
        epoch.run_id, epoch.began_at, epoch.waiting = valkey.run_id, at, held
        self._written.clear()
        level = logging.INFO if epoch.number == 1 else logging.WARNING  # the first is no loss of anything
        log.log(level, "budget leases: epoch %d begins, %d processes are waited for", epoch.number, len(held))
        # Processes learn of it at their next beat, give up what they held, and join.
        self._hot.hset(EPOCH_KEY, mapping={"number": epoch.number, "run": valkey.run_id})

    @staticmethod
    def _wait(epoch: LeaseEpoch, valkey: _Valkey) -> None:
        """Drop from `waiting` who has joined the new epoch and whose time is over."""
        joined = {name.partition("@")[0] for name in valkey.processes if name.endswith(f"@{epoch.number}")}
        epoch.waiting = {
            name: beat
            for name, beat in epoch.waiting.items()
            if name.partition("@")[0] not in joined
            and valkey.now < max(beat, valkey.processes.get(name, 0.0)) + _OUT_SECONDS
        }

    def _strike_off(self, valkey: _Valkey) -> list[str]:
        """Processes without a beat lose their names first, then (in `_grant`) their leases."""
        silent = [name for name, beat in valkey.processes.items() if valkey.now >= beat + _OUT_SECONDS]
        if silent:
            with self._hot.pipeline(transaction=True) as pipe:
                pipe.sadd(DEAD_KEY, *silent)
                pipe.zrem(PROCESSES_KEY, *silent)
                pipe.execute()
        return sorted({*silent, *valkey.dead})

    def _grant(self, epoch: LeaseEpoch, dead: list[str], at: datetime) -> int:
        """Write what changed; where leases are taken back, every campaign."""
        since = round(1000 * epoch.began_at.timestamp()) if epoch.began_at else 0
        grants = {grant.campaign_id: _charged_since(grant, since) for grant in affordable(at)}
        if gone := self._written.keys() - grants.keys():
            grants |= {id: Grant(id, 0, 0) for id in gone}
        changed = [
            grant for grant in grants.values() if dead or self._written.get(grant.campaign_id) != grant
        ]
        sums = self._ledger.grant(epoch.number, changed, dead)
        for grant, (leased, pending) in zip(changed, sums, strict=True):
            self._sums[grant.campaign_id] = (leased, max(0, grant.left_micros - pending))
        self._written = {id: grant for id, grant in grants.items() if id not in gone}
        self._sums = {id: sums for id, sums in self._sums.items() if id in self._written}
        if dead:
            self._hot.srem(DEAD_KEY, *dead)
        return len(changed)

    def _publish(self, epoch: LeaseEpoch, valkey: _Valkey, at: datetime) -> None:
        """Last of a round: what was served before `until` is billed, and PostgreSQL was read after that, or it never
        will be."""
        leased, left = (
            (sum(column) for column in zip(*self._sums.values(), strict=True)) if self._sums else (0, 0)
        )
        fields: dict[Any, Any] = {
            "number": epoch.number,
            "run": epoch.run_id,
            "serial": epoch.serial,
            # Of whole stretches: one that began before this is over, and so is the wait for its events.
            "until": max(0, round(1000 * (valkey.until - PENDING_SECONDS)) - stretches.STRETCH_MILLISECONDS),
            "at": at.timestamp(),
            "waiting": len(epoch.waiting),
            "leased": leased,
            "left": left,
        }
        self._hot.hset(EPOCH_KEY, mapping=fields)


def _charged_since(grant: Grant, since: int) -> Grant:
    """With the charges of stretches that began in this epoch. Of earlier ones Valkey may have lost what was told, and then
    their charges would set free what others spent in them."""
    pairs = zip(grant.charged[::2], grant.charged[1::2], strict=True)
    return replace(grant, charged=tuple(chain.from_iterable(pair for pair in pairs if pair[0] > since)))


def affordable(at: datetime) -> list[Grant]:
    """What each running campaign may still be charged: the least of its day's, its flight's and its part of its
    advertiser's money. What was charged lately is read first, or what is charged meanwhile would be set free twice."""
    by_owner: dict[int, list[budgets.Left]] = defaultdict(list)
    for left in budgets.lefts(at=at):
        by_owner[left.organisation_id].append(left)
    granted = billing.granted(by_owner.keys())
    spent = dict(
        Purse.objects.filter(organisation__in=by_owner).values_list("organisation_id", "spent_micros")
    )
    grants = []
    for owner, lefts in by_owner.items():
        purse = max(0, granted.get(owner, 0) - spent.get(owner, 0))
        parts = shared(purse, {left.campaign_id: left.left_micros for left in lefts})
        for left in lefts:
            part = min(parts[left.campaign_id], MOST_MICROS)
            size = min(left.size_micros, max(purse, part), MOST_MICROS)
            grants.append(Grant(left.campaign_id, part, size, tuple(left.recent_micros)))
    return grants


def shared(purse_micros: int, wanted: Mapping[int, int]) -> dict[int, int]:
    """Money over campaigns: each gets what it may spend; where that is too much, the smallest first and the rest alike."""
    parts: dict[int, int] = {}
    for place, (campaign_id, micros) in enumerate(
        sorted(wanted.items(), key=lambda item: (item[1], item[0]))
    ):
        parts[campaign_id] = max(0, min(micros, purse_micros // (len(wanted) - place)))
        purse_micros -= parts[campaign_id]
    return parts


def renew(*, at: datetime, hot: redis.Redis | None = None) -> None:
    """A round outside the loop, so that what is about to be published can be served at once. Valkey may be away."""
    try:
        Granter(hot or connect(settings.REDIS_URL, timeout_seconds=1.0)).renew(at=at)
    except (redis.RedisError, OSError) as error:
        log.warning("budgets cannot be carried to Valkey: %s", error)


def run(stopping: threading.Event) -> None:
    """Rounds until `stopping` is set; whatever fails is tried again."""
    granter = Granter(connect(settings.REDIS_URL, timeout_seconds=1.0))
    while not stopping.wait(ROUND_SECONDS):
        try:
            granter.renew(at=clock.now())
        except (redis.RedisError, DatabaseError, OSError) as error:
            log.warning("budget leases wait: %s", error)
            close_old_connections()
        except Exception:  # the thread outlives whatever happens to one round
            log.exception("a round of budget leases failed")
            close_old_connections()
    close_old_connections()
