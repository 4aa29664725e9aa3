from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.chaos import platform as platforms
from tests.chaos.judge import Report
from tests.launcher.conftest import _machine

SECONDS = float(os.environ.get("CHAOS_SECONDS", "5"))


@pytest.fixture(scope="session")
def platform() -> Iterator[platforms.Platform]:
    """One platform for all faults: each finds it well and leaves it well."""
    for machine in _machine():
        with platforms.running(machine) as running:
            yield running


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> Iterator[list[Report]]:
    """What each fault did; printed as a table at the end."""
    made: list[Report] = []
    yield made
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + Report.table(made))
