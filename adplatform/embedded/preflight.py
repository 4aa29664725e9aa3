"""What a machine must offer before work starts. Each check raises `LaunchError` with one line that says what to do.

Runs on a bare Python: the installer calls it before any package exists.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from adplatform.embedded import net
from adplatform.embedded.places import LaunchError, run_dir, var_dir

GB = 1_000_000_000
DISK_INSTALL = 3 * GB
DISK_RUN = 1 * GB
MEMORY_RUN = 3 * GB


def check_disk(folder: Path, least: int) -> None:
    """Refuse when the file system that will hold the folder has less free space."""
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < least:
        raise LaunchError(f"too little disk: {free / GB:.1f} GB free in {there}, {least / GB:.0f} GB needed")


def free_memory() -> int:
    """Bytes that a program could take now: what the machine and the surrounding control group leave."""
    amounts = [_machine_memory()]
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        statistics = Path("/sys/fs/cgroup/memory.stat").read_text()
    except OSError:
        return amounts[0]
    if limit.isdigit():
        # Cached file pages count as used there but are given back on demand.
        cached = next(
            (int(line.split()[1]) for line in statistics.splitlines() if line.startswith("inactive_file ")), 0
        )
        amounts.append(int(limit) - used + cached)
    return min(amounts)


def _machine_memory() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        values = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(values["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory() -> None:
    """Refuse when the platform's processes and a training run would not fit."""
    free = free_memory()
    if free < MEMORY_RUN:
        raise LaunchError(f"too little memory: {free / GB:.1f} GB available, {MEMORY_RUN / GB:.0f} GB needed")


def check_port(port: int, option: str) -> None:
    """Refuse when another program listens on a port that we are about to serve."""
    if not net.is_free(port) and not _is_leftover(port):
        raise LaunchError(
            f"port {port} is in use: stop the program that listens there, or choose another with {option}"
        )


def _is_leftover(port: int) -> bool:
    """Whether a web process of ours holds the port after its supervisor was killed; the next `up` ends it."""
    pids = [path.read_text().strip() for path in run_dir().glob("*.pid")]
    commands = [net.command_of(int(pid)).split() for pid in pids if pid.isdigit()]
    return any("granian" in command and str(port) in command for command in commands)


def check_room() -> None:
    """Disk and memory for the main job and for serving."""
    check_disk(var_dir(), DISK_RUN)
    check_memory()


def check_ports(port: int | None = None, ads_port: int | None = None) -> None:
    """The two ports that the platform serves on, by default those of the environment."""
    check_port(port or int(os.environ.get("PORT") or 8000), "PORT")
    check_port(ads_port or int(os.environ.get("ADS_PORT") or 8001), "ADS_PORT")


def check_alone() -> None:
    """Refuse when `manage.py up` runs in this checkout; it holds a lock on its pid file."""
    with (run_dir() / "up.pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LaunchError(
                f"the platform already runs here (process {file.read().strip()}): stop it first"
            ) from None
