from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.machine import Machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One cluster for a whole module, since making one takes a second."""
    folder = tmp_path_factory.mktemp("machine")
    _open_to_all(folder)
    machine = Machine(folder / "var")
    yield machine
    machine.launch("stop")


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which nothing was ever started."""
    _open_to_all(tmp_path)
    machine = Machine(tmp_path / "var")
    yield machine
    machine.launch("clean")
    shutil.rmtree(tmp_path, ignore_errors=True)


def _open_to_all(folder: Path) -> None:
    """pytest's folders are 0700; most tests are about a checkout that the server user reaches."""
    for path in (folder, *folder.parents):
        if path.owner() == "root" and path.name.startswith("pytest-"):
            path.chmod(0o755)
    folder.chmod(0o755)
