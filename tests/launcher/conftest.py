from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.machine import Machine


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One cluster for a whole module, since making one takes a second."""
    yield from _machine()


@pytest.fixture
def fresh() -> Iterator[Machine]:
    """A machine on which nothing was ever started."""
    yield from _machine()


def _machine() -> Iterator[Machine]:
    """In a folder that the server user reaches: pytest's own are closed, and closed again by every run beside us."""
    folder = Path(tempfile.mkdtemp(prefix="adplatform-test-"))
    folder.chmod(0o755)
    machine = Machine(folder / "var")
    try:
        yield machine
        if machine.var.exists():
            cleaned = machine.launch("clean")
            assert (cleaned.returncode, cleaned.stderr) == (0, "")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
