"""What stands in a slot that no paid ad won: a house ad of the publisher, or another ad server's tag. No Django here.

Both are free, never billed, and no fill. A house ad leads straight to its page. A passback is the publisher's own text:
it goes into a sandboxed frame of its own origin, where it can neither read nor move the page around it, and a policy
there lets it load nothing but https.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import msgspec

from adplatform.decision import chance

from .render import STYLESHEET, template

HOUSE, PASSBACK = (
    "house",
    "passback",
)  # how a decision's record names what stood there; a house ad with its key

_WHICH = -8  # a stream of chance of its own
_POLICY = "default-src https: data: blob: 'unsafe-inline' 'unsafe-eval'; base-uri 'none'; object-src 'none'"


class HouseAdRow(msgspec.Struct):
    """A publisher's own ad."""

    id: int
    public_id: str
    format: str
    width: int
    height: int
    headline: str
    body: str
    call_to_action: str
    landing_url: str
    publisher: str
    language: str


class FallbackRow(msgspec.Struct):
    """Of a slot: house ads that fit, by key, the passback ('' none), and which comes first."""

    house: list[int] = []
    passback: str = ""
    is_passback_first: bool = False


@dataclass(frozen=True, slots=True)
class Instead:
    """What stands there: its name in the decision's record, and what the answer says of it beside `no_ad`."""

    code: str
    json: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fallback:
    """What may stand in one slot; each of `choices` as often."""

    choices: tuple[Instead, ...]

    def pick(self, seed: int) -> Instead:
        return self.choices[chance.mix(seed, _WHICH) % len(self.choices)]


def prepared(
    slots: Iterable[tuple[int, int, int, FallbackRow]], ads: Iterable[HouseAdRow]
) -> dict[int, Fallback]:
    """By slot, from (id, width, height, row); slots with nothing to show are left out."""
    house = {ad.id: _house(ad) for ad in ads}
    found: dict[int, Fallback] = {}
    for id, width, height, row in slots:
        own = tuple(house[key] for key in row.house if key in house)
        other = (_passback(row.passback, width, height),) if row.passback else ()
        first, second = (other, own) if row.is_passback_first else (own, other)
        if choices := first or second:
            found[id] = Fallback(choices)
    return found


def is_url(passback: str) -> bool:
    """Whether a passback is an address instead of HTML."""
    return passback.startswith("https://") and not any(sign in passback for sign in "<> \n")


def _house(ad: HouseAdRow) -> Instead:
    content = {
        "headline": ad.headline,
        "body": ad.body,
        "call_to_action": ad.call_to_action,
        "publisher": ad.publisher,
        "width": ad.width,
        "height": ad.height,
    }
    page = template("house.html").substitute(
        language=escape(ad.language),
        stylesheet=escape(STYLESHEET),
        format=escape(ad.format),
        headline=escape(ad.headline),
        body=f'<span class="ad-body">{escape(ad.body)}</span>' if ad.body else "",
        call_to_action=f'<span class="ad-action">{escape(ad.call_to_action)}</span>'
        if ad.call_to_action
        else "",
        publisher=escape(ad.publisher),
        click_url=escape(ad.landing_url),
    )
    shown = {
        "id": ad.public_id,
        "format": ad.format,
        "content": content,
        "html": page,
        "click_url": ad.landing_url,
    }
    return Instead(f"{HOUSE}:{ad.id}", {HOUSE: shown})


def _passback(text: str, width: int, height: int) -> Instead:
    size = {"width": width, "height": height}
    if is_url(text):
        return Instead(PASSBACK, {PASSBACK: {"url": text} | size})
    page = template("passback.html").substitute(policy=escape(_POLICY), body=text)
    return Instead(PASSBACK, {PASSBACK: {"html": page} | size})
