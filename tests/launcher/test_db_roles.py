"""The database itself keeps each role to its tables: facts and ledger are appended to, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction

from adplatform.billing import ledger
from adplatform.core import clock, roles
from tests import factories

pytestmark = pytest.mark.django_db


@contextmanager
def acting_as(role: str) -> Iterator[None]:
    """Statements run as the role; a refused one undoes only itself."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
        yield
        cursor.execute("RESET ROLE")


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("role", [roles.APP, roles.WORKER])
def test_facts_and_ledger_cannot_be_changed(role: str) -> None:
    roles.apply()
    for table in roles.FACTS + roles.LEDGER:
        key = connection.introspection.get_primary_key_column(connection.cursor(), table)
        for statement in ("UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"):
            with (
                pytest.raises(ProgrammingError, match=f"permission denied for table {table}"),
                acting_as(role),
            ):
                run(statement.format(table, key, key))


def test_ordinary_tables_can_be_worked_with() -> None:
    roles.apply()
    with acting_as(roles.WORKER):
        run("INSERT INTO jobs_job (name, title, description, queue) VALUES ('probe', 'Probe', '', 'default')")
        run("UPDATE jobs_job SET title = 'Probe 2' WHERE name = 'probe'")
        run("DELETE FROM jobs_job WHERE name = 'probe'")
        run("SELECT count(*) FROM events_click")


def test_the_ledger_is_written_through_its_entries_only() -> None:
    roles.apply()
    advertiser = factories.organisation()
    with acting_as(roles.WORKER):
        entries = {ledger.prepaid(advertiser): 5_000_000, ledger.cash(advertiser.currency): -5_000_000}
        ledger.post(key="deposit:1", kind="deposit", entries=entries, effective_at=clock.now())
        run("SET CONSTRAINTS ALL IMMEDIATE")
        run("SET CONSTRAINTS ALL DEFERRED")
        assert ledger.prepaid(advertiser).balance.micros == 5_000_000
    with pytest.raises(ProgrammingError, match="permission denied"), acting_as(roles.WORKER):
        run("UPDATE billing_balance SET micros = 0")


@pytest.mark.parametrize("table", ["billing_posting", "billing_entry", "events_click", "jobs_job"])
def test_pages_add_nothing_to_books_facts_or_the_platforms_own(table: str) -> None:
    roles.apply()
    with pytest.raises(ProgrammingError, match=f"permission denied for table {table}"), acting_as(roles.APP):
        run(f"INSERT INTO {table} DEFAULT VALUES")


def test_the_auditor_reads_no_table() -> None:
    roles.apply()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND has_table_privilege(%s, oid, 'SELECT')",
            [roles.AUDITOR],
        )
        assert {row[0] for row in cursor.fetchall()} <= set(roles.AUDIT_VIEWS)


def test_applying_twice_changes_nothing() -> None:
    roles.apply()
    assert roles.apply() == []
    assert roles.problems() == []


def test_a_grant_too_many_is_found_and_taken_back() -> None:
    roles.apply()
    run(f"GRANT UPDATE ON events_click TO {roles.APP}")
    assert roles.problems() == [f"{roles.APP} may not do exactly SELECT on events_click"]
    assert roles.apply() == [f"{roles.APP} on events_click: SELECT"]
    assert roles.problems() == []


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("db_roles", "--json")
    assert json.loads(capsys.readouterr().out)["ok"] is True
    run(f"REVOKE SELECT ON jobs_job FROM {roles.WORKER}")
    with pytest.raises(SystemExit) as ended:
        call_command("db_roles", "--check", "--json")
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["problems"] == [
        f"{roles.WORKER} may not do exactly DELETE, INSERT, SELECT, UPDATE on jobs_job"
    ]


@pytest.mark.django_db(transaction=True)
def test_the_auditor_signs_in_and_may_only_read() -> None:
    roles.apply()
    auditor = psycopg2.connect(roles.auditor_url())
    try:
        with auditor.cursor() as cursor:
            cursor.execute("SELECT current_user, current_setting('default_transaction_read_only')")
            assert cursor.fetchone() == (roles.auditor_login(), "on")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("SELECT 1 FROM accounts_user")
    finally:
        auditor.close()
