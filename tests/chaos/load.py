"""Readers on loopback who look at every answer: they ask for an ad, report that it began to render, and some click.

An open loop: visits begin at fixed moments whatever the platform does, and a request's time counts from its moment, so
that a stall is felt by all who come meanwhile. What was acknowledged is kept, to be looked for in PostgreSQL later. The
machine is shared and busy: how late the readers' own clock ticks is kept too (`stalls`), and how long the ads process
waited for a processor (`processors`), so that a pause of the machine is not taken for one of the platform.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from adplatform.serving import consent
from tests.chaos.processors import Span, Waits, covered
from tests.chaos.seed import LANDING

TIMEOUT_SECONDS = 5.0
CLICK_SHARE, CLICK_AFTER_SECONDS = 0.3, 0.3  # a click within 200 ms is no person's
TICK_SECONDS = 0.01
MODES = {"model", "blender", "text", "prior", "contextual", "shed", "late", "error", "no_snapshot"}
AGREED = consent.encode({1, 3, 4})
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: `at` its moment, `status` 0 where the connection broke, `mode` of a decision."""

    at: float
    kind: str
    status: int
    seconds: float
    mode: str = ""


@dataclass
class Readers:
    """`rate` visits a second from `start` to `stop`; `worker` says which process answers them."""

    port: int
    slots: Sequence[str]
    rate: float
    worker: Callable[[], int]
    seed: int = 1
    samples: list[Sample] = field(default_factory=list)
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {"impression": set(), "click": set()})
    wrong: list[str] = field(default_factory=list)
    stalls: list[Span] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)  # by what broke

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        self._waits = Waits(self.worker)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> Readers:
        self._waits.start()
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=30)
        self._waits.stop()

    def alone(self, one: Sample) -> float:
        """Seconds that the platform itself took for a request: less those in which the machine let it, or us, wait."""
        until = one.at + one.seconds
        near = [
            span
            for spans in (self.stalls, self._waits.spans)
            for span in spans
            if span[0] < until and span[1] > one.at
        ]
        return one.seconds - covered(near, one.at, until)

    # --- their life ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        ticking = asyncio.create_task(self._tick())
        visits: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not self._stop.is_set():
            due += 1.0 / self.rate
            if (ahead := due - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            visit = asyncio.create_task(self._visit(due))
            visits.add(visit)
            visit.add_done_callback(visits.discard)
        await asyncio.gather(*visits, return_exceptions=True)
        ticking.cancel()
        for _, writer in self._idle:
            writer.close()

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            if (now := time.monotonic()) > due + TICK_SECONDS:
                self.stalls.append((due, now))

    async def _visit(self, due: float) -> None:
        slot = self._rng.choice(self.slots)
        user = {"id": f"reader-{self._rng.randrange(500)}", "consent": {"tcf": AGREED}}
        body = json.dumps({"placements": [{"id": "a", "slot": slot}], "user": user}).encode()
        status, _, answer = await self._ask("POST", "/v1/decisions", body, due)
        mode, ads = self._judged(status, answer)
        self._note("decision", due, status, mode)
        for ad in ads:
            await self._event("impression", ad["impression_url"], ad["decision_id"])
            if self._rng.random() < CLICK_SHARE:
                await asyncio.sleep(CLICK_AFTER_SECONDS)
                await self._event("click", ad["click_url"], ad["decision_id"])

    def _judged(self, status: int, answer: bytes) -> tuple[str, list[dict[str, str]]]:
        if status != 200:
            return "", []
        told = json.loads(answer)
        if told["mode"] not in MODES:
            self.wrong.append(f"mode {told['mode']}")
        if told["mode"] == "error":
            return "error", []
        ads = told["placements"]["a"]["ads"]
        if not ads and not told["placements"]["a"]["no_ad"]:
            self.wrong.append("no ad and no reason")
        return told["mode"], ads

    async def _event(self, kind: str, url: str, decision_id: str) -> None:
        due = time.monotonic()
        status, head, body = await self._ask("GET", "/" + url.split("/", 3)[3], b"", due)
        self._note(kind, due, status, "")
        if kind == "impression" and status == 200:
            self.acknowledged[kind].add(decision_id)
            if not body.startswith(b"GIF"):
                self.wrong.append("an impression that is no gif")
        if kind == "click" and status == 302:
            self.acknowledged[kind].add(decision_id)
            if f"location: {LANDING}" not in head.lower():
                self.wrong.append(f"a click that leads elsewhere: {head}")

    def _note(self, kind: str, due: float, status: int, mode: str) -> None:
        self.samples.append(Sample(due, kind, status, time.monotonic() - due, mode))

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, path: str, body: bytes, due: float) -> tuple[int, str, bytes]:
        """(status, head, body); status 0 where the connection broke or nothing came in time. Nothing is tried again,
        but over a new connection where an idle one had been closed."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {AGENT}\r\nContent-Length: {len(body)}\r\n\r\n"
        left = max(0.1, due + TIMEOUT_SECONDS - time.monotonic())
        try:
            return await asyncio.wait_for(self._exchanged(head.encode() + body), left)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.broken[type(error).__name__] += 1
            return 0, "", b""

    async def _exchanged(self, request: bytes) -> tuple[int, str, bytes]:
        if self._idle:
            reader, writer = self._idle.pop()
            if reader.at_eof():
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            _, found, length = head.lower().partition("content-length:")
            body = await reader.readexactly(int(length.split("\r\n")[0])) if found else b""
        except BaseException:
            writer.close()
            raise
        self._idle.append((reader, writer))
        return int(head[9:12]), head, body
