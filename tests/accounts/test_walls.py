"""Row-level walls: with no filter of ours at all, the database shows and changes an organisation's own rows alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.http import Http404

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import Campaign
from adplatform.core import roles, walls
from adplatform.core.tenants import current, platform, tenant
from tests import factories
from tests.accounts import two_worlds
from tests.accounts.two_worlds import World
from tests.launcher.test_db_roles import acting_as

pytestmark = pytest.mark.django_db
READABLE = sorted(table for table, wall in walls.TENANTS.items() if "SELECT" in wall.may)
# Not the tenants' alone: the platform's accounts and operators' users, and whom a rule names.
ALSO_OTHERS = {
    "accounts_user",
    "accounts_organisation",
    "billing_ledgeraccount",
    "billing_entry",
    "billing_balance",
}
ALSO_OTHERS |= {"accounts_auditentry", "billing_posting"}


@pytest.fixture
def worlds(db: None) -> tuple[World, World]:
    both = two_worlds.make("EUR"), two_worlds.make("USD")
    two_worlds.settle_both(*both)
    return both


def rows(table: str) -> set[str]:
    """Whatever the database shows of a table, by primary key."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {key_of(table)}::text FROM {table}")
        return {key for (key,) in cursor.fetchall()}


def key_of(table: str) -> str:
    return str(connection.introspection.get_primary_key_column(connection.cursor(), table))


def seen_by(world: World, table: str) -> set[str]:
    seen: set[str] = set()
    for organisation in world.tenants:
        with tenant(organisation):
            seen |= rows(table)
    return seen


def test_each_sees_its_own_and_nothing_of_the_other(worlds: tuple[World, World]) -> None:
    one, other = worlds
    for table in READABLE:
        ours, theirs = seen_by(one, table), seen_by(other, table)
        assert ours, table
        assert theirs, table
        assert not ours & theirs, table
        if table not in ALSO_OTHERS:
            assert ours | theirs == rows(table), table


def test_of_facts_each_side_sees_its_own(worlds: tuple[World, World]) -> None:
    advertiser, publisher = worlds[0].tenants
    for table in ("events_click", "events_hourlystat"):
        with tenant(advertiser):
            bought = rows(table)
        with tenant(publisher):
            assert rows(table) == bought, table
    with tenant(publisher):
        assert not rows("campaigns_campaign")
        assert not rows("billing_invoice")
    with tenant(advertiser):
        assert not rows("inventory_site")
        assert not rows("billing_payee")


def test_nothing_of_others_is_changed_or_taken_over(worlds: tuple[World, World]) -> None:
    one, other = worlds
    for table, wall in walls.TENANTS.items():
        key = key_of(table)
        theirs = sorted(seen_by(other, table) if "SELECT" in wall.may else rows(table))
        stored = _stored(table, key, theirs)
        for organisation in one.tenants:
            if "UPDATE" in wall.may:
                assert (
                    _changed(
                        organisation, f"UPDATE {table} SET {key} = {key} WHERE {key}::text = ANY(%s)", theirs
                    )
                    == 0
                )
            if "DELETE" in wall.may:
                assert _changed(organisation, f"DELETE FROM {table} WHERE {key}::text = ANY(%s)", theirs) == 0
            if "INSERT" in wall.may:
                statement = f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s)"
                with pytest.raises(DatabaseError, match="row-level security"):
                    _changed(organisation, statement, json.dumps(stored[0]))
        assert _stored(table, key, theirs) == stored, table


def test_what_is_own_cannot_be_given_away(worlds: tuple[World, World]) -> None:
    one, other = worlds
    for table, wall in walls.TENANTS.items():
        column = wall.changes.removeprefix(f"{table}.").removesuffix(f" = {walls.TENANT}")
        if "UPDATE" not in wall.may or not column.isidentifier() or column == "id":
            continue
        for organisation, stranger in zip(one.tenants, other.tenants, strict=True):
            with tenant(organisation):
                if not rows(table):
                    continue
            with pytest.raises(DatabaseError, match="row-level security"):
                _changed(organisation, f"UPDATE {table} SET {column} = %s", stranger.pk)


