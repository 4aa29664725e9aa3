"""People's values written into every form that takes some, and into reports of conversions: real pages and a real worker
keep none of them in clear, neither in the database, Valkey, logs nor files.

What an account is known by (e-mail address, name) is not among them: docs/privacy.md says why it stands in the database.
An operator's must not be in logs or Valkey all the same.
"""

from __future__ import annotations

import http.cookiejar
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from adplatform.accounts.models import User
from adplatform.billing import services
from adplatform.billing.models import BillingProfile, Invoice, Payee, Payout
from adplatform.core import clock
from adplatform.core import processes as platform
from adplatform.embedded import net
from adplatform.events.models import Conversion
from adplatform.jobs.models import JobRun
from adplatform.jobs.services import enqueue
from tests import factories, processes
from tests.api.calls import Caller
from tests.billing.test_settlement import Market
from tests.factories import MICROS, NOON
from tests.privacy import planted

pytestmark = [pytest.mark.timeout(360), pytest.mark.django_db(transaction=True)]
IBANS = ["DE89370400440532013000", "AT611904300234573201", "NL91ABNA0417164300"]
OPERATOR = ("planted.operator@mail.example", "Planted-Operator")
JOBS = ("settle", "issue_invoices", "prepare_payouts", "watch_balances", "credit_conversions", "retention")


