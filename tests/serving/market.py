"""A small market that serves: funded advertisers, one publisher, published into a folder, asked through a Server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import redis

from adplatform.billing.services import deposit
from adplatform.campaigns.models import Creative
from adplatform.core import clock
from adplatform.events.spool import Spool
from adplatform.events.stream import EventStream
from adplatform.inventory.models import AdSlot
from adplatform.serving import consent, publish
from adplatform.serving.server import Server
from adplatform.serving.snapshot import SnapshotHolder
from tests import factories

MICROS = 1_000_000
AGREED = {"tcf": consent.encode({1, 3, 4})}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def advertiser(*, money_micros: int = 1_000 * MICROS, **fields: Any) -> Any:
    """An advertiser with prepaid money."""
    owner = factories.organisation(**fields)
    if money_micros:
        deposit(owner, money_micros, key=f"wire:{factories.number()}", at=clock.now())
    return owner


def ad(
    owner: Any = None,
    *,
    campaign: dict[str, Any] | None = None,
    line_item: dict[str, Any] | None = None,
    **fields: Any,
) -> Creative:
    """An approved creative in a running campaign of a funded advertiser."""
    now = clock.now()
    dates = {"start_at": now - timedelta(days=1), "end_at": now + timedelta(days=30)}
    of = factories.campaign(owner or advertiser(), **dates | (campaign or {}))
    return factories.creative(factories.line_item(of, **line_item or {}), **fields)


def slot(**fields: Any) -> AdSlot:
    return factories.slot(**fields)


@dataclass
class Market:
    """A published snapshot, and a server on it that runs nothing in the background."""

    folder: Path
    server: Server
    hot: redis.Redis
    events: redis.Redis

    def publish(self, at: datetime | None = None) -> None:
        publish.publish(at=at or clock.now(), folder=self.folder / "snapshots", hot=self.hot)
        self.server.refresh()


def server(folder: Path, hot: redis.Redis, events: redis.Redis, *, seed: int = 1) -> Server:
    """A server on the snapshots of a folder."""
    return Server(
        snapshots=SnapshotHolder(folder / "snapshots"),
        stream=EventStream(events, Spool(folder / "spool")),
        hot=hot,
        hot_background=hot,
        rng=Random(seed),
    )


def market(folder: Path, hot: redis.Redis, events: redis.Redis, *, seed: int = 1) -> Market:
    made = Market(folder, server(folder, hot, events, seed=seed), hot, events)
    made.publish()
    return made


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(application: Any, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """Ask a WSGI application; `headers` as environ names without HTTP_."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    bare, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": bare,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(raw)),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(raw),
        "HTTP_USER_AGENT": BROWSER,
    } | {f"HTTP_{name}": value for name, value in headers.items()}
    said: dict[str, Any] = {}

    def start_response(status: str, head: list[tuple[str, str]]) -> None:
        said.update(status=int(status.split(maxsplit=1)[0]), headers=dict(head))

    answer = application(environ, start_response)
    return Reply(said["status"], said["headers"], b"".join(answer))


def noon(day: int = 15) -> datetime:
    return datetime(2026, 6, day, 12, tzinfo=UTC)
