"""A log of erasures of its own for every test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _erasures(settings: Any, tmp_path: Path) -> None:
    settings.ERASURES_DIR = str(tmp_path / "erasures")
