"""A database of a benchmark's own, migrated, and dropped at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own(name: str) -> Iterator[None]:
    """Django set up on `test_NAME`, on the server of DATABASE_URL."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adplatform.settings")
    import django

    django.setup()
    from django.db import connection

    connection.settings_dict["NAME"] = name
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
