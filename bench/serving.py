"""What a decision costs: python -m bench.serving [--line-items N] [--slots N] [--seconds S] [--clients N]

Writes a synthetic snapshot (random vectors, a blender trained on noise) into a temporary folder, measures the stages
of a decision in this process, then starts the real ads role under granian and asks it over loopback with the
configured Valkey servers; a hello-world under the same granian is asked beside it. No PostgreSQL takes part.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import psutil
import redis

from adplatform import settings
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.embedded import net
from adplatform.learning import scorer
from adplatform.learning.statistics import visitor_key
from adplatform.serving import consent, snapshot
from adplatform.serving.render import AdText
from ml import artifacts
from ml.ctr.blender import train_blender
from ml.ctr.calibrate import Level
from ml.ctr.compile import compile_blender
from ml.ctr.features import NAMES, SCHEMA

ROOT = Path(__file__).resolve().parents[1]
VISITORS = 200
WORDS = ("trail", "running", "garden", "cooking", "finance", "travel", "music", "science", "cars", "books")
COUNTRIES = ("DE", "FR", "US", "GB", "PL")
AGREED = consent.encode({1, 3, 4})
HELLO = (
    "def application(environ, start_response):\n"
    "    environ['wsgi.input'].read()\n"
    "    start_response('200 OK', [('Content-Length', '2')])\n    return (b'ok',)\n"
)


# --- a market without a database --------------------------------------------------------------------------------------


def write_market(root: Path, *, line_items: int, slots: int, seed: int) -> list[str]:
    """A snapshot folder, made current; returns the slots' public ids."""
    rng = Random(seed)
    folder = root / "snapshots" / "bench"
    (folder / snapshot.MODELS).mkdir(parents=True)
    rows = [slot_row(number, rng) for number in range(1, slots + 1)]
    contents = snapshot.Contents(
        format=snapshot.FORMAT,
        version="bench",
        built_at=clock.now(),
        slots=rows,
        candidates=[candidate_row(number, rng) for number in range(1, line_items + 1)],
        keys=[],
        landings={},
        versions={"matcher": "bench", "blender": "bench", "encoder": "bench"},
    )
    write_models(folder / snapshot.MODELS, line_items=line_items, sites=slots, seed=seed)
    (folder / snapshot.CONTENTS).write_bytes(msgspec.msgpack.encode(contents))
    files = {
        str(path.relative_to(folder)): snapshot.sha256(path) for path in folder.rglob("*") if path.is_file()
    }
    (folder / snapshot.MANIFEST).write_bytes(msgspec.json.encode(snapshot.Manifest(files)))
    (root / "snapshots" / snapshot.CURRENT).write_text("bench")
    return [row.public_id for row in rows]


def slot_row(number: int, rng: Random) -> snapshot.SlotRow:
    return snapshot.SlotRow(
        id=number,
        public_id=f"slot{number:06d}",
        site_id=number,
        publisher_id=number,
        format="banner",
        width=300,
        height=250,
        position=rng.randint(1, 5),
        floor_micros=rng.randrange(0, 500_000),
        currency="USD",
        domain=f"site{number}.example",
        category=rng.choice(WORDS),
        time_zone="UTC",
        language="en",
    )


def candidate_row(number: int, rng: Random) -> snapshot.CandidateRow:
    """A line item with one creative: about three in ten are eligible for a request."""
    rules: dict[str, object] = {}
    if rng.random() < 0.6:
        rules["country"] = {"include": rng.sample(COUNTRIES, 2)}
    if rng.random() < 0.3:
        rules["device"] = {"include": rng.sample(("desktop", "mobile", "tablet"), 2)}
    if rng.random() < 0.2:
        rules["keyword"] = {"exclude": rng.sample(WORDS, 2)}
    text = AdText(
        "banner",
        300,
        250,
        f"Headline of ad {number}",
        "Two lines about it.",
        "Go",
        f"Brand {number % 97}",
        "en",
    )
    return snapshot.CandidateRow(
        creative_id=number,
        line_item_id=number,
        campaign_id=1 + number // 3,
        advertiser_id=1 + number % 97,
        creative_public_id=f"creative-{number}",
        line_item_public_id=f"line-item-{number}",
        campaign_public_id=f"campaign-{1 + number // 3}",
        advertiser_public_id=f"advertiser-{1 + number % 97}",
        text=text,
        currency="USD",
        language="en",
        category="",
        landing_url=f"https://shop{number}.example/offer",
        targeting=json.dumps(rules, sort_keys=True),
        bid_strategy=rng.choice(("manual_cpc", "manual_cpm", "maximise_clicks")),
        bid_micros=rng.randrange(200_000, 3_000_000),
        target_roas_bp=10_000,
        value_micros=0,
        pcvr=0.02,
        pace=1.0,
        remaining_micros=10**12,
        start_at=clock.now() - timedelta(days=1),
        end_at=None,
        caps=[snapshot.CapRow("line_item", 20, 86_400)],
        time_zone="UTC",
        impressions=rng.randrange(5_000),
        clicks=rng.randrange(50),
    )


