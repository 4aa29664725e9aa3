"""How long an edit in the portal takes to every reader: python -m bench.edit [--line-items N] [--slots N] [--edits N] [--keep]

A market by `seed_market` in a database of its own on the server of DATABASE_URL (made once, minutes; --keep leaves it for
the next time), vectors for every text and trees of the real size. The publisher and two ads processes run as `manage.py up`
starts them. A person pauses and resumes a line item that outbids everybody, by the portal's own form; two readers ask both
processes all the while until what they see has changed. Every ads process also says which snapshot it serves from.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from adplatform.core import processes
from adplatform.embedded import net

from .serving import load

LOOK_SECONDS = 0.02
MOST_SECONDS = 60.0
SETTLED_SECONDS = 2.0  # in which an answer may still show what is gone, by another snapshot
WARM_EDITS = 2  # that are not counted: the first page of a process loads what later ones have
HIGHEST_BID = 5_000_000_000  # micros for a thousand impressions: what nobody else of the market offers
PARTS = ("portal", "until it is read", "build", "until it is swapped in", "until it is seen", "whole")


@dataclass
class Reader:
    """Asks one ads process for one slot, again and again. `seen`: (moment, the ad is there, snapshot)."""

    port: int
    request: bytes
    creative_id: str
    seen: list[tuple[float, bool, str]] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        with load.connected(self.port) as connection:
            while not stop.wait(LOOK_SECONDS):
                _, body = load.exchange(connection, self.request)
                at = time.time()
                _, ready = load.exchange(connection, load.get("/readyz"))
                ads = json.loads(body)["placements"]["a"]["ads"]
                is_there = any(ad["creative_id"] == self.creative_id for ad in ads)
                self.seen.append((at, is_there, json.loads(ready)["snapshot"]))

    def changed_at(self, *, since: float, to: bool) -> float | None:
        """When the ad had come, or had gone for good; None while it has not. Exploring shows others now and then."""
        after = [one for one in self.seen if one[0] > since]
        if to:
            return next((at for at, is_there, _ in after if is_there), None)
        shown = [at for at, is_there, _ in after if is_there]
        last = max(shown, default=since)
        later = [at for at, _, _ in after if at > last]
        return later[0] if later and later[-1] > last + SETTLED_SECONDS else None

    def held_at(self, moment: float) -> str:
        return next(held for at, _, held in self.seen if at == moment)

    def swapped_at(self, version: str) -> float:
        return next(at for at, _, held in self.seen if held == version)


Edit = tuple[float, ...]  # seconds of PARTS; the slower of the two processes counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--line-items", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=500)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--database", default="bench_edit")
    parser.add_argument("--keep", action="store_true", help="leave the database for the next time")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as ended:
        _prepare(Path(name), chosen, ended)
        edits, steps = measured(Path(name), chosen.edits)
    print(table(chosen.line_items, edits, steps))


def _prepare(folder: Path, chosen: argparse.Namespace, ended: ExitStack) -> None:
    """Django set up on the seeded database, with a folder of its own."""
    seed = [sys.executable, "manage.py", "seed_market", "--database", chosen.database]
    sizes = ["--line-items", str(chosen.line_items), "--slots", str(chosen.slots), "--visitors", "200"]
    made = subprocess.run(
        [*seed, *sizes], cwd=load.ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if made.returncode and "exists" not in made.stderr:
        raise SystemExit(made.stderr)
    if not chosen.keep:
        ended.callback(subprocess.run, [*seed, "--drop"], cwd=load.ROOT, env=dict(os.environ), check=True)
    url = urlsplit(os.environ["DATABASE_URL"])
    os.environ |= {
        **processes.FRUGAL,
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{chosen.database}")),
        "ADPLATFORM_VAR": str(folder),
        "LOG_LEVEL": "ERROR",
        "DJANGO_SETTINGS_MODULE": "adplatform.settings",
    }
    (folder / "static").mkdir()
    subprocess.run(
        [sys.executable, "manage.py", "db_roles"], cwd=load.ROOT, check=True, stdout=subprocess.DEVNULL
    )
    import django

    django.setup()


def measured(folder: Path, count: int) -> tuple[list[Edit], dict[str, float]]:
    from adplatform.core import clock
    from adplatform.serving import publish

    _vectors()
    _trees()
    line_item, creative, request = _loudest()
    publish.publish(at=clock.now())
    with ExitStack() as running:
        readers = [Reader(running.enter_context(_ads()), request, creative) for _ in range(2)]
        running.enter_context(_process(_spec("publisher")))
        stop = threading.Event()
        threads = [threading.Thread(target=reader.run, args=(stop,)) for reader in readers]
        for thread in threads:
            thread.start()
        try:
            _until(lambda: all(any(there for _, there, _ in one.seen[-5:]) for one in readers))
            edits = [
                _edit(folder / "snapshots", line_item, readers, to=number % 2 == 1)
                for number in range(2 * ((count + 1) // 2) + WARM_EDITS)
            ][WARM_EDITS:]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    return edits, _steps(line_item)


# --- the market ------------------------------------------------------------------------------------------------------


def _vectors() -> None:
    """A vector for every text, as `embed_creatives` would have left them; those of one text are the same."""
    import numpy as np

    from adplatform.campaigns.models import Creative, text_of
    from adplatform.inventory.models import Site
    from adplatform.learning import embeddings
    from adplatform.learning.models import TextVector
    from adplatform.learning.publish import site_text
    from ml.text.encoder import text_hash

    from .serving import market

    texts = {text_of(*words) for words in Creative.objects.values_list("headline", "body").distinct()}
    hashes = sorted({text_hash(text) for text in (*texts, *map(site_text, Site.objects.all()))})
    rows = embeddings.pack(market.vectors(np.random.default_rng(1), len(hashes))[:-1])
    made = (
        TextVector(encoder="bench", text_sha256=digest, vector=row)
        for digest, row in zip(hashes, rows, strict=True)
    )
    TextVector.objects.bulk_create(made, ignore_conflicts=True)


def _trees() -> None:
    import numpy as np

    from adplatform.core import clock
    from adplatform.learning import registry
    from adplatform.learning.models import ModelVersion

    from .serving import market

    ModelVersion.objects.all().delete()  # their files went with an earlier run's folder
    draft = registry.draft_folder("blender")
    draft.rmdir()
    market.write_blender(draft, np.random.default_rng(1), seed=1)
    made = registry.register(
        kind="blender", draft=draft, at=clock.now(), run=None, encoder="bench", metrics={}
    )
    registry.promote(made, at=clock.now())


def _loudest() -> tuple[Any, str, bytes]:
    """A line item that wins wherever it may, its creative, and a request for a slot that it fits."""
    from adplatform.campaigns.models import Creative
    from adplatform.inventory.models import AdSlot

    creative = Creative.objects.select_related("line_item__campaign").order_by("pk")[0]
    line_item, campaign = creative.line_item, creative.line_item.campaign
    line_item.targeting, line_item.cap_impressions, line_item.bid_micros = {}, None, HIGHEST_BID
    line_item.pacing, line_item.status = "asap", "active"
    line_item.save()
    campaign.bid_strategy, campaign.daily_budget_micros, campaign.cap_impressions = "manual_cpm", None, None
    campaign.save()
    slot = AdSlot.objects.filter(
        format=creative.format, width=creative.width, height=creative.height
    ).order_by("pk")[0]
    body = {"placements": [{"id": "a", "slot": slot.public_id}]}
    return line_item, str(creative.public_id), load.post(json.dumps(body).encode())


# --- processes -------------------------------------------------------------------------------------------------------


def _spec(name: str, port: int = 0) -> tuple[str, ...]:
    return next(one.command for one in processes.specs(port=port, ads_port=port) if one.name == name)


@contextmanager
def _ads() -> Iterator[int]:
    port = net.free_port(set())
    with _process(_spec("ads", port)):
        _until(lambda: net.listening(port))
        yield port


@contextmanager
def _process(command: tuple[str, ...]) -> Iterator[None]:
    running = subprocess.Popen(command, cwd=load.ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait(timeout=15)


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.005)


# --- an edit ---------------------------------------------------------------------------------------------------------


def _edit(snapshots: Path, line_item: Any, readers: list[Reader], *, to: bool) -> Edit:
    """Pause the line item, or let it run again (`to`), as its owner does."""
    named: dict[str, float] = {}  # when each snapshot was made the current one

    def is_seen() -> bool:
        named.setdefault(_current(snapshots), time.time())
        return all(one.changed_at(since=began, to=to) for one in readers)

    began = time.time()
    _post(line_item, "active" if to else "paused")
    stored = time.time()
    _until(is_seen)
    seen, slower = max(
        ((one.changed_at(since=began, to=to) or 0.0, one) for one in readers), key=itemgetter(0)
    )
    version = slower.held_at(seen)
    swapped = max(one.swapped_at(version) for one in readers)
    moments = (began, stored, _read_at(snapshots / version), named[version], swapped, max(seen, swapped))
    steps = tuple(later - earlier for earlier, later in pairwise(moments))
    return *steps, seen - began


def _post(line_item: Any, status: str) -> None:
    from django.test import Client
    from django.urls import reverse

    person = line_item.campaign.organisation.memberships.order_by("pk")[0].user
    client = Client(SERVER_NAME="localhost")
    client.force_login(person)
    answer = client.post(
        reverse("portal:line_item_status", args=[line_item.public_id]), {"status": status}, secure=True
    )
    if answer.status_code != 302:
        raise RuntimeError(f"the portal answered {answer.status_code}")


def _current(snapshots: Path) -> str:
    return (snapshots / "current").read_text().strip()


def _read_at(folder: Path) -> float:
    """When the worker began to read the database for it."""
    import msgspec

    from adplatform.serving.snapshot import CONTENTS, Contents

    contents = msgspec.msgpack.decode((folder / CONTENTS).read_bytes(), type=Contents)
    return contents.built_at.timestamp()


def _steps(line_item: Any) -> dict[str, float]:
    """CPU seconds of the steps of a build, in this process, after an edit that changes which ads there are."""
    from adplatform.campaigns import budgets
    from adplatform.core import clock
    from adplatform.serving import columns, granting, live, publish

    took: dict[str, float] = {}
    steps = (
        (budgets, "sync"), (granting, "renew"), (live, "candidates"), (publish, "_read"), (publish, "write_models"),
        (columns, "write"), (publish, "_write"), (publish, "_sweep"), (publish, "publish"),
    )  # fmt: skip
    for owner, name in steps:
        setattr(
            owner, name, _timed(getattr(owner, name), f"{owner.__name__.rpartition('.')[2]}.{name}", took)
        )
    for status in ("paused", "active"):
        _post(line_item, status)
        took.clear()
        publish.publish(at=clock.now())
    return took


def _timed(call: Callable[..., Any], name: str, took: dict[str, float]) -> Callable[..., Any]:
    @wraps(call)
    def timed(*given: Any, **named: Any) -> Any:
        started = time.process_time()
        try:
            return call(*given, **named)
        finally:
            took[name] = took.get(name, 0.0) + time.process_time() - started

    return timed


def table(line_items: int, edits: list[Edit], steps: dict[str, float]) -> str:
    columns = list(zip(*edits, strict=True))
    lines = [
        f"{line_items:,} line items, {len(edits)} edits, two ads processes, load {os.getloadavg()[0]:.1f}",
        f"{'seconds':<26}{'median':>8}{'worst':>8}",
        *(
            f"{name:<26}{statistics.median(values):>8.2f}{max(values):>8.2f}"
            for name, values in zip(PARTS, columns, strict=True)
        ),
        "",
        f"{'of a build, CPU seconds':<26}",
        *(f"  {name:<24}{seconds:>8.2f}" for name, seconds in steps.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
