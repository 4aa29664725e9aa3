"""The publisher's pages show the publisher's own supply and what it earned, and nobody else's."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry, Membership
from adplatform.core.models import Outbox
from adplatform.inventory.models import AdSlot, Site
from tests import factories
from tests.factories import MICROS

pytestmark = pytest.mark.django_db
JUNE = "?from=2026-06-01&to=2026-06-30"


def pages_of(slot: AdSlot) -> list[str]:
    place, site = f"/publisher/slots/{slot.public_id}/", f"/publisher/sites/{slot.site.public_id}/"
    return [
        *(
            "/publisher/",
            "/publisher/chart.json",
            "/publisher/numbers.csv",
            "/publisher/sites/",
            "/publisher/earnings/",
        ),
        *("/publisher/sites/new/", site, f"{site}slots/new/", place, f"{place}chart.json", f"{place}edit/"),
    ]


def test_every_page_opens_without_and_with_numbers(client: Client, slot: AdSlot) -> None:
    for page in pages_of(slot):
        assert client.get(page).status_code == 200, page
    factories.hourly_stat(None, slot, impressions=1_000, clicks=10, spend_micros=5 * MICROS)
    factories.fill_stat(slot, reason="", requests=900)
    factories.fill_stat(slot, reason="outbid", requests=100)
    for page in pages_of(slot):
        assert client.get(page + JUNE).status_code == 200, page


def test_a_publisher_without_a_site_is_shown_the_first_step(client: Client, owner: Membership) -> None:
    assert "Add your first site" in client.get("/publisher/").content.decode()


def test_the_slots_of_others_do_not_exist(client: Client, owner: Membership) -> None:
    other = factories.slot()
    for page in pages_of(other):
        if other.public_id in page or other.site.public_id in page:
            assert client.get(page).status_code == 404, page
            assert client.post(page, {"name": "Mine"}).status_code in {404, 405}, page
    other.refresh_from_db()
    assert other.name != "Mine"


def test_an_analyst_looks_and_changes_nothing(client: Client, slot: AdSlot) -> None:
    analyst = factories.member(slot.site.publisher, role=Membership.Role.ANALYST)
    client.force_login(analyst.user)
    assert client.get(f"/publisher/slots/{slot.public_id}/").status_code == 200
    assert client.post(f"/publisher/slots/{slot.public_id}/edit/", {"name": "Mine"}).status_code == 403
    assert client.post("/publisher/sites/new/", {"name": "Mine", "domain": "mine.example"}).status_code == 403
    assert not Site.objects.filter(name="Mine").exists()


def test_a_new_site_leads_to_its_first_slot_and_serves(client: Client, owner: Membership) -> None:
    form = {"name": "Trail diary", "domain": "https://Trails.example/", "language": "en", "is_active": "on"}
    answer = client.post("/publisher/sites/new/", form)
    site = Site.objects.get(name="Trail diary")
    assert answer["Location"] == f"/publisher/sites/{site.public_id}/slots/new/"
    assert (site.domain, site.publisher, site.currency) == ("trails.example", owner.organisation, "USD")
    answer = client.post(
        answer["Location"],
        {
            "name": "Top",
            "format": "banner",
            "size": "728x90",
            "position": "1",
            "floor": "1.25",
            "is_active": "on",
        },
    )
    slot = site.slots.get()
    assert (slot.width, slot.height, slot.floor_micros, slot.is_active) == (728, 90, 1_250_000, True)
    assert answer["Location"] == f"/publisher/slots/{slot.public_id}/"
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "site.created",
        "slot.created",
    ]
    assert Outbox.objects.filter(topic="snapshot").count() == 2


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": "A", "domain": "no domain", "language": "en"}, "This is not a domain"),
        ({"name": "A", "domain": "taken.example", "language": "en"}, "already have a site"),
        ({"name": "", "domain": "a.example", "language": "en"}, "required"),
    ],
)
def test_a_site_that_makes_no_sense_is_sent_back_in_words(
    client: Client, owner: Membership, form: dict[str, str], field: str
) -> None:
    factories.site(owner.organisation, domain="taken.example")
    answer = client.post("/publisher/sites/new/", form)
    assert answer.status_code == 422
    assert field in answer.content.decode()
    assert Site.objects.count() == 1


def test_a_changed_floor_is_audited_with_before_and_after(client: Client, slot: AdSlot) -> None:
    form = {
        "name": "Article top",
        "format": "banner",
        "size": "other",
        "width": "301",
        "height": "251",
        "position": "2",
        "floor": "2",
    }
    client.post(f"/publisher/slots/{slot.public_id}/edit/", form)
    slot.refresh_from_db()
    assert (slot.floor_micros, slot.width, slot.height, slot.is_active) == (2_000_000, 301, 251, False)
    assert AuditEntry.objects.get(action="slot.changed").detail["floor_micros"] == [0, 2_000_000]


def test_a_slot_of_another_size_says_its_pixels(client: Client, slot: AdSlot) -> None:
    form = {"name": "Article top", "format": "banner", "size": "other", "position": "1"}
    answer = client.post(f"/publisher/slots/{slot.public_id}/edit/", form)
    assert (answer.status_code, "Say how many pixels." in answer.content.decode()) == (422, True)


def test_the_tag_carries_the_slots_public_id(client: Client, slot: AdSlot) -> None:
    text = client.get(f"/publisher/slots/{slot.public_id}/").content.decode()
    assert f"&lt;div data-adslot=&quot;{slot.public_id}&quot;&gt;" in text
    assert "/tag/v1.js" in text


def test_reasons_of_a_slot_add_up_to_everything(client: Client, slot: AdSlot) -> None:
    for reason, requests in (("", 61), ("outbid", 13), ("below_floor", 26)):
        factories.fill_stat(slot, reason=reason, requests=requests)
    factories.fill_stat(requests=999)
    answer = client.get(f"/publisher/slots/{slot.public_id}/{JUNE}")
    outcomes = answer.context["outcomes"]
    assert [(n, share) for _words, n, share in outcomes] == [(61, 0.61), (26, 0.26), (13, 0.13)]
    assert sum(share for *_, share in outcomes) == pytest.approx(1)
    assert outcomes[1][0] == "The bid is below the slot's floor."


def test_tile_chart_table_and_file_of_a_range_agree(client: Client, slot: AdSlot) -> None:
    other = factories.slot(slot.site, name="Sidebar")
    for hour, place, spend in ((3, slot, 1_234_567), (3, other, 7), (27, slot, 9_999_999), (700, other, 123)):
        at = datetime(2026, 6, 1 + hour // 24, hour % 24, tzinfo=UTC)
        factories.hourly_stat(None, place, hour=at, impressions=100, spend_micros=spend)
    answer = client.get(f"/publisher/{JUNE}")
    earned = answer.context["now"].earned_micros
    chart = json.loads(client.get(f"/publisher/chart.json{JUNE}").content)
    rows = list(
        csv.DictReader(io.StringIO(b"".join(client.get(f"/publisher/numbers.csv{JUNE}")).decode("utf-8-sig")))
    )
    assert earned == 864_196 + 4 + 6_999_999 + 86
    assert sum(round(value * MICROS) for value in chart["data"][0]["y"]) == earned
    assert sum(round(float(row["earned"]) * MICROS) for row in rows) == earned
    assert sum(total.earned_micros for _day, total, _fill in answer.context["days"]) == earned
    assert sum(row.total.earned_micros for row in answer.context["rows"]) == earned
    assert re.search(r"\$7\.86", answer.content.decode())
