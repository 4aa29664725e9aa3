"""The review of creatives by an operator. A verdict serves, or stops serving, within seconds: the outbox says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from adplatform.accounts.models import User
from adplatform.accounts.services import audit
from adplatform.campaigns.models import Creative, Status
from adplatform.core import outbox
from adplatform.inventory.models import CreativeAttribute

Review = Creative.Review


class ReviewError(Exception):
    """A verdict that cannot be given, in a sentence a person can act on."""


def waiting() -> QuerySet[Creative]:
    """Creatives that want a verdict, those that wait longest first; archived ones do not."""
    rows = Creative.objects.filter(review=Review.PENDING).exclude(status=Status.ARCHIVED)
    return rows.select_related("line_item__campaign__organisation").order_by("updated_at", "pk")


def approve(
    *, user: User, creative: Creative, at: datetime, attributes: Collection[str] | None = None
) -> Creative:
    """`attributes`: what the reviewer finds in it, where that differs from what the advertiser says."""
    return _decide(user, creative, Review.APPROVED, note="", at=at, attributes=attributes)


def reject(*, user: User, creative: Creative, note: str, at: datetime) -> Creative:
    """The note tells the advertiser what to change; there is no rejection without one."""
    if not note.strip():
        raise ReviewError(_("Say what the advertiser has to change."))
    return _decide(user, creative, Review.REJECTED, note=note.strip(), at=at)


def reopen(*, user: User, creative: Creative) -> Creative:
    """Take a verdict back: the creative waits again, and stops serving where it had begun to."""
    return _decide(user, creative, Review.PENDING, note="", at=None)


@transaction.atomic
def _decide(
    user: User,
    creative: Creative,
    verdict: str,
    *,
    note: str,
    at: datetime | None,
    attributes: Collection[str] | None = None,
) -> Creative:
    row = (
        Creative.objects.select_for_update(of=("self",))
        .select_related("line_item__campaign__organisation")
        .get(pk=creative.pk)
    )
    before = row.review
    if before == verdict:
        return row
    row.review, row.review_note = verdict, note
    row.reviewed_by, row.reviewed_at = (user, at) if at else (None, None)
    said, row.attributes = row.attributes, _known(row.attributes if attributes is None else attributes)
    row.save(
        update_fields=["review", "review_note", "reviewed_by", "reviewed_at", "attributes", "updated_at"]
    )
    audit(
        user=user,
        organisation=row.line_item.campaign.organisation,
        action=_ACTIONS[verdict],
        target=row.name,
        detail=_detail(row, before, note) | _corrected(said, row.attributes),
    )
    outbox.write("snapshot", {"reason": f"creative {row.pk} was {verdict}"})
    return row


def _known(attributes: Collection[str]) -> list[str]:
    return sorted({one for one in attributes if one in CreativeAttribute.values})


def _corrected(said: list[str], found: list[str]) -> dict[str, Any]:
    return {} if sorted(said) == found else {"attributes": [", ".join(said), ", ".join(found)]}


_ACTIONS: Mapping[str, str] = {
    Review.APPROVED: "creative.approved",
    Review.REJECTED: "creative.rejected",
    Review.PENDING: "creative.review_reopened",
}


def _detail(creative: Creative, before: str, note: str) -> dict[str, Any]:
    detail: dict[str, Any] = {"creative": str(creative.public_id), "review": [before, creative.review]}
    return detail | ({"note": note} if note else {})
