"""Two advertisers that must never see each other, and somebody who only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client


@dataclass
class Tenant:
    """An advertiser with one of everything, and its owner's browser."""

    membership: Any
    campaign: Any
    line_item: Any
    creative: Any
    key: Any
    client: Client

    @property
    def organisation(self) -> Any:
        return self.membership.organisation


def make_tenant(**fields: Any) -> Tenant:
    from tests import factories as f

    membership = f.member(f.organisation(**fields))
    campaign = f.campaign(membership.organisation)
    line_item = f.line_item(campaign)
    client = Client()
    client.force_login(membership.user)
    return Tenant(
        membership, campaign, line_item, f.creative(line_item), f.api_key(membership.organisation), client
    )


@pytest.fixture
def ours(db: None) -> Tenant:
    return make_tenant(name="Ours")


@pytest.fixture
def theirs(db: None) -> Tenant:
    return make_tenant(name="Theirs")


@pytest.fixture
def analyst(ours: Tenant) -> Client:
    """A member of ours who may look and not touch."""
    from tests import factories as f

    client = Client()
    client.force_login(f.member(ours.organisation, role="analyst").user)
    return client
