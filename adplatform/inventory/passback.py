"""Another ad server's tag as a publisher enters it: an https address, or HTML that loads nothing but https.

It is shown in a sandboxed frame of its own origin (serving/fallback.py), so what is refused here is what could never
work there, or would make a secure page insecure.
"""

from __future__ import annotations

from html.parser import HTMLParser

from django.utils.translation import gettext as _

LONGEST = 10_000
_LINKS = frozenset({"src", "href", "action", "formaction", "data", "poster", "background"})
_FORBIDDEN = frozenset(
    {"base", "meta", "object", "embed", "applet", "frame", "frameset", "html", "head", "body"}
)


class PassbackError(ValueError):
    """A tag that cannot be, in a sentence a person can act on."""


def checked(text: str) -> str:
    """The tag without outer space; PassbackError where it cannot be used."""
    tag = text.strip()
    if not tag:
        return ""
    if len(tag) > LONGEST:
        raise PassbackError(_("A tag has at most %(n)s characters.") % {"n": f"{LONGEST:,}"})
    if "http:" in tag.lower() or "javascript:" in tag.lower():
        raise PassbackError(_("Everything in it must be loaded by https: change http: to https:."))
    if "<" not in tag:
        if not tag.startswith("https://") or any(letter.isspace() for letter in tag):
            raise PassbackError(
                _("Write an address that begins with https://, or the other ad server's HTML.")
            )
        return tag
    reader = _Reader()
    reader.feed(tag)
    reader.close()
    if reader.wrong:
        raise PassbackError(reader.wrong)
    return tag


class _Reader(HTMLParser):
    """Reads the tag; `wrong` is the first thing that cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _FORBIDDEN:
            self._refuse(_("<%(tag)s> cannot stand in a tag.") % {"tag": tag})
        for name, value in attrs:
            if name in _LINKS and not (value or "").strip().lower().startswith("https://"):
                self._refuse(
                    _("%(name)s of <%(tag)s> must begin with https://.") % {"name": name, "tag": tag}
                )

    def _refuse(self, words: str) -> None:
        self.wrong = self.wrong or words
