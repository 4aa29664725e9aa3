"""What a decision costs: python -m bench.serving [--line-items N N N] [--slots N] [--seconds S] [--clients N]

For each market size: the stages of a decision in one process, each beside its limit measured in the same run; then the
real ads role under granian, asked over loopback with the configured Valkey servers, and a hello-world under the same
granian beside it. No PostgreSQL takes part, as none does in a request.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import redis

from adplatform import settings
from adplatform.serving.server import Server

from . import limits, load, market, picture, stages

SIZES = (1_000, 10_000, 100_000)
QUESTIONS = 500
COMPARED = 1_000  # requests whose winner is looked for among all eligible ads, too


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--line-items", type=int, nargs="+", default=SIZES)
    parser.add_argument("--slots", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--compared", type=int, default=COMPARED, help="requests decided by exhaustive ranking, too"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--picture", type=Path, help="write the stages as an SVG")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(inside(sys.stdin.read().split(), chosen)))
        return
    results = []
    for line_items in chosen.line_items:
        with tempfile.TemporaryDirectory() as name:
            results.append(measure(Path(name), line_items, chosen))
        if not chosen.json:
            print(table(results[-1]), flush=True)
    if chosen.json:
        print(json.dumps(results))
    if chosen.picture:
        chosen.picture.write_text(picture.drawn(results))


def inside(lines: list[str], chosen: argparse.Namespace) -> dict[str, Any]:
    """What is measured in a process of its own, which sees the market's folder as its settings."""
    questions = [bytes.fromhex(line) for line in lines]
    server = Server.from_settings(rng=Random(1))
    server.refresh()
    held = server.snapshot
    assert held is not None
    hot = redis.Redis.from_url(settings.REDIS_URL)
    result = stages.measure(questions[:QUESTIONS])
    first_stage = int(len(held.candidates) * result["eligible"]) * held.models.dimension * 4
    result["limits_us"] = limits.measure(questions[0], hot=hot, server=server, first_stage_bytes=first_stage)
    if chosen.compared:
        result |= stages.same_winner(questions[: chosen.compared])
    return result


def measure(folder: Path, line_items: int, chosen: argparse.Namespace) -> dict[str, Any]:
    slots = market.write_market(folder, line_items=line_items, slots=chosen.slots, seed=chosen.seed)
    market.write_visitors(redis.Redis.from_url(settings.REDIS_URL), chosen.seed, line_items=line_items)
    environment = os.environ | {"ADPLATFORM_VAR": str(folder), "OMP_NUM_THREADS": "1", "LOG_LEVEL": "ERROR"}
    rng = Random(chosen.seed)
    questions = [market.question(rng, slots) for _ in range(max(QUESTIONS, chosen.compared))]
    options = ["--inside", "--compared", str(chosen.compared)]
    staged = subprocess.run(
        [sys.executable, "-m", "bench.serving", *options],
        input="\n".join(one.hex() for one in questions),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=load.ROOT,
        env=environment,
    )
    result = {"line_items": line_items, "slots": chosen.slots, **json.loads(staged.stdout.splitlines()[-1])}
    return result | over_loopback(folder, environment, slots, chosen)


def over_loopback(
    folder: Path, environment: dict[str, str], slots: list[str], chosen: argparse.Namespace
) -> dict[str, Any]:
    (folder / "hello.py").write_text(load.HELLO)
    rng = Random(chosen.seed)
    closed = {"seconds": chosen.seconds, "clients": chosen.clients}

    def ask() -> bytes:
        return load.post(market.question(rng, slots))

    found: dict[str, load.Load] = {}
    with load.granian("adplatform.serving.wsgi:application", folder, environment) as ads:
        found["ads"] = load.closed_loop(ads, ask, **closed)
        rate = found["ads"].per_second / 2
        found["ads_half"] = load.open_loop(ads, ask, rate=rate, seconds=chosen.seconds)
        found |= events(ads, ask(), closed)
        memory = ads.private_mb()
    with load.granian("hello:application", folder, environment) as hello:
        found["hello"] = load.closed_loop(hello, ask, **closed)
        found["hello_half"] = load.open_loop(hello, ask, rate=rate, seconds=chosen.seconds)
    with load.granian("adplatform.serving.wsgi:application", folder, environment, workers=2) as two:
        load.closed_loop(two, ask, seconds=1.0, clients=8)
        shared = two.private_mb()
    return {
        **{name: asdict(one) | {"per_second": one.per_second} for name, one in found.items()},
        "memory_mb": max(memory),
        "memory_of_another_mb": sorted(shared, reverse=True)[1],
        "ratio_to_hello": found["ads"].cpu_us / found["hello"].cpu_us,
    }


def events(ads: load.Target, question: bytes, closed: dict[str, Any]) -> dict[str, load.Load]:
    """Impression and click, each by the tokens of one decision: durable, and answered as a browser would see it."""
    with load.connected(ads.port) as connection:
        _, body = load.exchange(connection, question)
    ad = next(iter(json.loads(body)["placements"].values()))["ads"][0]
    paths = {kind: ad[f"{kind}_url"].partition(settings.ADS_URL)[2] for kind in ("impression", "click")}
    return {
        "impression": load.closed_loop(ads, lambda: load.get(paths["impression"]), **closed),
        "click": load.closed_loop(ads, lambda: load.get(paths["click"]), **closed, status=302),
    }


def table(result: dict[str, Any]) -> str:
    spent, best = result["stages_us"], result["limits_us"]
    total = sum(spent.values())
    size = f"{result['line_items']:,} line items, {result['slots']} slots"
    lines = [
        f"## {size}: {result['eligible']:.0%} eligible, {result['ranked']:.0f} ranked",
        f"{'stage':<28}{'CPU µs':>10}{'share':>8}{'limit µs':>10}",
        *(
            f"{name:<28}{value:>10.0f}{value / total:>8.0%}"
            + (f"{best[name]:>10.0f}" if name in best else "")
            for name, value in spent.items()
        ),
        f"{'together':<28}{total:>10.0f}",
        "",
        f"{'over loopback':<28}{'CPU µs':>10}{'per s':>10}{'p50 ms':>10}{'p99 ms':>10}{'errors':>8}",
        *(_load_line(name, result[key]) for name, key in _LOADS),
        "",
        f"ratio to hello: {result['ratio_to_hello']:.1f}",
        f"private memory: {result['memory_mb']:.0f} MB, of a second process {result['memory_of_another_mb']:.0f} MB",
    ]
    if "same_winner" in result:
        lines.append(
            f"same winner as ranking all that are eligible: {result['same_winner']:.1%} of {result['requests']:,.0f} requests"
        )
    return "\n".join([*lines, ""])


_LOADS = (
    ("decisions", "ads"),
    ("decisions at half of that", "ads_half"),
    ("hello", "hello"),
    ("hello at the same rate", "hello_half"),
    ("impressions", "impression"),
    ("clicks", "click"),
)


def _load_line(name: str, one: dict[str, Any]) -> str:
    return (
        f"{name:<28}{one['cpu_us']:>10.0f}{one['per_second']:>10.0f}{one['p50_ms']:>10.1f}{one['p99_ms']:>10.1f}"
        f"{one['errors']:>8}"
    )


if __name__ == "__main__":
    main()