def test_a_forgotten_tenant_sees_and_changes_nothing(worlds: tuple[World, World]) -> None:
    for table in READABLE:
        with acting_as(roles.APP):
            assert not rows(table), table
    with acting_as(roles.APP), connection.cursor() as cursor:
        cursor.execute("UPDATE campaigns_campaign SET name = 'taken'")
        assert cursor.rowcount == 0


@pytest.mark.parametrize("table", sorted(walls.PLATFORM.keys() - {"django_migrations"}))
def test_the_platforms_own_tables_are_closed(table: str) -> None:
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        tenant(factories.organisation()),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT * FROM {table}")


def test_a_person_sees_where_else_they_belong() -> None:
    here, elsewhere = factories.organisation(), factories.organisation()
    person = factories.member(here).user
    factories.member(elsewhere, user=person)
    factories.member(factories.organisation())
    with tenant(here, person=person):
        assert set(Organisation.objects.all()) == {here, elsewhere}
    with tenant(here):
        assert set(Organisation.objects.all()) == {here}


def test_a_door_opens_and_closes() -> None:
    here = factories.organisation()
    factories.campaign()
    with tenant(here):
        assert not Campaign.objects.exists()
        with platform():
            assert current() is None
            assert Campaign.objects.exists()
        assert not Campaign.objects.exists()
        with pytest.raises(Http404), platform():
            raise Http404
        with pytest.raises(DatabaseError), platform(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        assert not Campaign.objects.exists()
        assert current() == here.pk
    assert Campaign.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_commit_and_a_rollback_leave_nothing_on_the_connection() -> None:
    here = factories.organisation()

    def settings() -> tuple[str, str]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('role'), coalesce(current_setting('adplatform.tenant', true), '')"
            )
            return cursor.fetchone()

    with tenant(here):
        assert settings() == (roles.APP, str(here.pk))
    assert settings() == ("none", "")
    with pytest.raises(Http404), tenant(here):
        raise Http404
    assert settings() == ("none", "")
    with tenant(here):
        transaction.set_rollback(True)
    assert settings() == ("none", "")


@pytest.mark.parametrize("times", [200, pytest.param(2_000, marks=pytest.mark.long)])
def test_interleaved_requests_on_one_connection_leak_nothing(times: int, worlds: tuple[World, World]) -> None:
    rng = Random(5)
    tenants = [organisation for world in worlds for organisation in world.tenants]
    expected = {organisation.pk: _look(organisation) for organisation in tenants}
    leaks = 0
    for _ in range(times):
        organisation = rng.choice(tenants)
        with _broken_sometimes(rng):
            leaks += _look(organisation, fail=rng.random() < 0.2) != expected[organisation.pk]
        with acting_as(roles.APP):  # the next in line, who forgot to say for whom
            leaks += len(rows("campaigns_campaign")) + len(rows("inventory_site"))
    assert leaks == 0


@contextmanager
def _broken_sometimes(rng: Random) -> Iterator[None]:
    try:
        yield
    except Http404:
        assert current() is None


def _look(organisation: Organisation, *, fail: bool = False) -> tuple[set[str], ...]:
    with tenant(organisation):
        found = (
            rows("campaigns_campaign"),
            rows("inventory_site"),
            rows("events_click"),
            rows("accounts_apikey"),
        )
        if fail:
            raise Http404
        return found


def _changed(organisation: Organisation, statement: str, value: Any) -> int:
    with transaction.atomic(), tenant(organisation), connection.cursor() as cursor:
        cursor.execute(statement, [value])
        return int(cursor.rowcount)


def _stored(table: str, key: str, keys: list[str]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT to_jsonb(t)::text FROM {table} t WHERE {key}::text = ANY(%s) ORDER BY 1", [keys]
        )
        return [json.loads(row) for (row,) in cursor.fetchall()]
