"""On whose behalf the database is asked: one organisation (`tenant`), or the platform itself (`platform`).

The role and the tenant are set for the running transaction alone, so that a connection that others use next, directly or
behind a pooler, carries nothing over. Who forgets `tenant` inside the application's role sees no row at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from adplatform.core.roles import APP, WORKER

OURSELVES = "none"  # the role that the connection signed in with


class Row(Protocol):
    """A stored organisation or person: this package knows neither."""

    @property
    def pk(self) -> Any: ...


@dataclass(frozen=True)
class _Acting:
    role: str = OURSELVES
    organisation: str = ""
    person: str = ""


# Outside of any tenant: as the login itself, or while a task runs as the worker's role (`working`).
_outside: ContextVar[_Acting] = ContextVar("outside", default=_Acting())  # noqa: B039 - it is frozen
_acting: ContextVar[_Acting | None] = ContextVar("acting", default=None)


@contextmanager
def tenant(organisation: Row, *, person: Row | None = None) -> Iterator[None]:
    """Inside, the database shows and changes this organisation's rows alone, in one transaction.

    `person` is who looks: their own memberships elsewhere stay visible, so that they can switch.
    """
    who = _Acting(APP, str(organisation.pk), "" if person is None else str(person.pk))
    with _as(who):
        yield


@contextmanager
def platform() -> Iterator[None]:
    """A door in the wall: the few reads and sums that need others' rows, each filtered by its own query.

    docs/architecture.md lists every door with its reason; a test holds the code to the list.
    """
    if current() is None:
        yield
        return
    with _as(_outside.get()):
        yield


@contextmanager
def working() -> Iterator[None]:
    """Inside, the platform asks as `adplatform_worker`: across organisations, but what happened and what was booked can
    only be added to, and no table changed.

    It holds for a whole task, which opens and ends transactions as it goes along. So the role is the connection's, taken
    on again by one that is opened meanwhile, and the connection goes with the task.
    """
    is_nested = connection.in_atomic_block  # as in tests
    token = _outside.set(_Acting(WORKER))
    try:
        with transaction.atomic() if is_nested else closing(connection):
            if connection.connection is not None:
                _take_on(connection, WORKER)
            yield
    finally:
        _outside.reset(token)
    if is_nested:
        _take_on(connection, _outside.get().role)


def on_new_connection(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    """Called by Django for each connection that it opens."""
    if (role := _outside.get().role) != OURSELVES:
        _take_on(connection, role)


def current() -> int | None:
    """The organisation on whose behalf we act, None for the platform."""
    organisation = _now().organisation
    return int(organisation) if organisation else None


def _now() -> _Acting:
    return _acting.get() or _outside.get()


@contextmanager
def _as(who: _Acting) -> Iterator[None]:
    before = _now()
    with transaction.atomic():
        token = _acting.set(who)
        try:
            _tell(who)
            yield
        finally:
            _acting.reset(token)
        if not connection.needs_rollback:  # what is rolled back takes its settings along
            _tell(before)


def _tell(who: _Acting) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('role', %s, true), set_config('adplatform.tenant', %s, true),"
            " set_config('adplatform.person', %s, true)",
            [who.role, who.organisation, who.person],
        )


def _take_on(wrapper: BaseDatabaseWrapper, role: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT set_config('role', %s, false)", [role])
