"""Values from the environment. A wrong value stops the start with a numbered hint that says what to do.

No Django here: the ads process reads the same settings without loading it.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit


class ConfigurationError(SystemExit):
    """Stops the process with one line on stderr; `number` is looked up in docs/operations.md."""

    def __init__(self, number: int, hint: str) -> None:
        self.number = number
        super().__init__(f"adplatform: configuration error E{number:02d}: {hint}")


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "") or default


def flag(name: str, *, default: bool, number: int) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ConfigurationError(number, f"{name}={value!r}: set it to 1 or 0.")


def integer(name: str, default: int, *, least: int, most: int, number: int) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ConfigurationError(number, f"{name}={value!r}: set it to a whole number.") from None
    if not least <= parsed <= most:
        raise ConfigurationError(number, f"{name}={parsed}: set it between {least} and {most}.")
    return parsed


def choice(name: str, default: str, allowed: tuple[str, ...], *, number: int) -> str:
    value = text(name, default).strip().lower()
    if value not in allowed:
        raise ConfigurationError(number, f"{name}={value!r}: set it to one of {', '.join(allowed)}.")
    return value


def names(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def numbers(name: str, *, number: int) -> dict[str, float]:
    """Named numbers: "drift_warn=0.15,bot_fewest_gaps=40"."""
    found: dict[str, float] = {}
    for part in names(name):
        key, _, value = part.partition("=")
        try:
            found[key.strip()] = float(value)
        except ValueError:
            raise ConfigurationError(number, f"{name}: {part!r} is not name=number.") from None
    return found


def services(var: Path) -> dict[str, str]:
    """URLs of the embedded servers as the launcher recorded them, or nothing."""
    path = var / "run" / "services.json"
    if not path.exists():
        return {}
    recorded: dict[str, str] = json.loads(path.read_text())
    return recorded


def database(url: str, *, number: int) -> dict[str, object]:
    """Django's database settings from a postgresql:// URL."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ConfigurationError(number, "DATABASE_URL: use postgresql://user:password@host:port/name.")
    query = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(parts.port or query.pop("port", "")),
        # A frozen server must be noticed in seconds, not after the kernel's minutes.
        "OPTIONS": {"connect_timeout": 3, "tcp_user_timeout": 10_000, **query},
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


def redis_url(name: str, url: str, *, number: int) -> str:
    if urlsplit(url).scheme not in {"redis", "rediss", "unix"}:
        raise ConfigurationError(number, f"{name}: use redis://[:password@]host:port/database.")
    return url


def secret(name: str, var: Path) -> str:
    """A secret from the environment, else one generated once and kept under var/ (mode 0600)."""
    value = os.environ.get(name, "")
    if value:
        return value
    path = var / "secrets" / name.lower()
    try:
        return path.read_text()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as handle:
        handle.write(secrets.token_urlsafe(48))
    return path.read_text()
