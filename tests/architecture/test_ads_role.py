"""The ads role stays small: it answers a decision and loads none of the heavy libraries, and asks no database."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from adplatform.core import clock
from adplatform.embedded import net
from adplatform.events.records import DecisionRecord, unpack
from adplatform.serving import publish
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = ("django", "celery", "torch", "transformers", "lightgbm", "pandas", "sklearn", "psycopg2")
QUESTION = {
    "placements": [{"id": "a", "slot": "SLOT"}],
    "user": {"id": "reader", "consent": {"tcf": "TCF"}},
}

# Answers one decision in a bare process and tells what was loaded for it.
PROBE = """
import io, json, sys
from adplatform.serving import process, wsgi
said = []
body = sys.argv[1].encode()
environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/v1/decisions", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
answer = b"".join(wsgi.application(environ, lambda status, headers: said.append(status)))
process.server().close()
print(json.dumps({"status": said[0], "answer": json.loads(answer), "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""


@pytest.fixture
def environment(db, tmp_path, hot, events, process_environment) -> dict[str, str]:
    """A folder of its own with a published market, and its only slot's name in the question."""
    from tests.serving import market as m

    m.ad()
    slot = m.slot()
    publish.publish(at=clock.now(), folder=tmp_path / "snapshots", hot=hot)
    question = json.dumps(QUESTION).replace("SLOT", slot.public_id).replace("TCF", m.AGREED["tcf"])
    return process_environment | {"ADPLATFORM_VAR": str(tmp_path), "QUESTION": question}


def test_a_decision_loads_no_heavy_library(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", PROBE, environment["QUESTION"]]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == "200 OK"
    assert len(told["answer"]["placements"]["a"]["ads"]) == 1
    assert set(told["modules"]) & set(FORBIDDEN) == set()


def test_it_answers_under_granian(environment: dict[str, str], events) -> None:
    port = net.free_port(set())
    with processes.web(processes.ADS, environment, port=port, threads=1):
        answer = _post(f"http://127.0.0.1:{port}/v1/decisions", environment["QUESTION"])
        assert answer["placements"]["a"]["no_ad"] is None
        assert answer["mode"] in {"model", "blender", "text", "prior"}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
            assert b"adplatform_decisions_total" in reply.read()
        for _ in range(20):
            _post(f"http://127.0.0.1:{port}/v1/decisions", environment["QUESTION"])
    # A clean stop loses no decision, not even those of the last 50 ms.
    kept = [unpack(fields[b"r"]) for _, fields in events.xrange("events")]
    assert sum(isinstance(one, DecisionRecord) for one in kept) == 21


def _post(url: str, body: str) -> dict[str, object]:
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), method="POST")) as reply:
        return json.loads(reply.read())


def test_a_decision_asks_the_database_nothing(serve, ask, django_assert_num_queries) -> None:
    from tests.serving import market as m

    m.ad()
    slot = m.slot()
    market = serve()
    trips: list[str] = []
    market.server.visitors._line = _Counting(market.server.visitors._line, trips)
    body = {
        "placements": [{"id": "a", "slot": slot.public_id}],
        "user": {"id": "reader", "consent": m.AGREED},
    }
    with django_assert_num_queries(0):
        reply = ask("POST", "/v1/decisions", body)
        (ad,) = reply.json["placements"]["a"]["ads"]
        ask("GET", ad["impression_url"].removeprefix("http://localhost:8000"))
        ask("GET", ad["click_url"].removeprefix("http://localhost:8000"))
    assert trips == ["ask"]


class _Counting:
    """The line to the hot Valkey, with every use of it noted."""

    def __init__(self, line, trips) -> None:
        self._line, self._trips = line, trips

    def __getattr__(self, name):
        self._trips.append(name)
        return getattr(self._line, name)
