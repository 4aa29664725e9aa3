"""How long personal data is kept: what is older is emptied or deleted, rule by rule.

The job clears a day ahead of each limit, so that `retention --check`, which holds to the limits themselves, finds
nothing between two nights. Data sets and the demo market are of nobody real and are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, QuerySet

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.events import dead_letters
from adplatform.events.stream import connect
from adplatform.learning.models import Pick, VisitorVector

from . import erasure, facts, log

AHEAD = timedelta(days=1)
_LIVE = "live"


@dataclass(frozen=True, slots=True)
class Rule:
    """What may not be older than `days`: how to count what is, and how to clear it."""

    name: str
    words: str
    days: int
    count: Callable[[datetime], int]
    clear: Callable[[datetime], int]


@dataclass(frozen=True, slots=True)
class Found:
    """Of one rule: how much of it was overdue, or was cleared."""

    rule: str
    words: str
    days: int
    rows: int


def rules() -> list[Rule]:
    raw, pseudonymous = settings.RETENTION_RAW_DAYS, settings.RETENTION_PSEUDONYM_DAYS
    decisions = facts.TABLES[0]
    return [
        Rule("page_words", "words of the pages that decisions were made for", raw,
             lambda before: facts.count_old(decisions, "keywords", before=before),
             lambda before: facts.empty_old(decisions, "keywords", before=before)),
        Rule("reads", "pages that visitors read", raw, _counting(_reads), _deleting(_reads)),
        Rule("consent_evidence", "consent strings that newer ones replaced", raw, _counting(_evidence), _empty_evidence),
        Rule("dead_letters", "events that could not be stored", raw, _count_letters, _trim_letters),
        *(_pseudonyms(table, pseudonymous) for table in facts.TABLES),
        Rule("visitors", "visitors not seen since, with all that is theirs", pseudonymous, _counting(_visitors), _delete_visitors),
        Rule("sessions", "sign-ins that ended", 0, _counting(_sessions), _deleting(_sessions)),
    ]  # fmt: skip


def overdue(*, at: datetime) -> list[Found]:
    """What is held longer than it may be, and erased subjects that are held again."""
    found = [_found(rule, rule.count(at - timedelta(days=rule.days))) for rule in rules() if rule.days]
    returned = len(set(log.unknown_to_database()) | set(erasure.held_of_erased()))
    found.append(Found("erased", "visitors who were erased and are held again", 0, returned))
    return [one for one in found if one.rows]


def enforce(*, at: datetime, dry_run: bool = False) -> list[Found]:
    """Clear what reaches its limit within a day, and forget again who was erased; returns what was (or would be)."""
    found = [_found(rule, (rule.count if dry_run else rule.clear)(_limit(rule, at))) for rule in rules()]
    again = len(erasure.held_of_erased()) if dry_run else sum(erasure.apply_again().values())
    found.append(Found("erased", "rows of visitors who were erased before", 0, again))
    return [one for one in found if one.rows]


def _found(rule: Rule, rows: int) -> Found:
    return Found(rule.name, rule.words, rule.days, rows)


def _limit(rule: Rule, at: datetime) -> datetime:
    return at - timedelta(days=rule.days) + (AHEAD if rule.days else timedelta())


def _pseudonyms(table: facts.FactTable, days: int) -> Rule:
    return Rule(
        f"pseudonyms_{table.name.removeprefix('events_')}",
        f"to whom {table.rows} belong",
        days,
        lambda before: facts.count_old(table, "visitor", before=before),
        lambda before: facts.empty_old(table, "visitor", before=before),
    )


# --- rows of visitors -------------------------------------------------------------------------------------------------


def _reads(before: datetime) -> QuerySet[Behaviour]:
    return Behaviour.objects.filter(kind=Behaviour.Kind.READ, visitor__source=_LIVE, occurred_at__lt=before)


def _evidence(before: datetime) -> QuerySet[Consent]:
    """The newest word stays with its proof for as long as the visitor is known."""
    newer = Consent.objects.filter(visitor=OuterRef("visitor"), at__gt=OuterRef("at"))
    old = Consent.objects.filter(visitor__source=_LIVE, at__lt=before).exclude(evidence="")
    return old.filter(Exists(newer))


def _visitors(before: datetime) -> QuerySet[Visitor]:
    return Visitor.objects.filter(source=_LIVE, last_seen_at__lt=before)


def _sessions(before: datetime) -> QuerySet[Session]:
    return Session.objects.filter(expire_date__lt=before)


def _counting(rows: Callable[[datetime], QuerySet[Any]]) -> Callable[[datetime], int]:
    return lambda before: rows(before).count()


def _deleting(rows: Callable[[datetime], QuerySet[Any]]) -> Callable[[datetime], int]:
    def delete(before: datetime) -> int:
        def some() -> int:
            chosen = list(rows(before).values_list("pk", flat=True)[: facts.BATCH])
            return rows(before).filter(pk__in=chosen).delete()[0] if chosen else 0

        return facts.in_batches(some)

    return delete


def _empty_evidence(before: datetime) -> int:
    return _evidence(before).update(evidence="")


def _delete_visitors(before: datetime) -> int:
    """One at a time, as erasure does it, but without a log: who comes back is somebody new."""
    names = list(_visitors(before).values_list("pseudonym", flat=True))
    for start in range(0, len(names), facts.BATCH):
        some = names[start : start + facts.BATCH]
        VisitorVector.objects.filter(visitor__in=some).delete()
        Pick.objects.filter(visitor__in=some).delete()
        Visitor.objects.filter(pseudonym__in=some, last_seen_at__lt=before).delete()
    return len(names)


# --- events that could not be stored ----------------------------------------------------------------------------------


def _count_letters(before: datetime) -> int:
    return sum(letter.at < before for letter in dead_letters.waiting(_events()))


def _trim_letters(before: datetime) -> int:
    oldest_kept = f"{int(before.timestamp() * 1000)}-0"
    return _events().xtrim(dead_letters.DEAD_LETTERS, minid=oldest_kept, approximate=False)


def _events() -> redis.Redis:
    return connect(settings.EVENTS_URL, timeout_seconds=5.0)
