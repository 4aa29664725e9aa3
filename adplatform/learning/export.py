"""Facts out of PostgreSQL as numpy columns, strictly earlier than a moment, and of consenting visitors only.

An impression whose visitor has no consent (any more) stays, without its visitor. Clicks count where they had arrived
before the moment. What is invalid (bots, tests, late events) is left out, as in the live statistics.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection, transaction

from adplatform.audience.queries import CONSENTED_SQL
from adplatform.campaigns.models import Creative
from adplatform.events.validity import COUNTED
from adplatform.inventory.models import AdSlot
from adplatform.learning import context
from adplatform.learning.history import Trace
from ml.schema import Column, ImpressionLog, Ints, Withdrawn

# What was found invalid is no row and no label. Until it was found the counters held it: WITHDRAWN says so.
_GENUINE = """NOT EXISTS (
        SELECT FROM events_invalidation AS x
        WHERE x.decision_id = {event}.decision_id AND x.kind = '{kind}' AND x.found_at < %(at)s
    )"""
_GENUINE_CLICK = _GENUINE.format(event="c", kind="click")

IMPRESSIONS = f"""
    WITH consented AS ({CONSENTED_SQL})
    SELECT extract(epoch FROM i.served_at)::float8, extract(epoch FROM c.occurred_at)::float8,
           i.creative_id, i.line_item_id, i.campaign_id, i.advertiser_id, i.slot_id,
           coalesce(v.pseudonym, ''), coalesce(d.device, '')
    FROM events_impression AS i
    LEFT JOIN events_addecision AS d ON d.decision_id = i.decision_id
    LEFT JOIN events_click AS c
        ON c.decision_id = i.decision_id AND c.reason = ANY(%(counted)s) AND c.occurred_at < %(at)s
        AND {_GENUINE_CLICK}
    LEFT JOIN consented AS v ON v.pseudonym = i.visitor
    WHERE i.served_at < %(at)s AND i.reason = ANY(%(counted)s)
        AND {_GENUINE.format(event="i", kind="impression")}
    ORDER BY i.served_at, i.decision_id
"""  # noqa: S608 - the inserted text is a constant

# An impression takes its click with it. Of one that was found twice the first finding counts.
WITHDRAWN = f"""
    WITH consented AS ({CONSENTED_SQL}), found AS (
        SELECT decision_id, min(found_at) AS found_at, min(found_at) FILTER (WHERE kind = 'impression') AS hidden_at
        FROM events_invalidation WHERE found_at < %(at)s GROUP BY decision_id
    ), events AS (
        SELECT i.served_at AS at, hidden_at AS found_at, false AS is_click, i.creative_id, i.line_item_id, i.campaign_id,
            i.advertiser_id, i.slot_id, i.visitor
        FROM found JOIN events_impression AS i USING (decision_id)
        WHERE hidden_at IS NOT NULL AND i.reason = ANY(%(counted)s)
        UNION ALL
        SELECT greatest(c.occurred_at, c.served_at), found_at, true, c.creative_id, c.line_item_id, c.campaign_id,
            c.advertiser_id, c.slot_id, c.visitor
        FROM found JOIN events_click AS c USING (decision_id)
        WHERE c.occurred_at < %(at)s AND c.reason = ANY(%(counted)s)
    )
    SELECT extract(epoch FROM e.at)::float8, extract(epoch FROM e.found_at)::float8, is_click::int, creative_id,
        line_item_id, campaign_id, advertiser_id, slot_id, coalesce(v.pseudonym, '')
    FROM events AS e LEFT JOIN consented AS v ON v.pseudonym = e.visitor
    ORDER BY e.at, is_click
"""  # noqa: S608

BEHAVIOURS = f"""
    WITH consented AS ({CONSENTED_SQL})
    SELECT v.pseudonym, extract(epoch FROM b.occurred_at)::float8, b.text
    FROM audience_behaviour AS b JOIN consented AS v ON v.id = b.visitor_id
    WHERE b.occurred_at < %(at)s AND (%(visitors)s::text[] IS NULL OR v.pseudonym = ANY(%(visitors)s))
"""  # noqa: S608

CLICKS = f"""
    WITH consented AS ({CONSENTED_SQL})
    SELECT v.pseudonym, extract(epoch FROM c.occurred_at)::float8, c.creative_id
    FROM events_click AS c JOIN consented AS v ON v.pseudonym = c.visitor
    WHERE c.occurred_at < %(at)s AND c.reason = ANY(%(counted)s) AND {_GENUINE_CLICK}
        AND (%(visitors)s::text[] IS NULL OR v.pseudonym = ANY(%(visitors)s))
