"""A process that spends leases until it is stopped: python -m tests.serving.lease_process URL CAMPAIGN PRICE SECONDS TTL

Each ad that it serves is one line on stdout, its moment, written out before the next, so that a kill loses no line.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any

import redis

from adplatform.campaigns import stretches
from adplatform.core import clock
from adplatform.decision.candidates import CandidateSet
from adplatform.decision.types import Candidate
from adplatform.serving import leases


def main(url: str, campaign: str, price: str, seconds: str, ttl: str) -> None:
    leases.TTL_SECONDS, stretches.STRETCH_MILLISECONDS = float(ttl), 100
    leases._LONGEST_PAUSE = leases._SHORTEST_PAUSE = leases._BEAT_SECONDS = leases._REST_SECONDS = 0.1
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    # An event of a manual CPM of 1,000 times the price costs the price.
    ad = Candidate(
        creative_id=1,
        line_item_id=1,
        campaign_id=int(campaign),
        advertiser_id=1,
        bid_micros=1_000 * int(price),
    )
    snapshot: Any = SimpleNamespace(candidates=CandidateSet([ad]))
    client = redis.Redis.from_url(url, socket_timeout=10.0, socket_connect_timeout=1.0)
    mine = leases.Leases(client)
    pick: Any = SimpleNamespace(pctr=0.0, price_kind="cpm", charge_micros=int(price), candidate=ad)
    until = time.monotonic() + float(seconds)
    quietly(lambda: mine.adopt(snapshot))
    while time.monotonic() < until and not stopping:
        quietly(mine.tend)
        column = mine.spend(snapshot)
        if column.remaining_micros[0] >= int(price):
            at = clock.now()
            column.take(pick, at)
            os.write(1, f"{at.isoformat()}\n".encode())
        time.sleep(0.01)  # a hundred ads a second at most
    quietly(mine.close)


def quietly(do: Any) -> None:
    try:
        do()
    except (redis.RedisError, OSError):
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
