"""The fixture behind every Celery test: a worker process that works on the test database."""

from __future__ import annotations

import os
import subprocess

import pytest

from adplatform.celery import app


@pytest.mark.django_db(transaction=True)
def test_a_real_worker_serves_every_queue(live_worker: subprocess.Popen[bytes]) -> None:
    answers = app.control.inspect(timeout=3).active_queues()
    (queues,) = [queues for name, queues in answers.items() if name.startswith(f"test-{os.getpid()}@")]
    served = {queue["name"] for queue in queues}
    assert served == {"default", "gpu", "events"}
