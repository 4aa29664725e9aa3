"""Who may be profiled: every read of visitors passes through their newest consent."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from adplatform.audience.models import Consent, Visitor

# The visitors whose newest word at a moment (%(at)s) was yes. Joined by raw queries that read many rows.
CONSENTED_SQL = """
    SELECT visitor.id, visitor.pseudonym
    FROM (
        SELECT DISTINCT ON (visitor_id) visitor_id, is_granted
        FROM audience_consent WHERE at <= %(at)s
        ORDER BY visitor_id, at DESC, id DESC
    ) AS newest
    JOIN audience_visitor AS visitor ON visitor.id = newest.visitor_id
    WHERE newest.is_granted
"""


def consented(at: datetime) -> QuerySet[Visitor]:
    """Visitors whose newest consent at that moment is a yes; one who never said anything is not among them."""
    newest = (
        Consent.objects.filter(at__lte=at)
        .order_by("visitor_id", "-at", "-pk")
        .distinct("visitor_id")
        .values("pk")
    )
    return Visitor.objects.filter(consents__pk__in=newest, consents__is_granted=True)
