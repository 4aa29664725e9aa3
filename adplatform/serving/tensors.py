"""Arrays by name in one file, in the format of safetensors: eight bytes of length, a JSON directory, the numbers.

Reading maps the file into memory, so that all processes of a machine share its pages, and copies nothing. One file for
many arrays, since each of them would cost a system call to open and one to make durable. No Django here.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_HEAD = 8
_KINDS: dict[str, Any] = {
    "F64": np.float64,
    "I64": np.int64,
    "F32": np.float32,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES = {np.dtype(kind): name for name, kind in _KINDS.items()}


def write(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Equal arrays make equal bytes. Wide types come first, so that every array is aligned."""
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    directory: dict[str, Any] = {}
    end = 0
    for name in order:
        one, start = arrays[name], end
        end += one.nbytes
        directory[name] = {
            "dtype": _NAMES[one.dtype],
            "shape": list(one.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(directory, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEAD)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(_HEAD, "little"))
        file.write(text)
        for name in order:
            file.write(np.ascontiguousarray(arrays[name]).data)


def mapped(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read-only views of the file. Only of a file whose hash was checked."""
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(whole[:_HEAD], "little")
    directory = json.loads(whole[_HEAD : _HEAD + length])
    return {name: _view(whole, _HEAD + length, one) for name, one in directory.items()}


def _view(whole: mmap.mmap, start: int, one: Mapping[str, Any]) -> npt.NDArray[Any]:
    kind, (begin, end) = np.dtype(_KINDS[one["dtype"]]), one["data_offsets"]
    count = (end - begin) // kind.itemsize
    flat = np.frombuffer(whole, kind, count, start + begin) if count else np.empty(0, kind)
    return flat.reshape(one["shape"])
