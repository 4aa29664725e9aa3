"""The database's roles: who may touch which table. `manage.py db_roles` creates and checks them.

owner     owns the tables; migrations run as a member of it
app       portal and API: the rows of one organisation, as core.walls says for each table
worker    across organisations: everything on ordinary tables, facts and the ledger may only be read and added to
auditor   reads the audit views and nothing else

The four are groups without login. One login, named after the database, belongs to the auditors; its password is
generated once under var/secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings
from django.db import connection, transaction

from adplatform.core import env, policies, walls

OWNER, APP, WORKER, AUDITOR = ROLES = (
    "adplatform_owner",
    "adplatform_app",
    "adplatform_worker",
    "adplatform_auditor",
)
# Appended once, never changed: not even the platform's own processes may update or delete them.
FACTS = (
    *("events_addecision", "events_impression", "events_view", "events_click", "events_conversion"),
    *("events_feedback", "events_invalidation", "events_adjustment"),
)
LEDGER = (
    *("billing_ledgeraccount", "billing_posting", "billing_entry"),
    *("billing_invoice", "billing_invoiceline", "billing_creditlimit", "billing_payout"),
)
# What a fact may be made to forget: the database lets these columns become empty and nothing else of a fact change.
FORGETS = {
    "events_addecision": ("visitor", "keywords"),
    **{f"events_{fact}": ("visitor",) for fact in ("impression", "view", "click", "conversion", "feedback")},
}
# Written by the database itself, in a function that runs with its owner's rights.
DERIVED = ("billing_balance",)
AUDIT_VIEWS = ("audit_entry", "audit_account", "audit_event", "audit_invoice", "audit_payout")
CHANGES, APPENDS, READS, NOTHING = walls.CHANGES, walls.APPENDS, walls.READS, walls.NOTHING


@dataclass(frozen=True)
class Grant:
    """What a role may do with a table or view: exactly these privileges of the four."""

    role: str
    relation: str
    privileges: frozenset[str]


@dataclass(frozen=True)
class Relation:
    """A table or view of our schema."""

    name: str
    is_view: bool
    owner: str


def auditor_url() -> str:
    """Address of the database for an independent checker; it reads the audit views only."""
    database = settings.DATABASES["default"]
    password = quote(env.secret("AUDITOR_PASSWORD", settings.VAR), safe="")
    host = quote(str(database["HOST"] or "localhost"), safe="")
    return f"postgresql://{auditor_login()}:{password}@{host}:{database['PORT'] or 5432}/{quote(str(database['NAME']), safe='')}"


def auditor_login() -> str:
    """Logins belong to the whole server: the database's name keeps two platforms on one server apart."""
    return f"{AUDITOR}_{connection.settings_dict['NAME']}"[:63]


