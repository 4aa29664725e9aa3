"""What the doctor asks of PostgreSQL and Valkey: whether they keep what they are told."""

from __future__ import annotations

import os

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from adplatform import embedded
from adplatform.core import roles
from adplatform.core.doctor.finding import FAIL, OK, WARN, Finding


def servers() -> Finding:
    """Starts the embedded ones where that is our task, so that the checks below have something to ask."""
    embedded.ensure()
    given = [name for name in ("DATABASE_URL", "REDIS_URL", "EVENTS_URL") if os.environ.get(name)]
    return Finding(OK, f"given: {', '.join(given)}" if given else "embedded, in var/")


def postgres() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_setting('fsync')"
        )
        version, number, fsync = cursor.fetchone()
    if number < 150_000:
        return Finding(FAIL, f"PostgreSQL {version}", "use PostgreSQL 15 or later")
    if fsync != "on":
        return Finding(
            WARN, f"PostgreSQL {version}, fsync off", "switch fsync on: a power cut would lose money events"
        )
    return Finding(OK, f"PostgreSQL {version}")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return Finding(FAIL, f"{len(missing)} migrations are not applied", "manage.py migrate")
    return Finding(OK, "all applied")


def database_roles() -> Finding:
    wrong = roles.problems()
    return (
        Finding(WARN, f"{wrong[0]} ({len(wrong)} in all)", "manage.py db_roles")
        if wrong
        else Finding(OK, "four roles with their grants")
    )


def hot_store() -> Finding:
    return _store(settings.REDIS_URL, fsync={"everysec", "always"})


def event_store() -> Finding:
    return _store(settings.EVENTS_URL, fsync={"always"})


def _store(url: str, *, fsync: set[str]) -> Finding:
    """A Valkey or Redis that forgets nothing: append-only file, and an error instead of an eviction when full."""
    client = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
    try:
        server, kept = client.info("server"), client.config_get("append*", "maxmemory-policy")
    finally:
        client.close()
    version = str(server.get("valkey_version") or server["redis_version"])
    says = (
        f"{'Valkey' if 'valkey_version' in server else 'Redis'} {version}, appendfsync {kept['appendfsync']}"
    )
    if int(version.split(".", maxsplit=1)[0]) < 7:
        return Finding(FAIL, says, "use Valkey, or Redis 7.0 or later")
    if kept["appendonly"] != "yes" or kept["maxmemory-policy"] != "noeviction":
        return Finding(
            FAIL,
            f"{says}, appendonly {kept['appendonly']}, {kept['maxmemory-policy']}",
            "set appendonly yes and maxmemory-policy noeviction",
        )
    if kept["appendfsync"] not in fsync:
        return Finding(
            WARN, says, f"set appendfsync {' or '.join(sorted(fsync))}: a power cut would lose events"
        )
    return Finding(OK, says)
