"""The little of HTTP that the hot path needs, over plain WSGI: bodies with a limit, answers, who is asking.

No Django here: the ads process answers without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

Environ = dict[str, Any]
Headers = Sequence[tuple[str, str]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_STATUS_LINES = {int(status): f"{int(status)} {status.phrase}" for status in HTTPStatus}

# Crawlers and automated browsers that say so. Plain HTTP libraries are not among them: a publisher's server may
# report an impression on a reader's behalf. CUBOT makes telephones.
_BOT = re.compile(
    r"(?<!cu)bot\b|bot[/;_-]|crawl|spider|slurp|scraper|archiver|headless|lighthouse|facebookexternalhit|phantomjs|"
    r"puppeteer|playwright|selenium|feedfetcher|mediapartners|adsbot|linkpreview|pingdom|uptimerobot",
    re.IGNORECASE,
)
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|android(?!.*mobile)", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|android|phone", re.IGNORECASE)
_DESKTOP = re.compile(r"windows nt|macintosh|x11|linux|cros", re.IGNORECASE)


class TooLargeError(ValueError):
    """The body is longer than the endpoint takes."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; `headers` come in addition to the length and type."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = ()

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        head = [("Content-Length", str(len(self.body))), *self.headers]
        if self.body:
            head.append(("Content-Type", self.content_type))
        start_response(_STATUS_LINES[self.status], head)
        return (self.body,) if self.body else ()


def read_body(environ: Environ, *, limit: int) -> bytes:
    """The request's body; TooLargeError when it says, or turns out, to be longer than `limit` bytes."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if length > limit:
        raise TooLargeError
    body: bytes = environ["wsgi.input"].read(length if length > 0 else limit + 1)
    if len(body) > limit:
        raise TooLargeError
    return body


def device_of(user_agent: str) -> str:
    """One of decision.types.DEVICES, from the family of the agent; the agent itself is never kept."""
    if _TABLET.search(user_agent):
        return "tablet"
    if _MOBILE.search(user_agent):
        return "mobile"
    return "desktop" if _DESKTOP.search(user_agent) else "unknown"


def is_declared_bot(user_agent: str) -> bool:
    """An agent that says it is a crawler or an automated browser. Not a detector of liars."""
    return _BOT.search(user_agent) is not None


def host_of(url: str) -> str:
    """The host name of a URL or origin, lower case; '' where there is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
