"""One serving process: its snapshot, its connections, its background work; and what may be asked of it.

The endpoints are a thin coat over this, and so are the demo market and tests, which pass the time in:

    server = Server.from_settings(rng=Random(7))
    server.refresh()
    answer = server.decide(Asked(request, source="demo"))
    server.record("impression", answer.shown[0].served, at=…)
    server.flush()

No Django here.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from random import Random

import redis

from adplatform import settings
from adplatform.core import ids
from adplatform.decision import variety
from adplatform.decision.tally import Tally
from adplatform.events.records import FeedbackGiven, PixelConversion, Served, TokenEvent, pack
from adplatform.events.spool import Spool
from adplatform.events.stream import EventStream, connect
from adplatform.learning.hidden import Said, write
from adplatform.learning.statistics import LiveStatistics

from .admission import Admission
from .counters import TRIP_SECONDS, CapCounter, Visitors
from .deadline import Deadline, ModelRest, TooLateError
from .decide import NOBODY, Answer, answer, unanswered
from .leases import Leases
from .metrics import Metrics
from .parse import Asked
from .snapshot import Snapshot, SnapshotHolder
from .tallies import TallyReports

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.05
_POLL_SECONDS = 1.0
_STATISTICS_SECONDS = 2.0


class Server:
    """Everything that answering takes. Without `start()` nothing happens in the background."""

    def __init__(
        self,
        *,
        snapshots: SnapshotHolder,
        stream: EventStream,
        hot: redis.Redis,
        hot_background: redis.Redis,
        rng: Random | None = None,
        draw: ids.Draw = os.urandom,
    ) -> None:
        self.snapshots = snapshots
        self.stream = stream
        self.statistics = LiveStatistics()
        self.visitors = Visitors(hot)
        self.caps = CapCounter(hot_background)
        self.leases = Leases(hot_background)
        self.metrics = Metrics()
        self.tally = Tally()
        self.reports = TallyReports(stream.append_soon, draw=draw)
        self.admission = Admission()
        self.model_rest = ModelRest()
        self.statistics_at = 0.0
        self._hot_background = hot_background
        self._rng = rng or Random(os.urandom(16))
        self._draw = draw
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(cls, *, rng: Random | None = None, draw: ids.Draw = os.urandom) -> Server:
        """On the servers and folders that the settings name."""
        return cls(
            snapshots=SnapshotHolder(settings.SNAPSHOT_DIR),
            stream=EventStream(connect(settings.EVENTS_URL), Spool(settings.VAR / "spool")),
            hot=connect(settings.REDIS_URL, timeout_seconds=TRIP_SECONDS),
            hot_background=connect(settings.REDIS_URL, timeout_seconds=1.0),
            rng=rng,
            draw=draw,
        )

    @property
    def snapshot(self) -> Snapshot | None:
        return self.snapshots.current

    # --- asked of it --------------------------------------------------------------------------------------------------

    def decide(self, asked: Asked, *, started: float | None = None) -> Answer:
        """Answer a request at its own moment and put its records on their way. Never raises.

        `started`: when it came in, by `time.perf_counter`; without it there is no deadline.
        """
        snapshot = self.snapshots.current
        if snapshot is None:
            return unanswered(asked.request, mode="no_snapshot", reason="no_candidates")
        try:
            answered = self._answer(asked, snapshot, started)
        except TooLateError:
            return unanswered(asked.request, mode="late", reason="late", snapshot=snapshot)
        except Exception:  # an ad is never worth a page that does not load; the error is counted and told
            log.exception("a decision failed")
            self.metrics.count("errors")
            return unanswered(asked.request, mode="error", reason="error", snapshot=snapshot)
        for record in answered.records:
            self.stream.append_soon(pack(record))
        if answered.decision is not None and asked.source != "test":
            outcomes, at = answered.decision.outcomes, asked.request.at
            self.tally.add(outcomes, snapshot.candidates, at=at, source=asked.source)
        if answered.past and answered.request.visitor:
            self.caps.forget(answered.request.visitor, answered.past)
        if asked.source != "test":
            for shown in answered.shown:
                self.caps.hold(shown.served, shown.pick.candidate)
        return answered

    def record(self, kind: str, served: Served, *, at: datetime, agent: str = "") -> None:
        """Make an impression, view or click durable; NotStoredError where nothing can hold it."""
        self.stream.append(pack(TokenEvent(kind, served, at, agent)))
        self.note(kind, served, at=at)

    def note(self, kind: str, served: Served, *, at: datetime) -> None:
        """Count a stored impression for the frequency caps. Whoever appends events in bulk calls this for each."""
        snapshot = self.snapshots.current
        if kind != "impression" or snapshot is None or served.source == "test":
            return
        row = snapshot.candidates.row_of(served.creative_id)
        if row is not None:
            candidate = snapshot.candidates[row]
            also = variety.counters_of(candidate) if snapshot.counts_variety else ()
            self.caps.count(served, candidate, at, also)

    def record_feedback(self, given: FeedbackGiven) -> None:
        """Make durable what a visitor says, and true at the next request where Valkey answers; where it does not,
        ingest makes it true. NotStoredError where nothing can hold it."""
        self.stream.append(pack(given))
        served = given.served
        said = Said(
            decision_id=served.decision_id.hex(),
            kind=given.kind,
            turn=given.turn,
            is_given=given.is_given,
            visitor=served.visitor.hex(),
            line_item_id=served.line_item_id,
            advertiser_id=served.advertiser_id,
            at=given.occurred_at.timestamp(),
        )
        try:
            write(self._hot_background, [said])
        except (redis.RedisError, OSError) as error:
            log.warning("what a visitor hid waits for ingest: %s", error)

    def record_pixel(self, pixel: PixelConversion) -> None:
        self.stream.append(pack(pixel))

    # --- in the background --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the snapshot and keep everything fresh from now on."""
        self.refresh()
        self.stream.start()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="serving", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        self._quietly(self.leases.close)
        self.reports.send(self.tally)
        self.stream.close()

    def refresh(self) -> None:
        """Take the newest snapshot and the newest statistics now. Valkey may be away."""
        self.snapshots.poll(self._prepared)
        self._quietly(self.leases.tend)
        try:
            self._refresh_statistics()
        except (redis.RedisError, OSError) as error:
            log.warning("the live statistics cannot be read: %s", error)

    def flush(self) -> None:
        """Send decisions, counted outcomes and cap counts that wait."""
        self.reports.send(self.tally)
        self.stream.flush()
        try:
            self.caps.flush()
        except (redis.RedisError, OSError) as error:
            log.warning("frequency caps cannot be counted: %s", error)

    def _answer(self, asked: Asked, snapshot: Snapshot, started: float | None) -> Answer:
        visitor = asked.request.visitor
        known = self.caps.with_unwritten(visitor, self.visitors.read(visitor)) if visitor else NOBODY
        if self._thread is None:  # nothing happens in the background, so it happens here
            self._quietly(self.leases.tend)
        return answer(
            asked.request,
            snapshot=snapshot,
            statistics=self.statistics,
            rng=self._rng,
            known=known,
            spend=self.leases.spend(snapshot),
            source=asked.source,
            evidence=asked.evidence,
            draw=self._draw,
            patience=None if started is None else Deadline(started, self.model_rest),
        )

    def _prepared(self, snapshot: Snapshot) -> None:
        """Of a new snapshot: what requests would otherwise have to compute."""
        snapshot.prepare(self.statistics.view)
        self.tally.prepare(snapshot.candidates)
        self._quietly(lambda: self.leases.adopt(snapshot))

    @staticmethod
    def _quietly(do: Callable[[], None]) -> None:
        """Leases wait where Valkey is away: what is held can be spent until it runs out."""
        try:
            do()
        except (redis.RedisError, OSError) as error:
            log.warning("budget leases wait for Valkey: %s", error)

    def _refresh_statistics(self) -> None:
        view = self.statistics.read(self._hot_background)
        if (snapshot := self.snapshots.current) is not None:
            snapshot.prepare(view)
        self.statistics.view = view
        self.statistics_at = time.time()

    def _run(self) -> None:
        poll_at = statistics_at = time.monotonic()
        while not self._stop.wait(_TICK_SECONDS):
            try:
                self.leases.tend()
                self.caps.flush()
                self.reports.send_when_due(self.tally)
                now = time.monotonic()
                if now >= poll_at:
                    poll_at = now + _POLL_SECONDS
                    self.snapshots.poll(self._prepared)
                if now >= statistics_at:
                    statistics_at = now + _STATISTICS_SECONDS
                    self._refresh_statistics()
            except (redis.RedisError, OSError) as error:
                log.warning("Valkey does not answer in the background: %s", error)
                self._stop.wait(1.0)
            except Exception:  # the thread outlives whatever happens to one round
                log.exception("background work failed")
                self._stop.wait(1.0)
