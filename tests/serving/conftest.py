"""Fixtures that put a published market behind the endpoints. Django is not set up yet when this file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis


@pytest.fixture
def serve(
    db: None, tmp_path: Path, hot: redis.Redis, events: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    """Publishes what the database holds and puts it behind `wsgi.application`."""
    from adplatform.serving import deadline, process
    from tests.serving.market import market

    def start() -> Any:
        # A machine that pauses is no reason for no ad here; what deadlines do is told in test_admission.
        monkeypatch.setattr(deadline, "MODEL_SECONDS", 60.0)
        monkeypatch.setattr(deadline, "LAST_SECONDS", 60.0)
        made = market(tmp_path, hot, events)
        monkeypatch.setattr(process, "_server", made.server)
        return made

    return start


@pytest.fixture
def ask() -> Callable[..., Any]:
    """Calls an endpoint of the ads role."""
    from adplatform.serving import wsgi
    from tests.serving.market import call

    def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
        return call(wsgi.application, method, path, body, **headers)

    return ask
