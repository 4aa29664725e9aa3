"""The Celery application, its queues, and the night on one screen: when every job runs unless an operator says otherwise.

The settings below come from measurements: a message is acknowledged after its work (so a killed worker loses none),
a dead broker connection is noticed in seconds, and publishing never blocks a web process. A broker may still lose a
message; the truth is in PostgreSQL (one row per job and slot) and the `sweep` job sends again what was lost.
"""

from __future__ import annotations

import os
from datetime import timedelta

from celery import Celery
from celery.schedules import crontab
from kombu import Queue

from adplatform import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adplatform.settings")

# Seeded into django_celery_beat by get-or-create (jobs.schedules.seed), where operators edit it. `beat_schedule` stays
# empty: the database scheduler would write it over their edits at every start. Times are UTC.
DEFAULT_SCHEDULES: dict[str, timedelta | crontab] = {
    "snapshot": timedelta(seconds=30),
    "embed_creatives": timedelta(minutes=1),
    "sweep": timedelta(minutes=1),
    "add_delivery": timedelta(minutes=1),
    "repace": timedelta(minutes=5),
    "rollup": timedelta(minutes=5),
    "watch_canary": timedelta(minutes=5),
    "embed_visitors": timedelta(minutes=10),
    "find_similar": timedelta(minutes=10),
    "filter_traffic": crontab(minute="35"),
    "settle": crontab(minute="5"),
    "watch_balances": crontab(minute="15"),
    "score_shadow": crontab(minute="10"),
    "explain_ads": crontab(minute="20"),
    "write_anchors": crontab(minute="25", hour="0"),
    "credit_conversions": crontab(minute="15", hour="1"),
    "fold_delivery": crontab(minute="15", hour="1"),
    "examine_data": crontab(minute="30", hour="1"),
    "rate_creatives": crontab(minute="45", hour="1"),
    "retention": crontab(minute="30", hour="3"),
    "train": crontab(minute="0", hour="2"),
    "learn_beliefs": crontab(minute="45", hour="2"),
    "refresh_engines": crontab(minute="50", hour="2"),
    "score": crontab(minute="0", hour="3"),
    "tune": crontab(minute="0", hour="4", day_of_week="0"),
    # The fourth: settling looks three days back, so that the month is complete.
    "issue_invoices": crontab(minute="30", hour="4", day_of_month="4"),
    "prepare_payouts": crontab(minute="0", hour="5", day_of_month="5"),
}

QUEUES = ("default", "gpu", "events")

# After this long a message that nobody acknowledged is delivered again. A job may run longer: its lock turns the
# second delivery away. Any other task has to end before.
VISIBILITY_SECONDS = 600


def _transport_options(broker_url: str) -> dict[str, bool | int]:
    if broker_url.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": True}
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 5,
        # Publishing tries twice and then says so; a worker keeps trying to reconnect by its own settings.
        "max_retries": 1,
        "interval_start": 0,
    }


# Every task says for whom it works, and runs behind that wall (jobs.acting).
app = Celery("adplatform", task_cls="adplatform.jobs.acting:ActingTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_default_queue="default",
    task_queues=[Queue(name) for name in QUEUES],
    task_create_missing_queues=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_publish_retry=False,
    task_time_limit=VISIBILITY_SECONDS - 30,
    task_soft_time_limit=VISIBILITY_SECONDS - 60,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=500,  # libraries that leak are given back
    worker_hijack_root_logger=False,
    # A training outlives a restart of the broker; its lock turns the second delivery away.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=5,
    broker_transport_options=_transport_options(settings.CELERY_BROKER_URL),
    beat_scheduler="django_celery_beat.schedulers:DatabaseScheduler",
    beat_schedule={},
    result_expires=None,  # no results, hence nothing that beat would have to clean up
    timezone="UTC",
    enable_utc=True,
)
app.autodiscover_tasks()


def route(name: str, *_: object, **__: object) -> dict[str, str] | None:
    """A job goes to the queue that its decorator names."""
    from adplatform.jobs.registry import JOBS

    return {"queue": JOBS[name].queue} if name in JOBS else None


app.conf.task_routes = (route,)