def apply() -> list[str]:
    """Create what is missing, correct what differs, and return what was done, in words."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Migrations and a running platform hold locks: give up soon and say so, do not queue everybody behind us.
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        done = _create_roles()
        done += _take_ownership()
        for grant in _wrong_grants():
            _set_grant(grant)
            done.append(
                f"{grant.role} on {grant.relation}: {', '.join(sorted(grant.privileges)) or 'nothing'}"
            )
        done += _grant_schema()
        done += _open_views()
        for table, wanted in _wrong_walls():
            policies.put_up(table, wanted)
            done.append(f"{table}: rows belong to their tenants")
        done += _set_auditor_login()
    return done


def problems() -> list[str]:
    """What differs from the rules above, in words; empty when all is well."""
    existing = _existing_roles()
    missing = [f"role {role} is missing" for role in (*ROLES, auditor_login()) if role not in existing]
    if missing:
        return missing
    owned = [
        f"{relation.name} belongs to {relation.owner}, not to {OWNER}"
        for relation in _relations()
        if relation.owner != OWNER
    ]
    granted = [
        f"{grant.role} may not do exactly {', '.join(sorted(grant.privileges)) or 'nothing'} on {grant.relation}"
        for grant in _wrong_grants()
    ]
    granted += [f"{view} asks with its owner's rights" for view in _views_of_their_owner()]
    granted += [f"{table} does not keep tenants apart as it should" for table, _ in _wrong_walls()]
    powers = [
        f"{role} is more than a group: it has login, superuser or bypasses row-level security"
        for role in _powerful_roles()
    ]
    owned += [f"{signature} does not belong to {OWNER}" for signature in _foreign_functions()]
    return owned + granted + powers


def _create_roles() -> list[str]:
    existing = _existing_roles()
    done = []
    with connection.cursor() as cursor:
        for role in ROLES:
            if role not in existing:
                cursor.execute(f"CREATE ROLE {_name(role)} NOLOGIN")
                done.append(f"role {role} created")
        # Our own login migrates as a member of the owner, and takes on app or worker with SET ROLE.
        cursor.execute(
            "SELECT role FROM unnest(%s) AS role WHERE NOT pg_has_role(role, 'USAGE')", [[OWNER, APP, WORKER]]
        )
        for (role,) in cursor.fetchall():
            cursor.execute(f"GRANT {_name(role)} TO CURRENT_USER")
    return done


def _take_ownership() -> list[str]:
    done = []
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {_name(OWNER)}")
        for relation in _relations():
            if relation.owner != OWNER:
                kind = "VIEW" if relation.is_view else "TABLE"
                cursor.execute(f"ALTER {kind} {_name(relation.name)} OWNER TO {_name(OWNER)}")
                done.append(f"{relation.name} given to {OWNER}")
        for signature in _foreign_functions():
            cursor.execute(f"ALTER FUNCTION {signature} OWNER TO {_name(OWNER)}")
            done.append(f"{signature} given to {OWNER}")
    return done


def _set_grant(grant: Grant) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE ALL ON {_name(grant.relation)} FROM {_name(grant.role)}")
        if grant.privileges:
            cursor.execute(
                f"GRANT {', '.join(sorted(grant.privileges))} ON {_name(grant.relation)} TO {_name(grant.role)}"
            )


def _grant_schema() -> list[str]:
    """Reaching the schema and drawing numbers changes nothing when repeated, so it is not reported."""
    with connection.cursor() as cursor:
        for role in (APP, WORKER, AUDITOR):
            cursor.execute(f"GRANT USAGE ON SCHEMA public TO {_name(role)}")
        for role in (APP, WORKER):
            cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {_name(role)}")
        for table, column in walls.WRITTEN.items() if _relations() else ():
            cursor.execute(f"GRANT SELECT ({_name(column)}) ON {_name(table)} TO {_name(APP)}")
        for table, columns in FORGETS.items() if _relations() else ():
            listed = ", ".join(map(_name, columns))
            cursor.execute(f"GRANT UPDATE ({listed}) ON {_name(table)} TO {_name(WORKER)}")
    return []


def _open_views() -> list[str]:
    """Views ask with the rights of who asks them; so the auditor may read what they are made of, column by column."""
    done = []
    with connection.cursor() as cursor:
        for table, columns in _audited().items():
            listed = ", ".join(map(_name, columns))
            cursor.execute(f"GRANT SELECT ({listed}) ON {_name(table)} TO {_name(AUDITOR)}")
        for view in _views_of_their_owner():
            cursor.execute(f"ALTER VIEW {_name(view)} SET (security_invoker = true)")
            done.append(f"{view} asks with the rights of who asks it")
    return done


def _views_of_their_owner() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'"
            " AND NOT coalesce(reloptions, '{}') @> '{security_invoker=true}' ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def _audited() -> dict[str, list[str]]:
    """The tables and columns that the audit views are made of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT base.relname, array_agg(DISTINCT attname::text ORDER BY attname::text)"
            " FROM pg_rewrite JOIN pg_class AS view ON view.oid = ev_class"
            " JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid"
            " AND refclassid = 'pg_class'::regclass AND refobjsubid > 0"
            " JOIN pg_class AS base ON base.oid = refobjid"
            " JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid"
            " WHERE view.relname = ANY(%s) AND base.relkind IN ('r', 'p') GROUP BY 1",
            [list(AUDIT_VIEWS)],
        )
        return dict(cursor.fetchall())


