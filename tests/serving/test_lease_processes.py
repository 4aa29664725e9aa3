"""Several processes, kills, duplicates, a restored Valkey: served is never more than the budget, and never much less.

Real processes, PostgreSQL and a Valkey of its own. Time limits of leases are shortened, or a kill would take 40 s.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from adplatform.campaigns import budgets, stretches
from adplatform.campaigns.models import Budget, LeaseEpoch
from adplatform.core import clock
from adplatform.embedded import net, places
from adplatform.learning.statistics import UNTIL_KEY
from adplatform.serving import granting
from adplatform.serving.lease_protocol import EPOCH_KEY, lease_key
from tests.serving import market as m

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
BUDGET, PRICE = 2 * m.MICROS, 10_000
TTL = 0.5


class OwnValkey:
    """A Valkey that a test may kill, and restore from an older dump."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, net.free_port(set())
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url)
        self.start()

    def start(self) -> None:
        binary = str(places.find().valkey_binary)
        options = ["--port", str(self.port), "--dir", str(self.folder), "--save", "", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        _wait_for(self._answers)

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.client.ping())
        return False

    def dump(self) -> Path:
        self.client.save()
        return Path(shutil.copy(self.folder / "dump.rdb", self.folder / "older.rdb"))

    def restore(self, dump: Path) -> None:
        """Kill it, and start it again with what it held then."""
        self.process.kill()
        self.process.wait()
        shutil.copy(dump, self.folder / "dump.rdb")
        self.start()


def _wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


class Platform:
    """The worker, and ingest that bills what processes say that they served, now and then twice."""

    def __init__(self, valkey: OwnValkey, campaign: Any) -> None:
        self.valkey, self.campaign = valkey, campaign
        self.granter = granting.Granter(valkey.client)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.served = self.billed = 0

    def start(self, count: int, seconds: float = 120.0) -> list[subprocess.Popen[bytes]]:
        given = map(str, (self.valkey.url, self.campaign.pk, PRICE, seconds, TTL))
        command = [sys.executable, "-m", "tests.serving.lease_process", *given]
        made = [
            subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            for _ in range(count)
        ]
        for one in made:
            assert one.stdout is not None
            os.set_blocking(one.stdout.fileno(), False)
        self.processes += made
        return made

    def round(self) -> granting.Renewed | None:
        """Bill what was served since, then let the worker do its round."""
        asked_at = time.time()
        charges = [
            budgets.Charge(self.campaign.pk, self.campaign.organisation_id, datetime.fromisoformat(at), PRICE)
            for one in self.processes
            if one.stdout
            for at in (one.stdout.read() or b"").decode().splitlines()
        ]
        self.served += len(charges)
        verdicts = budgets.charge(charges, granted=lambda ids: dict.fromkeys(ids, 10**12), at=clock.now())
        self.billed += sum(verdict is None for verdict in verdicts)
        with suppress(redis.RedisError):
            # All that was said before is billed; what was served a moment before that has been said.
            self.valkey.client.set(UNTIL_KEY, asked_at)
            return self.granter.renew(at=clock.now())
        return None

    def run_until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        def step() -> object:
            self.round()
            self.never_too_much()
            return condition()

        _wait_for(step, seconds)

    def never_too_much(self) -> None:
        assert self.served * PRICE <= BUDGET
        assert self.billed == self.served  # so that nothing is shown that nobody pays for

    def leased(self) -> dict[str, int]:
        row = self.valkey.client.hgetall(lease_key(self.campaign.pk))
        return {name.decode()[2:]: int(value) for name, value in row.items() if name[:2] == b"p:"}

    def stop(self) -> None:
        for one in self.processes:
            one.terminate()
        for one in self.processes:
            one.wait()


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    monkeypatch.setattr(granting, "_OUT_SECONDS", TTL + 0.3)
    monkeypatch.setattr(granting, "PENDING_SECONDS", 0.1)
    monkeypatch.setattr(stretches, "STRETCH_MILLISECONDS", 100)
    campaign = m.ad(campaign={"daily_budget_micros": BUDGET, "bid_strategy": "manual_cpm"}).line_item.campaign
    valkey = OwnValkey(tmp_path)
    made = Platform(valkey, campaign)
    try:
        made.round()
        yield made
    finally:
        made.stop()
        valkey.process.kill()
        valkey.process.wait()