class Person:
    """Somebody's browser: cookies, forms with their tokens, and the address that a proxy tells of him."""

    def __init__(self, base: str, address: str, user: User | None = None) -> None:
        self.base, self.jar = base, http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar)).open
        self._headers = {"X-Forwarded-For": address, "User-Agent": f"Mozilla/5.0 {planted.NAMES[0]}"}
        if user is not None:
            client = Client()
            client.force_login(user)
            self._headers["Cookie"] = f"adplatform_session={client.cookies['adplatform_session'].value}"

    def get(self, path: str) -> int:
        return self._ask(path, None, {})

    def post(self, path: str, form: str = "", **fields: str) -> int:
        """Send a form that stands on the page `form` (or on `path` itself)."""
        self.get(form or path)
        token = next(cookie.value for cookie in self.jar if cookie.name == "csrftoken")
        session = self._headers.get("Cookie", "")
        headers = {"X-CSRFToken": str(token), "Cookie": f"{session}; csrftoken={token}", "Referer": self.base}
        return self._ask(path, urlencode(fields).encode(), headers)

    def _ask(self, path: str, body: bytes | None, headers: Mapping[str, str]) -> int:
        request = urllib.request.Request(self.base + path, body, {**self._headers, **headers})
        try:
            with self._open(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


def report(base: str, key: str, events: list[dict[str, Any]]) -> None:
    request = urllib.request.Request(
        f"{base}/api/v1/conversions",
        json.dumps({"events": events}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        assert json.loads(answer.read())["recorded"] == len(events)


@contextmanager
def worker(environment: dict[str, str], log: Path) -> Iterator[None]:
    command = platform.worker("planted", "default,events", memory_kb=600_000)
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=processes.ROOT, env=environment, stdout=file, stderr=file)
    try:
        wait_for(lambda: b" ready." in log.read_bytes())
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 150
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.1)


def fill_in_everything(base: str, market: Market, operator: User) -> None:
    shop = Person(base, planted.NETWORK[0], factories.member(market.advertiser).user)
    paper = Person(base, planted.NETWORK[1], factories.member(market.publisher).user)
    console = Person(base, planted.NETWORK[2], operator)
    stranger = Person(base, planted.NETWORK[0])
    for name, street in zip(planted.NAMES[:3], planted.STREETS, strict=True):
        address = {"address": f"{street}\n10969 Berlin", "country": "DE", "vat_id": "DE136695976"}
        assert shop.post("/billing/profile/", legal_name=name, **address) == 200
    for name, iban in zip(planted.NAMES[3:6], IBANS, strict=True):
        assert paper.post("/publisher/earnings/payee/", holder=name, iban=iban) == 200
    assert paper.post("/publisher/earnings/payee/", holder=planted.NAMES[6], iban="DE00") == 422
    assert shop.post("/settings/members/", "/settings/", email=planted.EMAILS[0], role="analyst") == 200
    for email in planted.EMAILS[1:3]:
        stranger.post("/accounts/login/", login=email, password=f"{email} {planted.NAMES[6]}")
    stranger.post("/accounts/password/reset/", email=planted.EMAILS[3])
    stranger.get(f"/accounts/login/?next=/{planted.EMAILS[3]}")
    stranger.get(f"/{planted.NAMES[6]}/{planted.EMAILS[3]}")  # no such page
    assert console.post("/console/privacy/export/", "/console/privacy/", subject=planted.EMAILS[4]) == 200
    for confirmed in ({}, {"confirmed": "1"}):
        erase = {"subject": planted.EMAILS[5], **confirmed}
        assert console.post("/console/privacy/erase/", "/console/privacy/", **erase) == 200
    for job in JOBS:
        assert console.post(f"/console/jobs/{job}/run/", f"/console/jobs/{job}/") == 200


def test_none_of_it_is_kept_in_clear(
    tmp_path: Path,
    hot: Any,
    events: Any,
    process_environment: dict[str, str],
    settings: Any,
    monkeypatch: Any,
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    environment = process_environment | {
        "ADPLATFORM_VAR": str(tmp_path),
        "TRUST_PROXY": "1",
        "LOG_LEVEL": "DEBUG",
        # The tests' own keys: where a worker of other tests still runs, it takes some of these jobs.
        "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "PSEUDONYM_KEY": settings.PSEUDONYM_KEY,
        "SECRET_KEY": settings.SECRET_KEY,
        "CELERY_BROKER_URL": settings.REDIS_URL,
    }
    market = Market(deposit=1_000 * MICROS)
    market.charge(200 * MICROS, at=NOON)
    services.settle(at=NOON + timedelta(hours=1))
    factories.conversion_action(market.advertiser, name="Purchase")
    operator = factories.operator(email=OPERATOR[0], name=OPERATOR[1])
    key = Caller(market.advertiser).secret
    port = net.free_port(set())
    base = f"http://127.0.0.1:{port}"
    with (
        (tmp_path / "pages.log").open("wb") as log,
        worker(environment, tmp_path / "worker.log"),
        processes.web(processes.PAGES, environment, port=port, threads=2, log=log),
    ):
        fill_in_everything(base, market, operator)
        bought = {"action": "Purchase", "occurred_at": clock.now().isoformat(), "value_micros": 1}
        people = [planted.EMAILS[6], *planted.NAMES, *planted.STREETS]
        report(
            base, key, [bought | {"event_id": f"order-{n}", "user_id": who} for n, who in enumerate(people)]
        )
        wait_for(lambda: JobRun.objects.filter(status="succeeded").count() >= len(JOBS))
        enqueue("issue_invoices", operator, slot=datetime(NOON.year, NOON.month + 1, 1, tzinfo=UTC))
        wait_for(Invoice.objects.exists)
        waiting = planted.valkey(hot) + planted.valkey(events)

    # It was all taken in, and what the worker made of it holds it where it can be opened.
    assert BillingProfile.objects.get().legal_name == planted.NAMES[2]
    assert (Payee.objects.get().holder, Payee.objects.get().iban) == (planted.NAMES[5], IBANS[2])
    assert Payout.objects.exists()
    assert set(JobRun.objects.values_list("requested_by", flat=True)) == {OPERATOR[1]}
    assert Conversion.objects.exclude(visitor="").count() == len(people)
    logs = planted.files(tmp_path)
    stores = {
        "database": planted.database(str(settings.DATABASES["default"]["NAME"])),
        "valkeys": waiting,
        "files": logs,
    }
    assert planted.found(stores, [*planted.PLANTED, *IBANS]) == set()
    del stores["database"]
    assert planted.found(stores, OPERATOR) == set()
    # The search would have found it.
    assert b"order-1" in planted.database(str(settings.DATABASES["default"]["NAME"]))
    told = (tmp_path / "worker.log").read_bytes()
    assert b"DEBUG" in told
    assert any(job.encode() in told for job in JOBS)
