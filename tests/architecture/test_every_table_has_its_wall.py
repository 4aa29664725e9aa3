"""No table without a wall: a new model is named in core.walls as tenants', shared or the platform's own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection

from adplatform.core import roles, walls

ROOT = Path(__file__).resolve().parents[2]
# The doors in the wall (core.tenants.platform): where code reads or writes more than its tenant's rows. docs/architecture.md
# gives the reasons; a door more is a decision, not an accident.
DOORS = {
    "accounts/services.py: add_member",
    "api/reports.py: _names",
    "api/rights.py: _advertiser",
    "billing/low_balance.py: mail",
    "events/credits.py: rebuild",
    "insights/blocked.py: advertiser_named",
    "insights/blocked.py: advertisers_on",
    "insights/blocked.py: cost",
    "insights/delivery.py: raise_to_win",
    "insights/queries.py: by_category",
    "insights/queries.py: by_site",
    "insights/variety.py: _measured",
    "inventory/queries.py: site_names",
    "inventory/queries.py: slot_names",
    "learning/variety.py: _ads",
}


def test_every_model_has_its_place() -> None:
    tables = {
        model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed
    }
    named = [*walls.TENANTS, *walls.SHARED, *walls.PLATFORM]
    assert len(named) == len(set(named))
    assert set(named) - {"django_migrations"} == tables


@pytest.mark.django_db
def test_every_table_of_the_database_has_its_place() -> None:
    found = {name for name, kind in _relations() if kind in "rp"}
    assert found == {*walls.TENANTS, *walls.SHARED, *walls.PLATFORM}


@pytest.mark.django_db
def test_what_points_to_an_organisation_is_tenants() -> None:
    """A table with a column that names an organisation is nobody's global table, except operators' own rules."""
    columns = ("organisation_id", "advertiser_id", "publisher_id", "owner_id")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT table_name FROM information_schema.columns JOIN information_schema.tables"
            " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND column_name = ANY(%s)",
            [list(columns)],
        )
        assert {name for (name,) in cursor.fetchall()} - walls.TENANTS.keys() == {"campaigns_operatorrule"}


@pytest.mark.django_db
def test_every_tenants_table_is_forced() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relrowsecurity AND relforcerowsecurity"
        )
        assert {name for (name,) in cursor.fetchall()} == walls.TENANTS.keys()
    assert roles.problems() == []


@pytest.mark.django_db
def test_no_view_leads_around_the_wall() -> None:
    """A view runs with its owner's rights unless it says otherwise, and a materialised one is a copy of everybody's."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, relkind, coalesce(reloptions, '{}') @> '{security_invoker=true}',"
            " has_table_privilege(%s, oid, 'SELECT') FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')",
            [roles.APP],
        )
        views = cursor.fetchall()
    assert {name for name, *_ in views} == set(roles.AUDIT_VIEWS)
    for name, kind, is_invoker, is_readable in views:
        assert (kind, is_invoker, is_readable) == ("v", True, False), name


@pytest.mark.django_db
def test_a_policy_that_somebody_changed_is_found_and_put_right() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER POLICY adplatform_tenant_select ON campaigns_campaign USING (true)")
        cursor.execute("ALTER TABLE campaigns_lineitem NO FORCE ROW LEVEL SECURITY")
        cursor.execute("CREATE POLICY another ON campaigns_creative USING (true)")
    names = ["campaigns_campaign", "campaigns_creative", "campaigns_lineitem"]
    assert roles.problems() == [f"{name} does not keep tenants apart as it should" for name in names]
    assert roles.apply() == [f"{name}: rows belong to their tenants" for name in names]
    assert roles.problems() == []


def test_the_doors_are_these() -> None:
    found = set()
    for path in sorted((ROOT / "adplatform").rglob("*.py")):
        if path.name == "tenants.py" or "platform" not in path.read_text():
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(map(_is_door, ast.walk(function))):
                found.add(f"{path.relative_to(ROOT / 'adplatform')}: {function.name}")
    assert found == DOORS


def _is_door(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "platform"


def _relations() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return list(cursor.fetchall())