"""  # noqa: S608

# What a visitor does not want counts against its text, what he wants more of for it, and what he took back the other way
# round: each at its moment, so that a profile of any past moment knows nothing of what came later.
FEEDBACK = f"""
    WITH consented AS ({CONSENTED_SQL})
    SELECT v.pseudonym, extract(epoch FROM f.occurred_at)::float8, f.creative_id,
        CASE WHEN f.is_given = (f.kind = 'more_like_this') THEN 1.0 ELSE -1.0 END::float8
    FROM events_feedback AS f JOIN consented AS v ON v.pseudonym = f.visitor
    WHERE f.occurred_at < %(at)s AND f.kind = ANY(%(topical)s)
        AND (%(visitors)s::text[] IS NULL OR v.pseudonym = ANY(%(visitors)s))
"""  # noqa: S608
# Kinds of events.Feedback that say something of the topic.
TOPICAL = ["not_interested", "hide_advertiser", "more_like_this"]

ACTS_BY_VISITOR = f"""
    WITH consented AS ({CONSENTED_SQL})
    SELECT pseudonym, sum(acts)::bigint FROM (
        SELECT v.pseudonym, count(*) AS acts
        FROM audience_behaviour AS b JOIN consented AS v ON v.id = b.visitor_id
        WHERE b.occurred_at < %(at)s GROUP BY 1
        UNION ALL
        SELECT v.pseudonym, count(*)
        FROM events_click AS c JOIN consented AS v ON v.pseudonym = c.visitor
        WHERE c.occurred_at < %(at)s AND c.reason = ANY(%(counted)s) AND {_GENUINE_CLICK} GROUP BY 1
        UNION ALL
        SELECT v.pseudonym, count(*)
        FROM events_feedback AS f JOIN consented AS v ON v.pseudonym = f.visitor
        WHERE f.occurred_at < %(at)s AND f.kind = ANY(%(topical)s) GROUP BY 1
    ) AS all_kinds GROUP BY 1
"""  # noqa: S608


@dataclass(frozen=True)
class TrainingLog:
    """Impressions in time order; `site` beside each, `device` as the decision recorded it."""

    log: ImpressionLog
    site: Ints
    device: Column
    slots: Mapping[int, AdSlot]

    def __len__(self) -> int:
        return len(self.log)

    def with_context(self, has_profile: Column) -> ImpressionLog:
        """The log with the context columns that serving knows at the moment of a request."""
        places = [self.slots[number] for number in self.log.slot.tolist()]
        columns = context.of_log(
            self.log.time,
            time_zone=np.array([slot.site.time_zone for slot in places], dtype=object),
            place={
                name: np.array([getattr(slot, name) for slot in places]) for name in context.Place._fields
            },
            device=self.device,
            has_profile=has_profile,
        )
        return replace(self.log, context=columns)


@dataclass(frozen=True)
class Acts:
    """What visitors did: `names[code]` is the pseudonym of a trace's visitor, `texts[row]` what an act was about."""

    names: list[str]
    trace: Trace
    texts: list[str]

    def codes(self, visitors: Column) -> Ints:
        """Code of each pseudonym, −1 for one without acts."""
        code = {name: number for number, name in enumerate(self.names)}
        unique, row = np.unique(visitors.astype(str), return_inverse=True)
        return np.array([code.get(name, -1) for name in unique.tolist()], np.int64)[row]


def training_log(*, until: datetime) -> TrainingLog:
    """Every counted impression served before `until`, with its click where that had arrived."""
    table = _copy(
        IMPRESSIONS,
        (
            *("time", "click_time", "creative", "line_item", "campaign", "advertiser", "slot"),
            *("visitor", "device"),
        ),
        text=("visitor", "device"),
        at=until,
    )
    slots = {slot.pk: slot for slot in AdSlot.objects.select_related("site")}
    slot = table["slot"].astype(np.int64)
    sites = _sites(slots, slot)
    log = ImpressionLog(
        time=table["time"],
        click_time=table["click_time"],
        creative=table["creative"].astype(np.int64),
        line_item=table["line_item"].astype(np.int64),
        campaign=table["campaign"].astype(np.int64),
        advertiser=table["advertiser"].astype(np.int64),
        slot=slot,
        site=sites,
        visitor=table["visitor"],
        withdrawn=_withdrawn(slots, until),
    )
    return TrainingLog(log, sites, table["device"], slots)


