"""The pages role answers the hot endpoints before Django sees them, and leaves everything else to it."""

from __future__ import annotations

import pytest

from adplatform import wsgi as pages
from tests.serving import market as m

pytestmark = pytest.mark.django_db


def test_hot_endpoints_come_first(serve) -> None:
    m.ad()
    slot = m.slot()
    serve()
    assert m.call(pages.application, "GET", "/livez").json == {"status": "ok"}
    body = {"placements": [{"id": "a", "slot": slot.public_id}]}
    reply = m.call(pages.application, "POST", "/v1/decisions", body)
    assert len(reply.json["placements"]["a"]["ads"]) == 1
    # No cookie, no session, none of Django's headers: its middleware never ran.
    assert {name.lower() for name in reply.headers} == {"content-length", "content-type", "cache-control"}


def test_the_rest_is_djangos() -> None:
    page = m.call(pages.application, "GET", "/accounts/login/", HOST="localhost")
    assert page.status == 200
    assert b"<form" in page.body