def write_models(folder: Path, *, line_items: int, sites: int, seed: int) -> None:
    """The models' part: vectors of 384 dimensions and 200 trees or so."""
    rng = np.random.default_rng(seed)
    arrays = {
        scorer.CREATIVE_IDS: np.arange(1, line_items + 1),
        scorer.CREATIVES: vectors(rng, line_items),
        scorer.SITE_IDS: np.arange(1, sites + 1),
        scorer.SITES: vectors(rng, sites),
    }
    for name, array in arrays.items():
        np.save(folder / name, array, allow_pickle=False)
    settings_ = {
        "versions": {"matcher": "bench", "blender": "bench", "encoder": "bench"},
        "bias": 0.0,
        "text_weight": 1.0,
    }
    (folder / scorer.SETTINGS).write_text(json.dumps(settings_))
    blender = folder / scorer.BLENDER
    blender.mkdir()
    X = rng.normal(size=(20_000, len(NAMES))).astype(np.float32)
    y = (rng.random(len(X)) < 1 / (1 + np.exp(3 - X[:, 0] - X[:, 1]))).astype(float)
    trees = train_blender(X, y, time_order=np.arange(len(X)), seed=seed)
    files = [trees.save(blender), compile_blender(trees, blender), Level(1.0).save(blender)]
    dates = ("a", "b")
    artifacts.write(blender, kind="blender", files=files, metrics={}, schema=SCHEMA, seed=1, data_range=dates)
    names = [*arrays, scorer.SETTINGS]
    artifacts.write(
        folder, kind=scorer.KIND, files=names, metrics={}, schema="bench", seed=1, data_range=dates
    )


def vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors, with the row of zeros at the end that stands for ids without one."""
    made = rng.normal(size=(count, 384)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return np.vstack([made, np.zeros((1, 384), np.float32)])


def write_visitors(hot: redis.Redis, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for number in range(VISITORS):
        key = visitor_key(pseudonym(f"reader-{number}"))
        profile = vectors(rng, 1)[0].astype("<f2").tobytes()
        seen = {f"l:{rng.integers(1, 500)}": 1 for _ in range(20)}
        hot.hset(key, mapping={"u": profile, "m": "bench", "n": 40, "c": 1, "e": "0.8", **seen})
        hot.expire(key, 3_600)


def question(rng: Random, slots: list[str]) -> bytes:
    body = {
        "placements": [{"id": "a", "slot": rng.choice(slots)}],
        "user": {"id": f"reader-{rng.randrange(VISITORS)}", "consent": {"tcf": AGREED}},
        "context": {"url": "https://site.example/page", "keywords": rng.sample(WORDS, 3), "language": "en"},
    }
    return json.dumps(body).encode()


# --- in this process --------------------------------------------------------------------------------------------------


def stages(questions: list[bytes]) -> dict[str, float]:
    """CPU µs of each stage of a decision, median over the questions."""
    from adplatform.events.records import pack
    from adplatform.serving import decide, parse
    from adplatform.serving.server import Server

    server = Server.from_settings(rng=Random(1))
    server.refresh()
    environ = {"HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
    held, at = server.snapshot, clock.now()
    assert held is not None
    spent: dict[str, list[float]] = {
        name: [] for name in ("parse", "valkey", "decide", "sign and render", "record")
    }
    for body in questions:
        mark = _Marks()
        asked = parse.read(body, environ, held, scopes=None, at=at, request_id="0" * 32)
        spent["parse"].append(mark.next())
        known = server.visitors.read(asked.request.visitor or "")
        spent["valkey"].append(mark.next())
        answered = decide.answer(
            asked.request, snapshot=held, statistics=server.statistics, rng=Random(1), known=known
        )
        spent["decide"].append(mark.next())
        msgspec.json.encode(decide.as_json(answered, snapshot=held, base_url="http://localhost"))
        spent["sign and render"].append(mark.next())
        for record in answered.records:
            pack(record)
        spent["record"].append(mark.next())
    return {name: float(np.median(values)) for name, values in spent.items()}


class _Marks:
    def __init__(self) -> None:
        self._last = time.thread_time_ns()

    def next(self) -> float:
        now = time.thread_time_ns()
        took, self._last = (now - self._last) / 1000, now
        return took


# --- over loopback ----------------------------------------------------------------------------------------------------


@dataclass
class Load:
    requests: int
    seconds: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@contextmanager
def granian(target: str, folder: Path, environment: dict[str, str]):
    port = net.free_port(set())
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    options = ["--workers", "1", "--blocking-threads", "1", "--backpressure", "256", "--no-ws", target]
    paths = f"{folder}{os.pathsep}{ROOT}"
    server = subprocess.Popen(
        [*command, *options], cwd=ROOT, env={**environment, "PYTHONPATH": paths}, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while not net.listening(port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{target} did not start")
            time.sleep(0.05)
        yield port, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(timeout=10)


def cpu_seconds(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def load(
    port: int, process: psutil.Process, make: Callable[[], bytes], *, seconds: float, clients: int
) -> Load:
    """Closed loop: each client asks again as soon as it is answered."""
    ask(port, make(), 1)  # starts the server's snapshot
    took: list[list[float]] = [[] for _ in range(clients)]
    errors = [0] * clients
    before, started = cpu_seconds(process), time.monotonic()

    def run(number: int) -> None:
        took[number], errors[number] = ask(port, make(), None, until=started + seconds, make=make)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, used = time.monotonic() - started, cpu_seconds(process) - before
    all_ = np.array([value for values in took for value in values]) * 1000
    p50, p99 = np.percentile(all_, [50, 99])
    return Load(len(all_), wall, used / len(all_) * 1e6, float(p50), float(p99), sum(errors))


def ask(
    port: int, body: bytes, times: int | None, *, until: float = 0.0, make: Callable[[], bytes] | None = None
) -> tuple[list[float], int]:
    """Requests over one connection; returns how long each took and how many were not answered with 200."""
    took, errors = [], 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (times is None and time.monotonic() < until) or (times is not None and len(took) < times):
            body = make() if make is not None else body
            head = f"POST /v1/decisions HTTP/1.1\r\nHost: x\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\nContent-Length: {len(body)}\r\n\r\n"
            started = time.perf_counter()
            connection.sendall(head.encode() + body)
            errors += not answered(connection)
            took.append(time.perf_counter() - started)
    return took, errors


def answered(connection: socket.socket) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, rest = data.partition(b"\r\n\r\n")
    wanted = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(rest) < wanted:
        rest += connection.recv(65_536)
    return head.startswith(b"HTTP/1.1 200")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--line-items", type=int, default=1_000)
    parser.add_argument("--slots", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stages-in", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.stages_in:
        questions = [bytes.fromhex(line) for line in sys.stdin.read().split()]
        print(json.dumps(stages(questions)))
        return
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name), chosen)
    print(json.dumps(result) if chosen.json else table(result))


def measure(folder: Path, chosen: argparse.Namespace) -> dict[str, object]:
    slots = write_market(folder, line_items=chosen.line_items, slots=chosen.slots, seed=chosen.seed)
    write_visitors(redis.Redis.from_url(settings.REDIS_URL), chosen.seed)
    rng = Random(chosen.seed)
    environment = os.environ | {"ADPLATFORM_VAR": str(folder), "OMP_NUM_THREADS": "1", "LOG_LEVEL": "ERROR"}
    questions = "\n".join(question(rng, slots).hex() for _ in range(500))
    staged = subprocess.run(
        [sys.executable, "-m", "bench.serving", "--stages-in", "-"],
        input=questions,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=environment,
    )
    (folder / "hello.py").write_text(HELLO)
    sizes = {"seconds": chosen.seconds, "clients": chosen.clients}
    with granian("hello:application", folder, environment) as (port, process):
        hello = load(port, process, lambda: question(rng, slots), **sizes)
    with granian("adplatform.serving.wsgi:application", folder, environment) as (port, process):
        ads = load(port, process, lambda: question(rng, slots), **sizes)
        memory = max(one.memory_info().rss for one in process.children(recursive=True)) / 2**20
    return {
        "line_items": chosen.line_items,
        "stages_us": json.loads(staged.stdout.splitlines()[-1]),
        "decisions_per_second": ads.per_second,
        "cpu_us_per_decision": ads.cpu_us,
        "p50_ms": ads.p50_ms,
        "p99_ms": ads.p99_ms,
        "errors": ads.errors,
        "memory_mb": memory,
        "hello_per_second": hello.per_second,
        "hello_cpu_us": hello.cpu_us,
        "hello_p50_ms": hello.p50_ms,
        "hello_p99_ms": hello.p99_ms,
        "ratio_to_hello": ads.cpu_us / hello.cpu_us,
    }


def table(result: dict[str, object]) -> str:
    stages_: dict[str, float] = result.pop("stages_us")  # type: ignore[assignment]
    total = sum(stages_.values())
    lines = [f"{'stage':<24}{'CPU µs':>10}{'share':>8}"]
    lines += [f"{name:<24}{value:>10.0f}{value / total:>8.0%}" for name, value in stages_.items()]
    lines += [f"{'together':<24}{total:>10.0f}", ""]
    lines += [f"{name.replace('_', ' '):<24}{float(value):>10,.1f}" for name, value in result.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
