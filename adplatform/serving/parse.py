"""From a POST body and its headers to an AdRequest: what is malformed is refused, what is not consented is dropped.

No Django here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from adplatform.core.http import Environ, device_of
from adplatform.core.personal import is_personal
from adplatform.core.pseudonym import pseudonym
from adplatform.decision.types import DEVICES, AdRequest, Placement

from . import consent
from .snapshot import Snapshot

MOST_PLACEMENTS = 20
_MOST_WORDS = 50

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Word = Annotated[str, msgspec.Meta(max_length=80)]


class PlacementBody(msgspec.Struct):
    id: Name
    slot: Name
    count: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1


class UserBody(msgspec.Struct):
    """`consent` is taken as it comes: what cannot be understood is no consent, and no error."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    consent: Any = None


class ContextBody(msgspec.Struct):
    url: Annotated[str, msgspec.Meta(max_length=2000)] | None = None
    keywords: Annotated[list[Word], msgspec.Meta(max_length=_MOST_WORDS)] | None = None
    language: Annotated[str, msgspec.Meta(max_length=35)] | None = None
    country: Annotated[str, msgspec.Meta(pattern="^([A-Za-z]{2})?$")] | None = None
    region: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    device: str | None = None


class Body(msgspec.Struct):
    placements: Annotated[list[PlacementBody], msgspec.Meta(min_length=1, max_length=MOST_PLACEMENTS)]
    user: UserBody | None = None
    context: ContextBody | None = None
    test: bool = False
    explain: bool = False


_decode = msgspec.json.Decoder(Body).decode


class MalformedError(ValueError):
    """A request that cannot be answered; `code` is for machines."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Asked:
    """An ad request with what only recording needs: the consent string that allowed a profile, and its source."""

    request: AdRequest
    evidence: str = ""
    source: str = "live"


def read(
    body: bytes,
    environ: Environ,
    snapshot: Snapshot | None,
    *,
    scopes: Collection[str] | None,
    at: datetime,
    request_id: str,
    country: str = "",
) -> Asked:
    """The request that a body asks. `scopes` of a valid API key allow a chosen context, None (no key) does not;
    `country` is what the server knows."""
    asked = _checked(body)
    user, context = asked.user or UserBody(), asked.context or ContextBody()
    evidence = (
        consent.allows_profile(user.consent, gpc_header=environ.get("HTTP_SEC_GPC", "")) if user.id else ""
    )
    placements = tuple(
        Placement(one.id, snapshot.slots.get(one.slot) if snapshot else None, one.count)
        for one in asked.placements
    )
    trusted = scopes is not None
    device = context.device if trusted and context.device else device_of(environ.get("HTTP_USER_AGENT", ""))
    request = AdRequest(
        request_id=request_id,
        at=at,
        placements=placements,
        visitor=pseudonym(user.id) if user.id and evidence else None,
        url=_clean(context.url or ""),
        keywords=tuple(
            word for word in map(_clean, context.keywords or ()) if word and not is_personal(word)
        ),
        language=_clean(context.language or "") or _site_language(placements, snapshot),
        country=((context.country or country) if trusted else country).upper(),
        region=_clean(context.region or "") if trusted else "",
        device=device if device in DEVICES else "unknown",
        test=asked.test,
        explain=asked.explain and "explain" in (scopes or ()),
    )
    return Asked(request, evidence, "test" if asked.test else "live")


def _checked(body: bytes) -> Body:
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        raise MalformedError("invalid_request", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("invalid_json", str(error)) from error
    ids = [one.id for one in asked.placements]
    if len(set(ids)) < len(ids):
        raise MalformedError("duplicate_placement", "Each placement needs an id of its own.")
    return asked


def _clean(text: str) -> str:
    """Without control characters, which PostgreSQL and logs do not want, nor lone surrogates."""
    if text.isprintable():
        return text.strip()
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _site_language(placements: tuple[Placement, ...], snapshot: Snapshot | None) -> str:
    """Where the page does not say, its site does."""
    if snapshot is None:
        return ""
    return next((snapshot.languages.get(one.slot.site_id, "") for one in placements if one.slot), "")
