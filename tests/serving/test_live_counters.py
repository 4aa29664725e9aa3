"""What happens to an ad is in the features of the next requests within seconds: endpoint, ingest, Valkey, server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adplatform.serving.server import Server
from tests.serving import market as m

ROOT = Path(__file__).resolve().parents[2]
PROMISED_SECONDS = 5.0


def waited(condition: Callable[[], bool], most: float = 60.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < most, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


def log_impressions(server: Server) -> float:
    """The blender's feature of the one ad, as requests read it."""
    counts = server.snapshot.models.counts(server.statistics.view, server.snapshot.candidates)
    return float(counts.ads[2][0])


@pytest.mark.django_db(transaction=True)
def test_an_impression_is_a_feature_within_five_seconds_and_after_a_loss_again(
    serve, ask, hot, process_environment
) -> None:
    creative, slot = m.ad(), m.slot()
    market = serve()
    server = market.server
    ingest = subprocess.Popen([sys.executable, "manage.py", "ingest"], cwd=ROOT, env=process_environment)
    try:
        waited(lambda: hot.exists("counts:layout") == 1)  # it has started
        server.start()
        for seen in (1, 2, 3):
            question = {"placements": [{"id": "a", "slot": slot.public_id}]}
            (ad,) = ask("POST", "/v1/decisions", question).json["placements"]["a"]["ads"]
            ask("GET", ad["impression_url"].removeprefix("http://localhost:8000"))
            took = waited(lambda seen=seen: log_impressions(server) == np.log1p(seen))
            assert took < PROMISED_SECONDS
            if seen == 2:
                hot.flushdb()
                waited(lambda: hot.hexists("counts:creative", str(creative.pk)))
                assert log_impressions(server) == np.log1p(2)
        waited(lambda: time.time() - server.statistics.view.until < PROMISED_SECONDS)
    finally:
        server.close()
        ingest.terminate()
        ingest.wait(timeout=20)
