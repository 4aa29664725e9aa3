"""Keeps an API request inside its organisation's walls, from its key being known to its answer being written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus
from typing import cast

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from adplatform.accounts.models import ApiKey
from adplatform.core import tenants

Answer = Callable[[HttpRequest], HttpResponse]


class Admitted(HttpRequest):
    """A request of the API: `walls` close what its key opened, `auth` is that key."""

    walls: ExitStack
    auth: ApiKey


class InsideTenant:
    """Holds the transaction that api.auth opens with `request.walls`; a request that is refused has changed nothing."""

    def __init__(self, get_response: Answer) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with ExitStack() as walls:
            cast(Admitted, request).walls = walls
            response = self._get_response(request)
            if response.status_code >= HTTPStatus.BAD_REQUEST and tenants.current() is not None:
                transaction.set_rollback(True)
        return response
