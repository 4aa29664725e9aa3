"""Forgetting a visitor: what is his alone is deleted, facts stay and no longer say whose they are.

The platform keeps no key per visitor that could be thrown away: the ads process derives every pseudonym from one key
without asking anybody. So the pseudonym itself is taken out of the facts. The log of erasures (a hash, in the database
and in a file) keeps late events and restored backups from bringing it back. It works while ads are served.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection, transaction

from adplatform.audience import erasures
from adplatform.audience.models import Behaviour, Consent, Erasure, Segment, Visitor
from adplatform.core.pseudonym import pseudonym
from adplatform.learning.models import Pick, VisitorVector

from . import facts, hot, log

# Finds in the tables who is in the log. The moment decides: who comes back after the erasure is somebody new.
_HASH = "encode(sha256(convert_to('erased:' || {}, 'UTF8')), 'hex')"


@dataclass
class Erased:
    """What was taken away, by what it was; nothing where nothing was held."""

    subject: str
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def erase(user_id: str, *, at: datetime) -> Erased:
    """Forget the visitor whom a publisher knows by this id. Doing it again changes nothing."""
    name = pseudonym(user_id)
    done = Erased(erasures.subject_of(name))
    log.append(done.subject, at)
    erasures.note(done.subject, at=at)
    done.counts = forget(name, until=at)
    return done


def forget(name: str, *, until: datetime) -> dict[str, int]:
    """Everything that is held of a pseudonym and was served until then; counts by what it was, without zeros."""
    counts = {table.name: facts.anonymise(table, name, until=until) for table in facts.TABLES}
    counts |= _delete_profile(name, until=until)
    return {what: n for what, n in counts.items() if n}


@transaction.atomic
def _delete_profile(name: str, *, until: datetime) -> dict[str, int]:
    visitors = Visitor.objects.filter(pseudonym=name, first_seen_at__lte=until)
    counts = {
        "consents": Consent.objects.filter(visitor__in=visitors).count(),
        "reads": Behaviour.objects.filter(visitor__in=visitors).count(),
        "segments": Segment.visitors.through.objects.filter(visitor__in=visitors).count(),
    }
    counts["profile"] = visitors.count()
    visitors.delete()
    if Visitor.objects.filter(pseudonym=name).exists():  # he came back and agreed anew
        return counts
    counts["vectors"] = VisitorVector.objects.filter(visitor=name).delete()[0]
    counts["picks"] = Pick.objects.filter(visitor=name).delete()[0]
    counts["valkey"] = hot.forget(name)
    return counts


def held_of_erased() -> dict[str, datetime]:
    """Pseudonyms that are held although they are in the log, with the moment until which nothing may be."""
    if not Erasure.objects.exists():
        return {}
    found: dict[str, datetime] = {}
    with connection.cursor() as cursor:
        for sql in _searches():
            cursor.execute(sql)
            found.update(cursor.fetchall())
    moments = dict(Erasure.objects.values_list("subject", "at"))
    returned = set(Visitor.objects.values_list("pseudonym", flat=True)) if moments else set()
    for name in hot.erased_pseudonyms(set(moments)) - returned:
        found[name] = moments[erasures.subject_of(name)]
    return found


def apply_again() -> dict[str, int]:
    """Forget once more who is in the log: after a restore, and what came late. Returns the sums by what it was."""
    log.merge()
    totals: dict[str, int] = {}
    for name, until in held_of_erased().items():
        for what, n in forget(name, until=until).items():
            totals[what] = totals.get(what, 0) + n
    return totals


def _searches() -> list[str]:
    timed = [(table.name, "visitor", table.moment) for table in facts.TABLES]
    timed.append(("audience_visitor", "pseudonym", "first_seen_at"))
    queries = [
        f"SELECT t.{column}, e.at FROM (SELECT {column}, min({moment}) AS first_at FROM {name}"  # noqa: S608 - our names
        f" WHERE {column} <> '' GROUP BY {column}) t JOIN audience_erasure e ON e.subject = {_HASH.format('t.' + column)}"
        " WHERE t.first_at <= e.at"
        for name, column, moment in timed
    ]
    return queries + [
        f"SELECT DISTINCT t.visitor, e.at FROM {name} t JOIN audience_erasure e ON e.subject = {_HASH.format('t.visitor')}"  # noqa: S608
        " WHERE NOT EXISTS (SELECT 1 FROM audience_visitor v WHERE v.pseudonym = t.visitor)"
        for name in ("learning_pick", "learning_visitorvector")
    ]
