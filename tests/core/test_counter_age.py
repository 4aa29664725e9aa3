"""The operator hears when the click statistics stand still."""

from __future__ import annotations

import time

import pytest
import redis
from django.conf import settings

from adplatform.core.doctor import running
from adplatform.core.doctor.finding import OK, WARN
from adplatform.learning import statistics


@pytest.fixture
def hot():
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(running.COUNTED_UNTIL)
        yield client
        client.delete(running.COUNTED_UNTIL)


def test_both_layers_mean_the_same_key() -> None:
    assert statistics.UNTIL_KEY == running.COUNTED_UNTIL


def test_old_counters_are_a_warning_while_the_platform_serves(hot, monkeypatch) -> None:
    monkeypatch.setattr(running, "serving", lambda: True)
    assert running.counters().status == WARN
    hot.set(running.COUNTED_UNTIL, repr(time.time() - 5))
    assert running.counters().status == OK
    hot.set(running.COUNTED_UNTIL, repr(time.time() - running.STALE_COUNTERS_SECONDS - 5))
    found = running.counters()
    assert found.status == WARN
    assert "ingest" in found.fix
