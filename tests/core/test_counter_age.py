"""The operator hears when the click statistics stand still."""

from __future__ import annotations

import time

import pytest
import redis
from django.conf import settings

from adplatform.core import checks
from adplatform.learning import statistics


@pytest.fixture
def hot():
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(checks.COUNTED_UNTIL)
        yield client
        client.delete(checks.COUNTED_UNTIL)


def test_both_layers_mean_the_same_key() -> None:
    assert statistics.UNTIL_KEY == checks.COUNTED_UNTIL


def test_old_counters_are_a_warning_while_the_platform_serves(hot, monkeypatch) -> None:
    monkeypatch.setattr(checks, "_serving", lambda: True)
    assert checks.counters().status == checks.WARN
    hot.set(checks.COUNTED_UNTIL, repr(time.time() - 5))
    assert checks.counters().status == checks.OK
    hot.set(checks.COUNTED_UNTIL, repr(time.time() - checks.STALE_COUNTERS_SECONDS - 5))
    found = checks.counters()
    assert found.status == checks.WARN
    assert "ingest" in found.fix
