"""A publisher who is signed in, with a site and a slot. Signing in costs nothing here: these tests are about pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def owner(client: Client) -> Any:
    from tests import factories

    membership = factories.member(factories.publisher(name="Newsroom Ltd"))
    client.force_login(membership.user)
    return membership


@pytest.fixture
def slot(owner: Any) -> Any:
    from tests import factories

    return factories.slot(factories.site(owner.organisation, name="Newsroom"), name="Article top")
