"""API keys: what is kept cannot be used, what is used must match."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adplatform.accounts import keys, services
from adplatform.accounts.models import ApiKey, AuditEntry
from tests import factories as f


def test_a_key_splits_into_what_it_was_joined_of() -> None:
    prefix, secret = keys.new()

    assert keys.split(f" {keys.join(prefix, secret)}\n") == (prefix, secret)
    assert keys.matches(secret, keys.digest(secret))


@pytest.mark.parametrize("text", ["", ".", "adp_12345678", "adp_12345678.", "no key at all"])
def test_malformed_keys_match_nothing(text: str) -> None:
    assert not keys.matches(keys.split(text)[1], keys.digest(""))


@pytest.mark.django_db
def test_the_secret_is_kept_nowhere() -> None:
    owner = f.member()

    key, text = services.create_api_key(
        user=owner.user, organisation=owner.organisation, name="A", scopes=["read"], expires_at=None
    )

    secret = text.partition(".")[2]
    assert secret not in str(ApiKey.objects.values().get(pk=key.pk))
    assert secret not in str(AuditEntry.objects.values().get())


@pytest.mark.django_db
def test_expired_revoked_and_closed_keys_open_nothing() -> None:
    key = f.api_key(secret="s", expires_at=f.NOON)
    text = keys.join(key.prefix, "s")

    assert services.authenticate(text, at=f.NOON - timedelta(seconds=1)) == key
    assert services.authenticate(text, at=f.NOON) is None
    key.expires_at, key.revoked_at = None, f.NOON
    key.save()
    assert services.authenticate(text, at=f.NOON) is None
    key.revoked_at = None
    key.save()
    key.organisation.is_active = False
    key.organisation.save()
    assert services.authenticate(text, at=f.NOON) is None
