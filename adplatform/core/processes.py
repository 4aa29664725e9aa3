"""The processes of a running platform, one screen: what `manage.py up` starts and in which order it stops."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from adplatform.core.supervisor import Spec

# Small children: no thread pools that spin, few malloc arenas. A value in the environment wins.
FRUGAL = {
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
# Of the ads role: two decide, up to half of them wait for that, the others answer events or say that there is no ad.
ADS_THREADS, PAGES_THREADS = 32, 4
CONNECTIONS = 8192
# Web first out, so that nothing new comes in; then all that drains what came.
WEB, REST = 1, 2


def environment(
    given: Mapping[str, str], urls: Mapping[str, str], *, port: int, ads_port: int
) -> dict[str, str]:
    """Environment of every child: the services by URL, so that none of them looks after servers itself."""
    return {**FRUGAL, **given, **urls, "PORT": str(port), "ADS_PORT": str(ads_port)}


def specs(*, port: int, ads_port: int) -> tuple[Spec, ...]:
    """Each process with its stage of the stop and the seconds it gets for it: 12 in all, before the servers stop."""
    web = {
        "pages": _granian("adplatform.wsgi:application", port, threads=PAGES_THREADS),
        "ads": _granian("adplatform.serving.ads:application", ads_port, threads=ADS_THREADS),
    }
    rest = {
        "beat": _celery(
            "beat", "--scheduler", "django_celery_beat.schedulers:DatabaseScheduler", "--pidfile="
        ),
        # By one name whatever its process: the next one goes on with what the last one had taken, at once.
        "ingest": _manage("ingest", "--consumer", "ingest"),
        "publisher": _manage("publisher"),
        "worker": worker("worker", "default,events", memory_kb=600_000),
        "worker-gpu": worker("worker-gpu", "gpu", memory_kb=1_500_000),
    }
    return (
        *(Spec(name, command, WEB, 4) for name, command in web.items()),
        *(Spec(name, command, REST, 8) for name, command in rest.items()),
    )


def _granian(application: str, port: int, *, threads: int) -> tuple[str, ...]:
    """``CONNECTIONS`` counts idle ones too: were it small, silent clients could lock everybody else out. A process that dies
    is replaced at once; until it listens, in some seconds, connections are refused."""
    return (
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--blocking-threads", str(threads), "--blocking-threads-idle-timeout", "600",
        "--backlog", "4096", "--backpressure", str(CONNECTIONS), "--respawn-failed-workers", "--respawn-interval", "0.2",
        "--workers-kill-timeout", "3", "--no-ws", application,
    )  # fmt: skip


def worker(name: str, queues: str, *, memory_kb: int) -> tuple[str, ...]:
    """One child; it is replaced after the task in which it outgrew its memory."""
    return _celery(
        "worker", "--queues", queues, "--concurrency", "1", "--pool", "prefork", "--hostname", f"{name}@%h",
        "--max-memory-per-child", str(memory_kb), "--without-gossip", "--without-mingle",
    )  # fmt: skip


def _celery(command: str, *options: str) -> tuple[str, ...]:
    return (
        sys.executable,
        "-m",
        "celery",
        "--app",
        "adplatform.celery",
        command,
        "--loglevel",
        os.environ.get("LOG_LEVEL", "INFO"),
        *options,
    )


def _manage(*command: str) -> tuple[str, ...]:
    return (sys.executable, "manage.py", *command)
