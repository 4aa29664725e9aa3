"""An ad as HTML: escaped text, no script, a label, who paid, and why it is shown. For a sandboxed frame.

The two URLs that differ from request to request are put into a page that is prepared once per snapshot. No Django
here: the templates are plain string templates, every value escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from string import Template

import msgspec

from adplatform import settings

STYLESHEET = f"{settings.ADS_URL}/tag/v1.css"
_TEMPLATES = settings.BASE_DIR / "templates" / "ads"
_TAG = Path(__file__).parent / "tag"
_CLICK, _WHY = "\x00click\x00", "\x00why\x00"  # no escaped text can hold these


class AdText(msgspec.Struct):
    """What a creative says, as the advertiser wrote it."""

    format: str
    width: int
    height: int
    headline: str
    body: str
    call_to_action: str
    advertiser: str
    language: str


@dataclass(frozen=True, slots=True)
class Ad:
    """A creative ready to be served: `content` for publishers who render it themselves, and the page in three parts."""

    text: AdText
    landing_url: str
    content: dict[str, object]
    parts: tuple[str, str, str]

    def html(self, *, click_url: str, why_url: str) -> str:
        """The page of one serving; both URLs are ours and hold no character that needs escaping."""
        before, between, after = self.parts
        return f"{before}{click_url}{between}{why_url}{after}"


def prepared(text: AdText, landing_url: str) -> Ad:
    page = template("ad.html").substitute(
        language=escape(text.language),
        label="Ad",
        why="Why this ad?",
        stylesheet=escape(STYLESHEET),
        format=escape(text.format),
        headline=escape(text.headline),
        body=f'<span class="ad-body">{escape(text.body)}</span>' if text.body else "",
        call_to_action=f'<span class="ad-action">{escape(text.call_to_action)}</span>'
        if text.call_to_action
        else "",
        advertiser=escape(text.advertiser),
        click_url=_CLICK,
        why_url=_WHY,
    )
    before, rest = page.split(_CLICK)
    between, after = rest.split(_WHY)
    return Ad(text, landing_url, _content(text), (before, between, after))


@cache
def asset(name: str) -> bytes:
    """A file of the publisher tag."""
    return (_TAG / name).read_bytes()


@cache
def template(name: str) -> Template:
    return Template((_TEMPLATES / name).read_text().strip())


def _content(text: AdText) -> dict[str, object]:
    return {
        "headline": text.headline,
        "body": text.body,
        "call_to_action": text.call_to_action,
        "advertiser": text.advertiser,
        "label": "Ad",
        "format": text.format,
        "width": text.width,
        "height": text.height,
    }
