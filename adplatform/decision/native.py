"""The compiled loops of a decision (`kernels.c`), where deploy/native.py has built them; None where it has not.

Whoever uses one also says what it does in numpy, which is what runs without it. ADPLATFORM_NATIVE=0 turns them off.
"""

from __future__ import annotations

import importlib.util
import os
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("kernels.c")


def load(source: Path = SOURCE) -> Any:
    """The module built from this very source."""
    built = source.with_name(f"{source.stem}-{sha256(source.read_bytes()).hexdigest()[:12]}.so")
    if os.environ.get("ADPLATFORM_NATIVE") == "0" or not built.exists():
        return None
    loader = ExtensionFileLoader(source.stem, str(built))
    spec = importlib.util.spec_from_file_location(source.stem, str(built), loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


kernels = load()
