"""A backup made while the platform serves, restored elsewhere: books, counters and caps as they were, sealed values open,
who was erased meanwhile stays away, and it serves. What cannot be restored is refused before anything changes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection

from adplatform.accounts.models import Organisation
from adplatform.backups import archive
from adplatform.billing import anchors, services
from adplatform.billing.models import Payee
from adplatform.billing.verification import verify
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.core.sealing import place, unseal
from adplatform.embedded import net
from adplatform.events import dead_letters
from adplatform.events.models import Impression
from adplatform.events.records import pack
from adplatform.learning.statistics import rows_from
from adplatform.privacy import erasure
from adplatform.serving import granting, pipeline
from tests import factories, processes
from tests.billing.test_backup import program, url
from tests.privacy import people
from tests.serving import market as m
from tests.serving.test_lease_processes import OwnValkey

pytestmark = [pytest.mark.timeout(360), pytest.mark.django_db(transaction=True)]
GONE, STAYS = "anna@example.org", "bert"
IBAN = "DE89370400440532013000"


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.ERASURES_DIR, settings.ANCHORS_DIR = str(tmp_path / "erasures"), str(tmp_path / "anchors")
    settings.MODELS_DIR, settings.ENCRYPTION_KEYS = tmp_path / "models", ["old"]
    (settings.MODELS_DIR / "blender-1").mkdir(parents=True)
    (settings.MODELS_DIR / "blender-1" / "trees.txt").write_text("a model")


class Elsewhere:
    """A database beside ours and two Valkeys of its own, as another machine would have them."""

    def __init__(self, environment: dict[str, str], folder: Path, settings: Any) -> None:
        self.folder, self.name = folder / "elsewhere", f"{connection.settings_dict['NAME']}_copy"
        self.valkeys = []
        for name in ("hot", "events"):
            (self.folder / name).mkdir(parents=True)
            self.valkeys.append(OwnValkey(self.folder / name))
        self.environment = environment | {
            "DATABASE_URL": url(self.name),
            "REDIS_URL": self.valkeys[0].url,
            "EVENTS_URL": self.valkeys[1].url,
            "ADPLATFORM_VAR": str(self.folder),
            "ANCHORS_DIR": settings.ANCHORS_DIR,
            "ERASURES_DIR": settings.ERASURES_DIR,
            "ENCRYPTION_KEYS": "new,old",
            "PSEUDONYM_KEY": settings.PSEUDONYM_KEY,
        }

    @property
    def hot(self) -> redis.Redis:
        return self.valkeys[0].client

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=processes.ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        reader = psycopg2.connect(url(self.name))
        try:
            with reader.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            reader.close()

    def everything(self) -> bytes:
        """All that the database and both Valkeys hold."""
        dump = [program("pg_dump"), "--data-only", "--enable-row-security", url(self.name)]
        found = subprocess.run(dump, check=True, capture_output=True).stdout
        for valkey in self.valkeys:
            valkey.client.config_set("rdbcompression", "no")
            valkey.client.save()
            found += (valkey.folder / "dump.rdb").read_bytes()
        return found

    def remove(self) -> None:
        for valkey in self.valkeys:
            valkey.process.kill()
            valkey.process.wait()
        server = psycopg2.connect(url("postgres"))
        server.autocommit = True
        server.cursor().execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        server.cursor().execute(f'DROP ROLE IF EXISTS "adplatform_auditor_{self.name}"')
        server.close()


@pytest.fixture
def elsewhere(process_environment: dict[str, str], tmp_path: Path, settings: Any) -> Iterator[Elsewhere]:
    made = Elsewhere(process_environment, tmp_path, settings)
    yield made
    made.remove()


def visit(ask: Any, slot: Any, who: str) -> None:
    """A reader sees an ad and clicks it."""
    body = {
        "placements": [{"id": "a", "slot": slot.public_id}],
        "user": {"id": who, "consent": m.AGREED},
        "context": {"keywords": ["boats"]},
    }
    (ad,) = ask("POST", "/v1/decisions", body).json["placements"]["a"]["ads"]
    for address in (ad["impression_url"], ad["click_url"]):
        ask("GET", address.removeprefix("http://localhost:8000"))


@pytest.fixture
def lived(serve: Any, ask: Any, hot: redis.Redis, events: redis.Redis) -> Any:
    """A market with stored and settled facts, a bank account, events that wait, and one that could not be stored."""
    m.ad(line_item={"cap_impressions": 2})
    slot = m.slot(site_=factories.site(variety=0.5))
    Payee.objects.create(organisation=slot.site.publisher, holder="Paper", iban=IBAN)
    market = serve()
    for who in (GONE, STAYS, STAYS):
        visit(ask, slot, who)
        market.server.flush()
    pipeline.drain_all(events, hot)
    services.settle(at=clock.now() + timedelta(hours=2))
    anchors.write(at=clock.now() + timedelta(days=1))
    visit(ask, slot, GONE)
    visit(ask, slot, "carl")
    market.server.flush()
    dead_letters.bury(events, pack(people.visit(GONE, at=clock.now())[0]), "no such table")
    market.server.close()
    granting.renew(at=clock.now(), hot=hot)  # nobody holds a lease any more
    return slot


def counters(hot: redis.Redis) -> dict[tuple[str, str, int], float]:
    """Every number that serving reads, by key, field and column; holds of ads that were being shown are none of them."""
    found: dict[tuple[str, str, int], float] = {}
    for key in hot.keys("*:*"):
        kind = key.split(b":")[0]
        if hot.type(key) != b"hash" or kind not in (b"counts", b"visitor", b"cap", b"hide"):
            continue
        for field, value in hot.hgetall(key).items():
            row = rows_from(value)[0].tolist() if kind == b"counts" else [float(value)]
            if not field.startswith(b"h:"):
                found |= {(key.decode(), field.decode(), at): number for at, number in enumerate(row)}
    return found


def test_it_is_as_it_was_less_who_was_erased_and_it_serves(
    lived: Any, hot: redis.Redis, events: redis.Redis, elsewhere: Elsewhere, tmp_path: Path, settings: Any
) -> None:
    call_command("backup", str(tmp_path / "backup"), stderr=StringIO())
    waiting = (tmp_path / "backup" / archive.WAITING).read_text().splitlines()
    pipeline.drain_all(events, hot)  # as the platform went on
    assert Impression.objects.count() == 5
    erasure.erase(GONE, at=clock.now())
    before, head = counters(hot), verify().head

    ended = elsewhere.run("restore", str(tmp_path / "backup"), "--json")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["violations"] == []
    assert json.loads(ended.stdout)["head"] == head
    assert len(waiting) > 4
    assert elsewhere.rows("SELECT count(*), count(*) FILTER (WHERE visitor = '') FROM events_impression") == [
        (5, 2)
    ]
    after = counters(elsewhere.hot)
    assert before.keys() == after.keys()
    assert {key for key, *_ in after} >= {
        f"cap:{pseudonym(STAYS)}",
        f"visitor:{pseudonym('carl')}",
        "counts:creative",
    }
    assert after == pytest.approx(before, rel=1e-9)
    for form in (pseudonym(GONE).encode(), bytes.fromhex(pseudonym(GONE))):
        assert form not in elsewhere.everything()
    assert pseudonym(STAYS).encode() in elsewhere.everything()

    ((row, sealed),) = elsewhere.rows("SELECT organisation_id, iban FROM billing_payee")
    assert sealed.startswith("enc1.")
    settings.ENCRYPTION_KEYS = ["new", "old"]  # as it was restored: the key was changed since the backup
    assert unseal(sealed, where=place("billing_payee", "iban", row)) == IBAN

    assert (elsewhere.folder / "models" / "blender-1" / "trees.txt").read_text() == "a model"
    with started(elsewhere) as base:
        assert asked(base, lived, STAYS) == "frequency_cap"  # two of two, counted before the backup
        assert asked(base, lived, "dora") == "an ad"


@contextmanager
def started(elsewhere: Elsewhere) -> Iterator[str]:
    port = net.free_port(set())
    with processes.web(processes.ADS, elsewhere.environment, port=port, threads=1):
        yield f"http://127.0.0.1:{port}"


def asked(base: str, slot: Any, who: str) -> str:
    body = {"placements": [{"id": "a", "slot": slot.public_id}], "user": {"id": who, "consent": m.AGREED}}
    request = urllib.request.Request(f"{base}/v1/decisions", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as reply:
        (placement,) = json.loads(reply.read())["placements"].values()
    return "an ad" if placement["ads"] else str(placement["no_ad"])


def test_what_would_harm_is_refused_before_anything_changes(
    tmp_path: Path, settings: Any, hot: Any, events: Any
) -> None:
    factories.organisation()
    erasure.erase(GONE, at=clock.now())
    Payee.objects.create(organisation=factories.publisher(), holder="Paper", iban=IBAN)
    folder = tmp_path / "backup"
    call_command("backup", str(folder), "--without-models", stderr=StringIO())
    with pytest.raises(CommandError, match="exists already"):
        call_command("backup", str(folder))

    def refused(why: str, *arguments: str) -> None:
        with pytest.raises(CommandError, match=why):
            call_command("restore", str(folder), *arguments)
        assert Organisation.objects.count() == 2

    refused("is not empty: name another in DATABASE_URL")
    settings.ENCRYPTION_KEYS = ["new"]
    refused("keys that are not among ENCRYPTION_KEYS", "--replace")
    settings.ENCRYPTION_KEYS = ["new", "old"]
    settings.ERASURES_DIR = str(tmp_path / "lost")
    refused("the log of erasures has 0 lines, 1 when", "--replace")
    settings.ERASURES_DIR = str(tmp_path / "erasures")
    dump = folder / archive.DUMP
    dump.write_bytes(dump.read_bytes()[:-1])
    refused("platform.dump is not as it was written", "--replace")
    (folder / archive.MANIFEST).unlink()
    refused("holds no backup", "--replace")
