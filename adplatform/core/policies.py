"""Row-level security as the database holds it: made to follow core.walls, and checked.

Policies name roles, which belong to the server, and follow a catalogue that covers every table: so `db_roles` makes them
all, after every migration, and tells what differs. A table that it has not seen yet cannot be touched by the application.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.db import connection

from adplatform.core import walls

PREFIX = "adplatform_"


@dataclass(frozen=True)
class Policy:
    """A permissive policy: for a command of some roles, which rows they see (`using`) and which they may make (`check`)."""

    name: str
    command: str
    roles: tuple[str, ...]
    using: str
    check: str

    def sql(self, table: str) -> str:
        said = f"CREATE POLICY {self.name} ON {table} FOR {self.command} TO {', '.join(self.roles)}"
        said += f" USING ({self.using})" if self.using else ""
        return said + (f" WITH CHECK ({self.check})" if self.check else "")


def wanted(table: str, *, app: str, passing: tuple[str, ...], reading: tuple[str, ...] = ()) -> list[Policy]:
    """Of a tenants' table: `passing` roles work across tenants, `reading` ones read across them, `app` keeps to its own."""
    wall = walls.TENANTS[table]
    policies = [Policy(f"{PREFIX}platform", "ALL", passing, "true", "true")]
    policies += [Policy(f"{PREFIX}audit", "SELECT", reading, "true", "")] if reading else []
    conditions = {
        "SELECT": (wall.reads, ""),
        "INSERT": ("", wall.changes),
        "UPDATE": (wall.changes, wall.changes),
        "DELETE": (wall.changes, ""),
    }
    for command in sorted(wall.may):
        policies.append(Policy(f"{PREFIX}tenant_{command.lower()}", command, (app,), *conditions[command]))
    return policies


def differing(tables: dict[str, list[Policy]]) -> list[str]:
    """Of these tables those whose row-level security is not exactly their policies, forced upon the owner too."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%s)"
            " AND relrowsecurity AND relforcerowsecurity",
            [list(tables)],
        )
        forced = {name for (name,) in cursor.fetchall()}
    held = _held(list(tables))
    right = {
        table
        for table, wanted in tables.items()
        if table in forced and held.get(table, {}) == {one.name: _said(one) for one in wanted}
    }
    return sorted(tables.keys() - right)


def put_up(table: str, policies: list[Policy]) -> None:
    """Replace whatever policies the table has."""
    with connection.cursor() as cursor:
        for name in _held([table]).get(table, {}):
            cursor.execute(f"DROP POLICY {connection.ops.quote_name(name)} ON {table}")
        for one in policies:
            cursor.execute(one.sql(table))
        cursor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        stored = {name: words for _, name, words, _ in _stored([table])}
        for one in policies:
            # The database keeps a condition in words of its own: ours and its are noted, so that a change of either shows.
            note = f"{_said(one)} {_digest(stored[one.name])}"
            cursor.execute(f"COMMENT ON POLICY {one.name} ON {table} IS %s", [note])


def _held(tables: list[str]) -> dict[str, dict[str, str]]:
    """By table and name the digest of what a policy was made from; '' where it is no longer what was made."""
    held: dict[str, dict[str, str]] = {}
    for table, name, words, note in _stored(tables):
        said, _, kept = note.partition(" ")
        held.setdefault(table, {})[name] = said if kept == _digest(words) else ""
    return held


def _stored(tables: list[str]) -> list[tuple[str, str, str, str]]:
    """(table, name, what the database says about a policy, the note on it)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename, policyname, concat_ws('|', permissive, cmd, roles, qual, with_check),"
            " coalesce(obj_description(pol.oid, 'pg_policy'), '')"
            " FROM pg_policies JOIN pg_policy AS pol ON polname = policyname"
            " AND polrelid = format('%%I.%%I', schemaname, tablename)::regclass"
            " WHERE schemaname = 'public' AND tablename = ANY(%s)",
            [tables],
        )
        return list(cursor.fetchall())


def _said(policy: Policy) -> str:
    return _digest(policy.sql(""))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
