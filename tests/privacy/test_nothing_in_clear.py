"""Readers whose ids, pages and words are e-mail addresses, names and addresses: nothing of it is found in what is kept.

Real servers answer real requests; then the whole database, both Valkeys and the logs are searched.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.management import call_command

from adplatform.audience.models import Behaviour, Visitor
from adplatform.core import clock
from adplatform.embedded import net
from adplatform.events.models import AdDecision, Click, Impression
from adplatform.serving import pipeline, publish
from tests import processes
from tests.privacy import planted
from tests.serving import market as m

pytestmark = pytest.mark.django_db(transaction=True)


def post(base: str, body: object, **headers: str) -> dict:
    request = urllib.request.Request(
        f"{base}/v1/decisions", json.dumps(body).encode(), method="POST", headers=headers
    )
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read())


def get(address: str, **headers: str) -> int:
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    try:
        return urllib.request.build_opener(Stay).open(urllib.request.Request(address, headers=headers)).status
    except urllib.error.HTTPError as error:
        return error.code


def read_a_page(base: str, slot: str, value: str, *, agrees: bool) -> None:
    """A visit with the value wherever a browser or a publisher could put it."""
    headers = {
        "Referer": f"https://paper.example/search?q={quote(value)}",
        "User-Agent": f"{m.BROWSER} {quote(value)}",
        "X-Forwarded-For": value if value[0].isdigit() else "198.51.100.201",
        "X-Form": quote(value),
    }
    personal = (
        value not in planted.NAMES
    )  # a bare name cannot be told from a topic: publishers must not send any
    body = {
        "placements": [{"id": quote(value)[:64], "slot": slot}],
        "user": {"id": value, "consent": m.AGREED if agrees else {"gpc": True} | m.AGREED},
        "context": {
            "url": f"https://paper.example/{quote(value)}?form={value}",
            "keywords": ["boats", *([value] if personal else [])],
        },
    }
    (placement,) = post(base, body, **headers)["placements"].values()
    for ad in placement["ads"]:
        assert get(ad["impression_url"].replace("http://localhost:8000", base), **headers) == 200
        assert get(ad["click_url"].replace("http://localhost:8000", base), **headers) == 302
    get(f"{base}/c/{quote(value)}", **headers)  # forged
    get(f"{base}/e/conv?action={quote(value)}", **headers)  # refused


def test_none_of_it_is_kept_in_clear(tmp_path: Path, hot, events, process_environment, settings) -> None:
    settings.ERASURES_DIR = str(tmp_path / "erasures")
    m.ad()
    slot = m.slot().public_id
    publish.publish(at=clock.now(), folder=tmp_path / "snapshots", hot=hot)
    environment = process_environment | {
        "ADPLATFORM_VAR": str(tmp_path),
        "TRUST_PROXY": "1",
        "LOG_LEVEL": "DEBUG",
        "PSEUDONYM_KEY": settings.PSEUDONYM_KEY,
    }
    port = net.free_port(set())
    with (
        (tmp_path / "ads.log").open("wb") as log,
        processes.web(processes.ADS, environment, port=port, threads=1, log=log),
    ):
        for number, value in enumerate(planted.PLANTED):
            read_a_page(f"http://127.0.0.1:{port}", slot, value, agrees=number % 3 != 0)
    waiting = planted.valkey(events)  # as it lay on the stream
    pipeline.drain_all(events, hot, at=clock.now())
    call_command("subject_erase", planted.EMAILS[1], stdout=(tmp_path / "erase.log").open("w"))

    assert AdDecision.objects.count() == len(planted.PLANTED)
    assert (
        min(
            Impression.objects.count(),
            Click.objects.count(),
            Visitor.objects.count(),
            Behaviour.objects.count(),
        )
        > 9
    )
    stores = {
        "database": planted.database(str(settings.DATABASES["default"]["NAME"])),
        "stream": waiting,
        "valkeys": planted.valkey(events) + planted.valkey(hot),
        "logs": planted.files(tmp_path),
    }
    assert planted.found(stores) == set()
    # The search would have found it: what is no person's lies there in clear.
    assert all(b"boats" in stores[where] for where in ("database", "stream"))
    assert b"Starting granian" in stores["logs"]
    assert b"Erased." in stores["logs"]
