"""The choice sets that a sample of decisions kept, with what became of the ad that was shown, for whoever replays them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import connection

from adplatform.events.validity import COUNTED

# The fourth column is the unit that intervals draw: the visitor, or the request where nobody is known.
_FROM = """
    SELECT d.choice_set, d.creative_id, c.decision_id IS NOT NULL,
           coalesce(nullif(d.visitor, ''), d.request_id::text),
           {columns}
    FROM events_addecision AS d
    JOIN events_impression AS i ON i.decision_id = d.decision_id AND i.reason = ANY(%(counted)s)
    LEFT JOIN events_click AS c
        ON c.decision_id = d.decision_id AND c.reason = ANY(%(counted)s) AND c.occurred_at < %(until)s
    WHERE d.served_at >= %(since)s AND d.served_at < %(until)s AND d.choice_set IS NOT NULL
    ORDER BY d.served_at DESC, d.decision_id
    LIMIT %(most)s
"""


def newest(columns: str, *, since: datetime, until: datetime, most: int) -> list[tuple[Any, ...]]:
    """(choice set, creative that was shown, whether it was clicked, unit, then `columns` of decision d and impression i)
    of counted impressions of a window, the newest first."""
    values: dict[str, Any] = {"since": since, "until": until, "counted": list(COUNTED), "most": most}
    with connection.cursor() as cursor:
        cursor.execute(_FROM.format(columns=columns), values)
        return list(cursor.fetchall())