def _wrong_walls() -> list[tuple[str, list[policies.Policy]]]:
    """Tenants' tables whose policies are not those of the catalogue, with those that they should have."""
    existing, audited = {relation.name for relation in _relations()}, _audited()
    wanted = {
        table: policies.wanted(
            table, app=APP, passing=(OWNER, WORKER), reading=(AUDITOR,) if table in audited else ()
        )
        for table in walls.TENANTS.keys() & existing
    }
    return [(table, wanted[table]) for table in policies.differing(wanted)]


def _set_auditor_login() -> list[str]:
    login, password = auditor_login(), env.secret("AUDITOR_PASSWORD", settings.VAR)
    is_new = login not in _existing_roles()
    with connection.cursor() as cursor:
        if is_new:
            cursor.execute(f"CREATE ROLE {_name(login)} NOLOGIN")
        cursor.execute(f"ALTER ROLE {_name(login)} LOGIN INHERIT CONNECTION LIMIT 5 PASSWORD %s", [password])
        cursor.execute(f"ALTER ROLE {_name(login)} SET default_transaction_read_only = on")
        cursor.execute(f"ALTER ROLE {_name(login)} SET statement_timeout = '60s'")
        cursor.execute(f"GRANT {_name(AUDITOR)} TO {_name(login)}")
        cursor.execute(
            f"GRANT CONNECT ON DATABASE {_name(str(connection.settings_dict['NAME']))} TO {_name(AUDITOR)}"
        )
    return [f"login {login} created"] if is_new else []


def _wrong_grants() -> list[Grant]:
    """The rules that the database does not follow yet."""
    rules = _rules()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT role, relation, privilege FROM unnest(%s::text[], %s::text[]) AS rule(role, relation), unnest(%s::text[]) AS privilege"
            " WHERE has_table_privilege(role, quote_ident(relation), privilege)",
            [
                [rule.role for rule in rules],
                [rule.relation for rule in rules],
                sorted(CHANGES | {"TRUNCATE"}),
            ],
        )
        held: dict[tuple[str, str], set[str]] = {}
        for role, relation, privilege in cursor.fetchall():
            held.setdefault((role, relation), set()).add(privilege)
    return [rule for rule in rules if held.get((rule.role, rule.relation), set()) != rule.privileges]


def _rules() -> list[Grant]:
    rules = []
    for relation in _relations():
        ours = CHANGES
        if relation.is_view or relation.name in DERIVED:
            ours = READS
        elif relation.name in FACTS + LEDGER:
            ours = APPENDS
        theirs = READS if relation.name in AUDIT_VIEWS else NOTHING
        rules += [
            Grant(APP, relation.name, walls.may(relation.name)),
            Grant(WORKER, relation.name, ours),
            Grant(AUDITOR, relation.name, theirs),
        ]
    return rules


def _relations() -> list[Relation]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, relkind = 'v', pg_get_userbyid(relowner) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY relname"
        )
        return [Relation(*row) for row in cursor.fetchall()]


def _foreign_functions() -> list[str]:
    """Signatures of our functions that the owner does not own yet; those of extensions are left alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind = 'f'"
            " AND pg_get_userbyid(proowner) <> %s"
            " AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY 1",
            [OWNER],
        )
        return [row[0] for row in cursor.fetchall()]


def _existing_roles() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles")
        return {row[0] for row in cursor.fetchall()}


def _powerful_roles() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolcanlogin OR rolbypassrls) ORDER BY 1",
            [list(ROLES)],
        )
        return [row[0] for row in cursor.fetchall()]


def _name(identifier: str) -> str:
    return connection.ops.quote_name(identifier)
