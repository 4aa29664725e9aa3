"""The console's traffic page with something in every section, as an operator sees it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis
from django.db import transaction
from django.urls import reverse
from playwright.sync_api import Page

from adplatform.campaigns import budgets
from adplatform.core import clock
from adplatform.events import backfilter, dead_letters
from adplatform.events.models import Click, FillStat, Impression
from adplatform.events.statistics import hour_of
from tests import factories as f
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow

CLICK_MICROS = 1_234_567
FOUND = ("newcomers",) * 9 + ("click_rate",) * 5 + ("too_fast",) * 2
REFUSED = ("bot", "data_centre", "budget_spent")


def a_day_of_traffic() -> None:
    at = clock.now() - timedelta(hours=3)
    creative, slot = f.creative(f.line_item(f.campaign(f.organisation(currency="USD")))), f.slot()
    for number in range(60):
        place = f.decision(creative, slot, served_at=at + timedelta(seconds=number))
        f.impression(place)
        if number < 24:
            charge = budgets.Charge(place.campaign_id, place.advertiser_id, place.served_at, CLICK_MICROS)
            with transaction.atomic():
                budgets.charge([charge], granted=lambda ids: dict.fromkeys(ids, 10**9), at=at)
            f.click(place, charge_micros=CLICK_MICROS)
        elif number < 24 + len(REFUSED) * 2:
            f.click(place, is_billable=False, charge_micros=0, reason=REFUSED[number % len(REFUSED)])
    clicks = [pk.hex for pk in Click.objects.filter(is_billable=True).values_list("pk", flat=True)]
    shown = [pk.hex for pk in Impression.objects.values_list("pk", flat=True)[:4]]
    found = {("click", one): reason for one, reason in zip(clicks, FOUND, strict=False)}
    backfilter.invalidate(found | {("impression", one): "repeated" for one in shown}, at=clock.now())
    own = {"hour": hour_of(at), "slot_id": slot.pk, "publisher_id": slot.site.publisher_id}
    FillStat.objects.create(requests=60, **own)
    FillStat.objects.create(requests=25, reason="outbid", **own)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_was_found_invalid_later_and_given_back(
    page: Page, sign_in: SignIn, shot: Shot, theme: str, events: redis.Redis
) -> None:
    a_day_of_traffic()
    dead_letters.bury(events, b"no record", "cannot be read")
    page.emulate_media(color_scheme=theme)
    page.set_default_timeout(30_000)  # the first page starts everything
    sign_in(f.operator())
    page.goto(reverse("console:traffic"))
    later = page.get_by_role("region", name="Found invalid later")
    rows = [row.inner_text().split("\t") for row in later.locator("tbody tr").all()]
    assert rows == [
        ["One of too many who came once and clicked unseen", "0", "9", "$11.11"],
        ["Clicks on most of what it is shown", "0", "5", "$6.17"],
        ["The same visitor again and again", "4", "0", "$0.00"],
        ["Clicked sooner than a person can", "0", "2", "$2.47"],
    ]
    assert page.get_by_text("$19.75 given back").is_visible()
    assert page.get_by_role("heading", name="Events that could not be stored").is_visible()
    for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
        page.set_viewport_size(viewport)
        shot(f"console-traffic-{size}-{theme}")
        assert overflow(page) <= 0
    assert nameless(page) == []