def _withdrawn(slots: Mapping[int, AdSlot], until: datetime) -> Withdrawn | None:
    """What counted and was found invalid before `until`; None where nothing was."""
    ids = ("creative", "line_item", "campaign", "advertiser", "slot")
    names = ("time", "found_at", "is_click", *ids, "visitor")
    table = _copy(WITHDRAWN, names, text=("visitor",), at=until)
    if not len(table["time"]):
        return None
    columns: dict[str, Column] = {name: table[name].astype(np.int64) for name in ids}
    return Withdrawn(
        time=table["time"],
        found_at=table["found_at"],
        is_click=table["is_click"] > 0,
        visitor=table["visitor"],
        site=_sites(slots, columns["slot"]),
        **columns,
    )


def _sites(slots: Mapping[int, AdSlot], slot: Ints) -> Ints:
    return np.array([slots[number].site_id for number in slot.tolist()], np.int64)


def acts(*, until: datetime, visitors: Sequence[str] | None = None) -> Acts:
    """What consenting visitors (or only these) read, bought, clicked and refused before `until`."""
    wanted = None if visitors is None else list(visitors)
    asked: dict[str, Any] = {"at": until, "visitors": wanted}
    done = _copy(BEHAVIOURS, ("visitor", "time", "text"), text=("visitor", "text"), **asked)
    clicked = _copy(CLICKS, ("visitor", "time", "creative"), text=("visitor",), **asked)
    said = _copy(
        FEEDBACK, ("visitor", "time", "creative", "weight"), text=("visitor",), topical=TOPICAL, **asked
    )
    ids = np.concatenate([clicked["creative"], said["creative"]]).astype(np.int64)
    text_of = {one.pk: one.text for one in Creative.objects.filter(pk__in=np.unique(ids).tolist())}
    of_ads = np.array([text_of[number] for number in ids.tolist()], dtype=object)
    names, time = (
        np.concatenate([part[name] for part in (done, clicked, said)]) for name in ("visitor", "time")
    )
    texts = np.concatenate([done["text"], of_ads])
    weight = np.concatenate([np.ones(len(texts) - len(said["weight"])), said["weight"]])
    unique_names, visitor = np.unique(names.astype(str), return_inverse=True)
    unique_texts = {text: row for row, text in enumerate(dict.fromkeys(texts.tolist()))}
    row = np.array([unique_texts[text] for text in texts.tolist()], np.int64)
    trace = Trace.of(visitor.astype(np.int64), time, row, weight)
    return Acts(unique_names.tolist(), trace, list(unique_texts))


def acts_by_visitor(*, until: datetime) -> dict[str, int]:
    """How many acts each consenting visitor has before `until`."""
    with _whole_tables() as cursor:
        cursor.execute(ACTS_BY_VISITOR, {"at": until, "counted": list(COUNTED), "topical": TOPICAL})
        return dict(cursor.fetchall())


@contextmanager
def _whole_tables() -> Iterator[Any]:
    """A cursor whose queries join whole tables by hash.

    Where they grew faster than their statistics the planner expects a row or two, and would compare each with each,
    for minutes.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = off")
        yield cursor
        cursor.execute("SET LOCAL enable_nestloop TO DEFAULT")


def _copy(
    query: str, names: Sequence[str], *, text: Sequence[str], at: datetime, **values: Any
) -> dict[str, Column]:
    """The query's columns by COPY: one pass in the server's own format, no object per row."""
    from pyarrow import csv, float64, string

    buffer = io.BytesIO()
    with _whole_tables() as cursor:
        filled = cursor.mogrify(query, {"at": at, "counted": list(COUNTED), **values}).decode()
        cursor.copy_expert(f"COPY ({filled}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)", buffer)
    buffer.seek(0)
    if not buffer.getbuffer().nbytes:
        return {name: np.empty(0, object if name in text else np.float64) for name in names}
    table = csv.read_csv(
        buffer,
        read_options=csv.ReadOptions(column_names=list(names), use_threads=False, encoding="utf-8"),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={name: string() if name in text else float64() for name in names},
            null_values=[""],
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        ),
    )
    return {name: table.column(name).to_numpy() for name in names}
