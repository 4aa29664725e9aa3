"""Calling the API as an integrator does: a key in a header, JSON both ways."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from adplatform.accounts import services
from adplatform.accounts.models import Organisation
from tests import factories

ALL = ["read", "write", "conversions"]


class Caller:
    """An organisation's integrator with a key of these scopes."""

    def __init__(self, organisation: Organisation, scopes: list[str] | None = None) -> None:
        self.organisation = organisation
        self.key, self.secret = services.create_api_key(
            user=factories.user(),
            organisation=organisation,
            name="Integration",
            scopes=ALL if scopes is None else scopes,
            expires_at=None,
        )
        self._client = Client(raise_request_exception=False)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        sent = {"Authorization": f"Bearer {self.secret}"} | headers
        data = b"" if body is None else json.dumps(body).encode()
        return self._client.generic(method, path, data, content_type="application/json", headers=sent)

    def get(self, path: str) -> HttpResponse:
        return self.call("GET", f"/api/v1/{path}")

    def post(self, path: str, body: Any) -> HttpResponse:
        return self.call("POST", f"/api/v1/{path}", body)

    def patch(self, path: str, body: Any) -> HttpResponse:
        return self.call("PATCH", f"/api/v1/{path}", body)


def advertiser(**fields: Any) -> Caller:
    return Caller(factories.organisation(**fields))


def publisher(**fields: Any) -> Caller:
    return Caller(factories.publisher(**fields))