def test_three_processes_of_which_one_is_killed_serve_the_whole_budget_and_no_more(
    platform: Platform,
) -> None:
    first, *_ = platform.start(3)
    platform.run_until(lambda: platform.served > 40)
    first.send_signal(signal.SIGKILL)
    first.wait()
    platform.run_until(lambda: True)
    lost = [micros for name, micros in platform.leased().items() if f"-{first.pid}-" in name]
    assert sum(lost) <= BUDGET // 100  # stranded until it is struck off
    platform.run_until(lambda: platform.served * PRICE == BUDGET)
    assert Budget.objects.get(campaign=platform.campaign, date__isnull=False).spent_micros == BUDGET
    assert not [name for name in platform.leased() if f"-{first.pid}-" in name]


def test_a_budget_that_is_spent_in_seconds_never_waits_for_what_is_billed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is served waits for minutes here to be billed; what is billed waits no more."""
    monkeypatch.setattr(granting, "PENDING_SECONDS", 600.0)
    platform.start(2)
    platform.run_until(lambda: platform.served * PRICE == BUDGET)
    row = platform.valkey.client.hgetall(lease_key(platform.campaign.pk))
    told = {name: int(micros) for name, micros in row.items() if name[:2] == b"u:"}
    assert sum(told.values()) >= BUDGET * 99 // 100  # all of it would still be waiting


def test_a_valkey_restored_from_an_older_dump_gives_nothing_twice(platform: Platform) -> None:
    platform.start(2)
    platform.run_until(lambda: platform.served > 30)
    dump = platform.valkey.dump()
    platform.run_until(lambda: platform.served > 100)
    platform.valkey.restore(dump)
    leased = platform.leased()
    time.sleep(0.3)  # the worker is away, the processes are not
    assert int(platform.valkey.client.hget(lease_key(platform.campaign.pk), "left")) > BUDGET - 90 * PRICE
    assert platform.leased() == leased  # it believes that much is left, and gives nothing of it
    renewed = platform.round()
    assert renewed is not None
    assert renewed.epoch == 2
    platform.run_until(lambda: platform.served * PRICE == BUDGET)
    assert LeaseEpoch.objects.get().waiting == {}


def test_a_valkey_emptied_and_filled_with_older_values_is_noticed(platform: Platform) -> None:
    """By the serial: the server's life is the same."""
    client, key = platform.valkey.client, lease_key(platform.campaign.pk)
    platform.start(2)
    platform.run_until(lambda: platform.served > 30)
    older = {name: client.dump(name) for name in client.scan_iter()}
    serial = int(client.hget(EPOCH_KEY, "serial"))
    platform.run_until(lambda: platform.served > 100 and int(client.hget(EPOCH_KEY, "serial")) > serial + 1)
    client.flushall()
    for name, value in older.items():
        client.restore(name, 0, value, replace=True)
    assert int(client.hget(key, "left")) > BUDGET - 90 * PRICE
    renewed = platform.round()
    assert renewed is not None
    assert (renewed.epoch, int(client.hget(EPOCH_KEY, "number"))) == (2, 2)
    platform.run_until(lambda: platform.served * PRICE == BUDGET)


def test_a_frozen_process_spends_nothing_when_it_wakes(platform: Platform) -> None:
    frozen, _ = platform.start(2)
    platform.run_until(lambda: platform.served > 40)
    frozen.send_signal(signal.SIGSTOP)
    platform.run_until(lambda: not [name for name in platform.leased() if f"-{frozen.pid}-" in name])
    frozen.send_signal(signal.SIGCONT)
    platform.run_until(lambda: platform.served * PRICE == BUDGET)
    time.sleep(0.2)
    platform.round()
    platform.never_too_much()
