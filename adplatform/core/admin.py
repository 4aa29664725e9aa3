"""What the raw records of every app share: records that nobody edits, and tables too long to count."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.functional import cached_property

from adplatform.core import outbox
from adplatform.core.models import Outbox

COUNTED_ROWS = 100_000


def never(*_: object, **__: object) -> bool:
    """A permission that nobody has."""
    return False


class LongTablePaginator(Paginator):
    """Takes PostgreSQL's own estimate for the length of a long table that nothing filters; counts otherwise."""

    @cached_property
    def count(self) -> int:
        query = getattr(self.object_list, "query", None)
        if query is not None and not query.where:
            with connection.cursor() as cursor:
                table = query.model._meta.db_table
                cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [table])
                estimate = int(cursor.fetchone()[0])
            if estimate > COUNTED_ROWS:
                return estimate
        return super().count


class ReadOnlyAdmin(admin.ModelAdmin):
    """Facts, books, statistics and the audit trail: shown, never edited. The database refuses it as well."""

    show_full_result_count = False
    paginator = LongTablePaginator
    actions = None

    has_add_permission = has_change_permission = has_delete_permission = never


class ServedAdmin(admin.ModelAdmin):
    """Records that ads are served from: a change reaches the servers through the outbox, as from any other page.

    Nothing is deleted, since facts and books refer to it; archive or deactivate instead.
    """

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool) -> None:
        super().save_model(request, obj, form, change)
        outbox.write("snapshot", {"because": f"{obj._meta.model_name} {obj.pk}"})

    has_delete_permission = never


@admin.register(Outbox)
class OutboxAdmin(ReadOnlyAdmin):
    list_display = ["id", "topic", "created_at", "done_at", "attempts"]
    list_filter = ["topic", ("done_at", admin.EmptyFieldListFilter)]
