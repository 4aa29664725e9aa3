"""Everything that is held of a subject, for the subject: each part with what it means.

A visitor is known to us under a pseudonym only; whoever brings the id that the publisher's site uses gets what stands
under its pseudonym. A person with an account of the portal is found by the e-mail address.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from adplatform.accounts.models import User
from adplatform.audience.models import Behaviour, Consent, Segment, Visitor
from adplatform.core.pseudonym import pseudonym
from adplatform.learning.models import Pick, VisitorVector

from . import facts, hot

Part = dict[str, Any]
_SECRET = ("password", "secret", "token", "data", "session")  # parts of names of columns that open something
_NO_RELATIONS = ("django_admin_log",)


def export(user_id: str, *, at: datetime) -> dict[str, Any]:
    """One object: `visitor` and `person` hold parts of {meaning, rows}, without those that are empty."""
    name = pseudonym(user_id)
    person = User.objects.filter(email__iexact=user_id).first()
    return {
        "id": user_id,
        "pseudonym": name,
        "exported_at": at,
        "visitor": _full(visitor_parts(name)),
        "person": _full(person_parts(person)) if person else {},
    }


def visitor_parts(name: str) -> dict[str, Part]:
    """What is held under a pseudonym."""
    profile = Visitor.objects.filter(pseudonym=name)
    found = {
        "profile": _part("When you were first and last seen", profile),
        "consents": _part("What you agreed to or refused", Consent.objects.filter(visitor__in=profile)),
        "reads": _part(
            "Pages you read (under a key that is no address) and products you bought, from which interests are guessed",
            Behaviour.objects.filter(visitor__in=profile),
        ),
        "segments": _part(
            "Groups that advertisers may address", Segment.objects.filter(visitors__in=profile)
        ),
        "vectors": _part("Your interests as numbers", VisitorVector.objects.filter(visitor=name)),
        "picks": _part("Ads chosen for you in advance", Pick.objects.filter(visitor=name)),
    }
    found |= {
        table.name.removeprefix("events_"): {"meaning": table.meaning, "rows": _facts(table.name, name)}
        for table in facts.TABLES
    }
    for key, fields in hot.read(name).items():
        found[f"valkey_{key}"] = {"meaning": hot.MEANING[key], "rows": [fields]}
    return found


def person_parts(person: User) -> dict[str, Part]:
    """What is held of somebody with an account: the account, and every row that points to it."""
    found = {"account": _part("Your account", User.objects.filter(pk=person.pk))}
    for relation in User._meta.related_objects:
        model = relation.related_model
        if isinstance(model, str) or model._meta.db_table in _NO_RELATIONS:
            continue
        rows = model._default_manager.filter(**{relation.field.name: person})
        name = f"{model._meta.label_lower}.{relation.field.name}"
        words = f"{str(model._meta.verbose_name).capitalize()} in which you are {relation.field.verbose_name}"
        found[name] = _part(words, rows)
    return found


def _facts(table: str, name: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} WHERE visitor = %s", [name])  # noqa: S608 - our names
        columns = [column[0] for column in cursor.description]
        return [_plain(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def _part(meaning: str, rows: QuerySet[Any]) -> Part:
    return {"meaning": meaning, "rows": [_plain(row.items()) for row in rows.values()]}


def _plain(row: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Without what opens something; bytes as hexadecimal digits."""
    return {
        name: bytes(value).hex() if isinstance(value, bytes | memoryview) else value
        for name, value in row
        if not any(word in name for word in _SECRET)
    }


def _full(parts: dict[str, Part]) -> dict[str, Part]:
    return {name: part for name, part in parts.items() if part["rows"]}
