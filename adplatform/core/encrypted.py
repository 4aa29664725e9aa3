"""A text column that the database holds sealed (core.sealing), and that is plain on an instance.

It opens when it is read from its instance, because only that knows its row; `values()` and raw SQL give the ciphertext.
The row's primary key must be known when it is saved. It cannot be searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connection, models, transaction
from django.db.models.query_utils import DeferredAttribute

from .sealing import PREFIX, Sealed, UnreadableError, current_prefix, place, seal, unseal

BATCH = 500


class _Opening(DeferredAttribute):
    """Opens on the way out; what is set is kept as it comes."""

    field: EncryptedTextField

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return unseal(value, where=self.field.place_of(instance)) if isinstance(value, Sealed) else value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Of the length that people may write; the column has room for more."""

    descriptor_class = _Opening

    def place_of(self, instance: models.Model) -> bytes:
        if instance.pk is None:
            raise ValueError(f"{self.model.__name__}.{self.name} needs a primary key before it is sealed")
        return place(self.model._meta.db_table, str(self.column), instance.pk)

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return Sealed(value) if value else value

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:  # noqa: ARG002 - Django's signature
        value = model_instance.__dict__.get(self.attname)
        if not value or isinstance(value, Sealed):
            return value
        return seal(str(value), where=self.place_of(model_instance))

    def get_prep_value(self, value: Any) -> Any:
        if value and not isinstance(value, Sealed):
            raise TypeError(
                f"{self.name} is encrypted: save the instance; it cannot be searched or updated in bulk"
            )
        return value


def next_key(model: type[models.Model]) -> int:
    """The primary key of a row to come: sealing is bound to it."""
    with connection.cursor() as cursor:
        table, column = model._meta.db_table, model._meta.pk.column
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, %s))", [table, column])
        return int(cursor.fetchone()[0])


def fields() -> Iterator[EncryptedTextField]:
    """Every encrypted column of the platform."""
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, EncryptedTextField):
                yield field


def keys_in_use() -> set[str]:
    """Ids (core.sealing) of the keys that sealed what the database holds."""
    found: set[str] = set()
    with connection.cursor() as cursor:
        for field in fields():
            column = str(field.column)
            cursor.execute(
                f"SELECT DISTINCT split_part({column}, '.', 2) FROM {field.model._meta.db_table}"  # noqa: S608 - our names
                f" WHERE starts_with({column}, %s)",
                [PREFIX],
            )
            found.update(name for (name,) in cursor.fetchall())
    return found


def count_unreadable(field: EncryptedTextField) -> int:
    """Values that none of ENCRYPTION_KEYS opens where they stand."""
    table, column = field.model._meta.db_table, str(field.column)
    lost = 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {field.model._meta.pk.column}, {column} FROM {table} WHERE {column} <> ''"  # noqa: S608 - our names
        )
        for row, value in cursor:
            try:
                unseal(value, where=place(table, column, row))
            except UnreadableError:
                lost += 1
    return lost


def count_old(field: EncryptedTextField) -> int:
    """Values that the first key has not sealed."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {_old(field)}", [current_prefix()])  # noqa: S608 - our names
        return int(cursor.fetchone()[0])


def rotate(field: EncryptedTextField) -> int:
    """Seal anew, with the first key, what other keys sealed: in batches of their own transactions, rows locked meanwhile.
    A run that was interrupted goes on where it was. Returns how many values that were."""
    done = 0
    while changed := _rotate_some(field):
        done += changed
    return done


@transaction.atomic
def _rotate_some(field: EncryptedTextField) -> int:
    table, key, column = field.model._meta.db_table, field.model._meta.pk.column, str(field.column)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {key}, {column} FROM {_old(field)} ORDER BY {key} LIMIT {BATCH} FOR UPDATE",  # noqa: S608
            [current_prefix()],
        )
        rows = cursor.fetchall()
        for row, value in rows:
            where = place(table, column, row)
            new = seal(unseal(value, where=where), where=where)
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE {key} = %s", [new, row])  # noqa: S608
    return len(rows)


def _old(field: EncryptedTextField) -> str:
    return f"{field.model._meta.db_table} WHERE {field.column} <> '' AND NOT starts_with({field.column}, %s)"
