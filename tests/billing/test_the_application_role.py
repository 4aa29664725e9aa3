"""The worker's database role may add to the books and nothing else, that of pages not even this; the database refuses."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from adplatform.billing import invoices, ledger, payouts, services
from adplatform.billing.models import Payee
from adplatform.core import roles
from tests.billing.test_settlement import Market
from tests.billing.test_the_database_refuses import check_now
from tests.factories import MICROS, NOON
from tests.launcher.test_db_roles import acting_as, run

pytestmark = pytest.mark.django_db
LATER = datetime(2026, 8, 4, tzinfo=NOON.tzinfo)


@pytest.fixture(params=[roles.APP, roles.WORKER])
def role(request: pytest.FixtureRequest) -> str:
    """Books with one of everything, and the role that tries to change them."""
    roles.apply()
    market = Market(currency="EUR")
    market.charge(80 * MICROS)
    services.settle(at=NOON.replace(hour=13))
    invoices.issue_month(date(2026, 6, 1), at=LATER)
    Payee.objects.create(organisation=market.publisher, holder="Paper", iban="AT611904300234573201")
    payouts.prepare(at=LATER)
    check_now()
    return str(request.param)


@pytest.mark.parametrize("table", [*roles.LEDGER, *roles.DERIVED])
@pytest.mark.parametrize("statement", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0} CASCADE"])
def test_nothing_is_updated_deleted_or_emptied(role: str, table: str, statement: str) -> None:
    key = connection.introspection.get_primary_key_column(connection.cursor(), table)
    with pytest.raises(DatabaseError, match="permission denied for table"), acting_as(role):
        run(statement.format(table, key))


LATE_PAIR = """
    INSERT INTO billing_entry (posting_id, account_id, currency, micros)
    SELECT posting_id, account_id, currency, sign(micros) * 5 FROM billing_entry
    WHERE posting_id = (SELECT min(id) FROM billing_posting)
"""
LATE_LINE = """
    INSERT INTO billing_invoiceline (invoice_id, service_month, words, micros)
    SELECT id, month, 'more', 5 FROM billing_invoice; SET CONSTRAINTS ALL IMMEDIATE
"""


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (LATE_PAIR, "is sealed"),
        (LATE_LINE, "invoice_equals_its_lines|it has 2 of"),
        ("INSERT INTO billing_balance SELECT id, 7, 0 FROM billing_ledgeraccount", "permission denied"),
        ("ALTER TABLE billing_entry DISABLE TRIGGER ALL", "must be owner"),
        ("ALTER TABLE billing_posting DISABLE TRIGGER billing_posting_is_sound", "must be owner"),
        ("DROP TRIGGER billing_entry_is_append_only ON billing_entry", "must be owner"),
        ("ALTER FUNCTION billing_check_posting() RENAME TO nothing", "must be owner"),
        ("DROP TABLE billing_posting CASCADE", "must be owner"),
    ],
)
def test_no_way_around(role: str, statement: str, words: str) -> None:
    refused = words if role == roles.WORKER else "permission denied|must be owner"
    with pytest.raises(DatabaseError, match=refused), acting_as(role):
        run(statement)


def test_triggers_are_not_switched_off_by_a_setting(role: str) -> None:
    """`session_replication_role = replica` skips triggers; who is a superuser here may set it, a role may not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_parameter_privilege(%s, 'session_replication_role', 'SET')", [role])
        assert cursor.fetchone() == (False,)


@pytest.mark.parametrize("role", [roles.WORKER], indirect=True)
def test_a_posting_is_added_and_no_more(role: str) -> None:
    with acting_as(role):
        before = ledger.cash("EUR").balance.micros
        entries = {ledger.revenue("EUR"): -1, ledger.cash("EUR"): 1}
        ledger.post(key="test:1", kind="test", entries=entries, effective_at=NOON)
        check_now()
        assert ledger.cash("EUR").balance.micros == before + 1


@pytest.mark.django_db(transaction=True)
def test_an_unsound_posting_of_the_role_is_refused_at_its_commit() -> None:
    roles.apply()

    def add() -> None:
        run(
            "INSERT INTO billing_posting (key, kind, request_sha256, memo, posted_at, effective_at, previous_sha256, row_sha256)"
            f" VALUES ('x', 'test', '', '', now(), now(), '{ledger.GENESIS}', '')"
        )

    with pytest.raises(DatabaseError, match="has 0 entries"), transaction.atomic(), acting_as(roles.WORKER):
        add()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_posting")
        assert cursor.fetchone() == (0,)
