"""What the doctor asks of the running platform: models, workers, and how old is what they prepare for serving."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

import redis
from django.apps import apps
from django.conf import settings

from adplatform.core import clock
from adplatform.core.doctor.finding import FAIL, OK, START, WARN, Finding, down, serving

COUNTED_UNTIL = "counts:until"  # learning's key, which knows of this layer and not the other way round
STALE_COUNTERS_SECONDS = 60.0
LEASE_EPOCH, LEASE_PROCESSES = "{leases}:epoch", "{leases}:processes"  # serving's keys, as above
STALE_LEASES_SECONDS = 30.0


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
        return Finding(down(), f"no worker serves: {', '.join(missing)}", START)
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
        if seconds < 900 or not serving()
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
    if seconds <= STALE_COUNTERS_SECONDS or not serving():
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
        return Finding(down(), "Valkey holds leases of another epoch and gives nothing", START)
    share = int(epoch.get("leased", 0)) / max(1, int(epoch.get("left", 0)))
    says = f"epoch {row.number}, {share:.1%} of what is left on lease to {len(beats)} processes"
    silent = sum(time.time() - beat > STALE_LEASES_SECONDS for beat in beats) + int(epoch.get("waiting", 0))
    if silent:
        return Finding(WARN, f"{says}, {silent} of them silent", "what they hold is given back within 40 s")
    if time.time() - float(epoch.get("at", 0)) <= STALE_LEASES_SECONDS or not serving():
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
        return Finding(down(), f"sent nothing since {latest:%Y-%m-%d %H:%M} UTC", START)
    return Finding(OK, f"last sent at {latest:%H:%M:%S} UTC")
