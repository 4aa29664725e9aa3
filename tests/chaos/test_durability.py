"""Events, a third of them sent again, while processes and servers are killed at random: what was acknowledged is there,
once. `make test` runs ten seconds of it; the long one is 60,000 events over two minutes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from random import Random
from urllib.parse import urlsplit

import msgspec
import psycopg2
import pytest

from adplatform.events.records import Served
from adplatform.serving.tokens import Signer
from tests.chaos import faults, judge
from tests.chaos.platform import Platform

RATE, DUPLICATES, SENDERS = 500, 0.3, 12
EMPTY_AFTER_SECONDS = 60
# What ingest added up, and what it stored: of every kind the same.
_SUMS = (
    "SELECT coalesce(sum(impressions), 0)::bigint, coalesce(sum(clicks), 0)::bigint FROM events_hourlystat"
)
_STORED = """
SELECT (SELECT count(*) FROM events_impression WHERE reason = ANY(%s)), (SELECT count(*) FROM events_click WHERE reason = ANY(%s))
"""
_BACKENDS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def kill_ingest(platform: Platform) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):  # it is being started
        os.killpg(int((platform.machine.var / "run" / "ingest.pid").read_text()), signal.SIGKILL)


def kill_a_backend(platform: Platform) -> None:
    """PostgreSQL then ends all others and recovers, as after a crash."""
    with suppress(psycopg2.OperationalError, ProcessLookupError):  # it still recovers from the last time
        if pids := platform.rows(_BACKENDS):
            os.kill(pids[0][0], signal.SIGKILL)


def kill_the_stream(platform: Platform) -> None:
    with faults.events_killed(platform):
        time.sleep(0.3)


def kill_the_counters(platform: Platform) -> None:
    with faults.hot_killed(platform):
        time.sleep(0.3)


def kill_a_web_worker(platform: Platform) -> None:
    with faults.ads_worker_killed(platform):
        pass


KILLS = (kill_ingest, kill_a_backend, kill_the_stream, kill_the_counters, kill_a_web_worker)


class Senders:
    """Threads that send signed events at a rate and remember what was acknowledged."""

    def __init__(self, platform: Platform, count: int, rng: Random) -> None:
        self._port, self._began = platform.port, time.monotonic()
        self.acknowledged: set[tuple[str, str]] = set()
        self.refused = 0
        self._requests = _requests(platform, count, rng)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(SENDERS)]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _send(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        for place in range(number, len(self._requests), SENDERS):
            time.sleep(max(0.0, self._began + place / RATE - time.monotonic()))
            path, key = self._requests[place]
            try:
                connection.request("GET", path, headers={"User-Agent": BROWSER})
                answer = connection.getresponse()
                answer.read()
                stored = answer.status == 200
            except (OSError, HTTPException):
                connection.close()
                stored = False
            with self._lock:
                if stored:
                    self.acknowledged.add(key)
                else:
                    self.refused += 1


BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"


def _requests(platform: Platform, count: int, rng: Random) -> list[tuple[str, tuple[str, str]]]:
    """Impressions and views of ads that one answer's ad stands for, three in ten of them once more, in any order."""
    signer = Signer([(platform.machine.var / "secrets" / "token_key").read_text()])
    ad = _served(platform, signer)
    once = []
    for _ in range(int(count * (1 - DUPLICATES)) // 2):
        one = msgspec.structs.replace(ad, decision_id=uuid.uuid4().bytes)
        for kind, path in (("impression", "/e/i/"), ("view", "/e/v/")):
            once.append((path + signer.sign(kind, one), (kind, one.decision_id.hex())))
    again = rng.choices(once, k=count - len(once))
    requests = once + again
    rng.shuffle(requests)
    return requests


def _served(platform: Platform, signer: Signer) -> Served:
    """What the token of a real answer says."""
    connection = HTTPConnection("127.0.0.1", platform.port, timeout=10)
    connection.request(
        "POST",
        "/v1/decisions",
        body=json.dumps({"placements": [{"id": "a", "slot": platform.slots[0]}]}),
        headers={"User-Agent": BROWSER},
    )
    answer = msgspec.json.decode(connection.getresponse().read())
    ad = answer["placements"]["a"]["ads"][0]
    return signer.read("impression", urlsplit(ad["impression_url"]).path.rsplit("/", 1)[1])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [10, pytest.param(120, marks=pytest.mark.long)])
def test_nothing_acknowledged_is_lost_or_counted_twice(platform: Platform, seconds: int) -> None:
    from adplatform.events.validity import COUNTED

    rng = Random(seconds)
    senders = Senders(platform, RATE * seconds, rng)
    sending = threading.Thread(target=senders.run)
    sending.start()
    kills = list(KILLS)
    rng.shuffle(kills)
    while sending.is_alive():
        time.sleep(rng.uniform(0.5, 1.5))
        kills[0](platform)
        kills = [*kills[1:], kills[0]]
    platform.restart_servers()
    waited = judge.wait_until_drained(platform)
    assert waited <= EMPTY_AFTER_SECONDS
    assert len(senders.acknowledged) > RATE * seconds * 0.1  # it was no fight against a wall

    for kind in ("impression", "view"):
        held = {
            pk.replace("-", "") for (pk,) in platform.rows(f"SELECT decision_id::text FROM events_{kind}")
        }
        missing = {one for of, one in senders.acknowledged if of == kind} - held
        assert missing == set()
    counted = [str(reason) for reason in COUNTED]
    assert platform.rows(_SUMS) == platform.rows(_STORED, counted, counted)
    print(
        f"{RATE * seconds:,} sent, {len(senders.acknowledged):,} different ones acknowledged, {senders.refused:,} refused, "
        f"missing 0, twice 0, empty after {waited:.1f} s"
    )
