"""The compose file runs what `manage.py up` runs."""

from __future__ import annotations

import yaml

from adplatform.core import processes
from tests.launcher.machine import ROOT

COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
SPECS = {spec.name: spec.command for spec in processes.specs(port=8000, ads_port=8001)}


def test_every_process_has_its_service() -> None:
    assert COMPOSE.keys() - {"postgres", "hot", "events", "migrate"} == SPECS.keys()


def test_services_run_the_same_applications_queues_and_threads() -> None:
    options = (
        "--blocking-threads",
        "--backpressure",
        "--queues",
        "--max-memory-per-child",
        "--scheduler",
        "--port",
    )
    for name, command in SPECS.items():
        theirs = COMPOSE[name]["command"].split()
        assert theirs[-1] == command[-1] or "celery" in command
        for option in set(options).intersection(command):
            assert theirs[theirs.index(option) + 1] == command[command.index(option) + 1], (name, option)
