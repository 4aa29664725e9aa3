"""What a training of the transformer needs to go on after an interruption, and what it leaves beside the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

FOLDER = "checkpoint"
BESIDE_WEIGHTS = ("README.md", "modules.json", "1_Pooling", "sentence_bert_config.json")
_NOW, _BEST, _OPTIMISER, _PROGRESS = (
    "now.safetensors",
    "best.safetensors",
    "optimiser.safetensors",
    "progress.json",
)


class OtherRunError(Exception):
    """The checkpoint belongs to other data or settings."""


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a run depends on: weights now and at their best, the optimiser's moments, the progress."""

    now: Tensors
    best: Tensors
    moments: Tensors
    progress: dict[str, Any]


def save(
    folder: Path, *, now: Tensors, best: Tensors, optimiser: Any, progress: Mapping[str, Any], identity: str
) -> None:
    """Complete, or not there at all. `identity` names the data and settings that the run is of."""
    from safetensors.torch import save_file

    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    held = optimiser.state_dict()["state"]
    moments = {f"{place}.{key}": value for place, one in held.items() for key, value in one.items()}
    for name, tensors in ((_NOW, now), (_BEST, best), (_OPTIMISER, moments)):
        save_file(tensors, draft / name)
    (draft / _PROGRESS).write_text(json.dumps({"identity": identity, **progress}))
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)


def load(folder: Path, *, identity: str) -> Checkpoint | None:
    """The checkpoint of an interrupted run; None where there is none, OtherRunError where it is another run's."""
    from safetensors.torch import load_file

    try:
        progress = json.loads((folder / _PROGRESS).read_text())
    except (OSError, ValueError):
        return None
    if progress.pop("identity") != identity:
        raise OtherRunError(f"{folder} belongs to other data or settings; name another folder or remove it")
    now, best, moments = (load_file(folder / name) for name in (_NOW, _BEST, _OPTIMISER))
    return Checkpoint(now, best, moments, progress)


def restore(optimiser: Any, moments: Tensors) -> None:
    """Set an optimiser's moments to those of a checkpoint."""
    whole = optimiser.state_dict()
    whole["state"] = {}
    for name, value in moments.items():
        place, key = name.split(".", 1)
        whole["state"].setdefault(int(place), {})[key] = value
    optimiser.load_state_dict(whole)


def copy_beside(base: Path, folder: Path) -> None:
    """What tells how a transformer's states become a vector, from its base to its child."""
    for name in BESIDE_WEIGHTS:
        if (base / name).is_dir():
            shutil.copytree(base / name, folder / name, dirs_exist_ok=True)
        elif (base / name).is_file():
            shutil.copy2(base / name, folder / name)


def pace(share: float, warm_up: float) -> float:
    """Learning rate by share of the run: up in its first part, then down to nothing."""
    return min((share + 1e-3) / warm_up, (1 - share) / (1 - warm_up), 1.0)
