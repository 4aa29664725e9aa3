"""`manage.py seed_market`: a synthetic market of a given size in a database of its own."""

from __future__ import annotations

import re
import sys
from typing import Any

import psycopg2
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from psycopg2 import sql

from adplatform.core import clock
from adplatform.demo.catalogue import market
from adplatform.demo.seeding import Size, seed_market

EVERY = 100  # line items between two lines of progress


class Command(BaseCommand):
    help = (
        "Makes a synthetic market for benchmarks and load tests, in a database of its own; --drop removes it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--line-items", type=int, default=1_000)
        parser.add_argument("--slots", type=int, default=50)
        parser.add_argument("--visitors", type=int, default=1_000)
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--database", default="adplatform_seed", help="made where it is missing")
        parser.add_argument("--drop", action="store_true", help="remove that database and end")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = options["database"]
        size = Size(options["line_items"], options["slots"], options["visitors"])
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name == connection.settings_dict["NAME"]:
            raise CommandError(
                f"--database {name}: choose a database of its own, in small letters.", returncode=2
            )
        if min(size.line_items, size.slots, size.visitors) < 1:
            raise CommandError("A market has at least one line item, slot and visitor.", returncode=2)
        exists = _exists(name)
        if options["drop"]:
            if exists:
                _run(sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)
            self.stdout.write(f"{name} is {'removed' if exists else 'not there'}.")
            return
        if exists:
            raise CommandError(f"The database {name} exists; remove it first with --drop.")
        _run(sql.SQL("CREATE DATABASE {}"), name)
        connection.close()
        connection.settings_dict["NAME"] = name
        call_command("migrate", verbosity=0)
        seed_market(market(), size, seed=options["seed"], at=clock.now(), say=_say)
        self.stdout.write(
            f"{name}: {size.line_items:,} line items, {size.slots:,} slots, {size.visitors:,} visitors."
        )


def _exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return cursor.fetchone() is not None


def _run(statement: sql.SQL, name: str) -> None:
    """A statement about a database, which no transaction may hold."""
    server = psycopg2.connect(**connection.get_connection_params())
    server.autocommit = True
    try:
        with server.cursor() as cursor:
            cursor.execute(statement.format(sql.Identifier(name)))
    finally:
        server.close()


def _say(what: str, done: int, total: int) -> None:
    if done == total or done % EVERY == 0:
        sys.stderr.write(f"{what}: {done:,} of {total:,}\n")
