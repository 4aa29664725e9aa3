"""What a visitor sees is measured, and what more variety would cost is replayed: it buys variety and sells revenue."""

from __future__ import annotations

from datetime import timedelta
from math import exp, log

import pytest
from django.core.cache import cache
from django.test import Client

from adplatform.accounts.models import Membership
from adplatform.core import clock
from adplatform.insights import variety as seen
from adplatform.learning import variety as replayed
from tests import factories
from tests.publisher.choices import choices_of_visitors

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    cache.clear()


def show(slot, creative, visitor: str, times: int, **fields) -> None:
    for _ in range(times):
        at = clock.now() - timedelta(hours=1)
        factories.impression(factories.decision(creative, slot, served_at=at, visitor=visitor * 32), **fields)


def test_the_effective_number_is_that_of_what_each_visitor_saw(owner: Membership) -> None:
    slot = factories.slot(factories.site(owner.organisation))
    cars, golf, other = (
        factories.creative(factories.line_item(factories.campaign(category=name)))
        for name in ("cars", "golf", "Cars")
    )
    show(slot, cars, "a", 4)
    show(slot, cars, "b", 3)
    show(slot, golf, "b", 1)
    show(slot, other, "b", 1)
    show(slot, cars, "c", 1)  # one ad is no variety
    show(slot, golf, "a", 9, reason="bot")  # does not count
    show(factories.slot(), golf, "a", 5)  # another publisher's page
    found = seen.advertisers(owner.organisation, at=clock.now())
    b = exp(-sum(n / 5 * log(n / 5) for n in (3, 1, 1)))
    assert (found.visitors, found.impressions, found.distinct) == (2, 9, 2.0)
    assert found.effective == pytest.approx((1 + b) / 2)
    of_category = exp(-sum(n / 5 * log(n / 5) for n in (4, 1)))
    assert seen.categories(owner.organisation, at=clock.now()).effective == pytest.approx(
        (1 + of_category) / 2
    )
    assert seen.advertisers(None, at=clock.now()).visitors == 2
    assert seen.advertisers(factories.publisher(), at=clock.now()) == seen.Seen(0, 0, None, None)


def test_more_variety_costs_revenue_and_brings_other_advertisers(owner: Membership) -> None:
    choices_of_visitors(factories.slot(factories.site(owner.organisation)), visitors=24, each=4)
    found = replayed.curve(owner.organisation, currency="USD", until=clock.now())
    points = found["points"]
    assert (found["visitors"], found["requests"], found["refusal"]) == (24, 4, "")
    assert [point["weight"] for point in points] == [0, 0.25, 0.5, 0.75, 1]
    effective = [point["effective"] for point in points]
    revenue = [point["revenue"] for point in points]
    assert effective == sorted(effective)
    assert (effective[0], effective[-1]) == (pytest.approx(1.05, abs=0.1), pytest.approx(3.7, abs=0.4))
    assert revenue == sorted(revenue, reverse=True)
    # Without variety the second bid of 0.70 a click is paid: 28 for 1,000 impressions at 4 %.
    assert revenue[0] == pytest.approx(28, abs=1.5)
    assert revenue[-1] < 0.8 * revenue[0]


def test_few_visitors_are_no_estimate(owner: Membership) -> None:
    choices_of_visitors(factories.slot(factories.site(owner.organisation)), visitors=5, each=4)
    assert replayed.curve(owner.organisation, currency="USD", until=clock.now())["refusal"] == "few"
    assert replayed.curve(factories.publisher(), currency="USD", until=clock.now())["visitors"] == 0


def test_the_page_marks_the_present_weight_and_agrees_with_its_chart(
    client: Client, owner: Membership
) -> None:
    assert "Not enough choices yet" in client.get("/publisher/variety/").content.decode()
    cache.clear()
    choices_of_visitors(factories.slot(factories.site(owner.organisation, variety=0.5)), visitors=20, each=3)
    page = client.get("/publisher/variety/")
    (present,) = [point for point in page.context["points"] if point["is_present"]]
    assert present["weight"] == 0.5
    chart = client.get("/publisher/variety/chart.json").json()
    assert chart["layout"]["shapes"][0]["x0"] == 0.5
    assert chart["data"][1]["y"] == [point["effective"] for point in page.context["points"]]


def test_the_console_shows_the_variety_of_the_whole_platform(client: Client) -> None:
    slot = factories.slot()
    show(slot, factories.creative(), "a", 3)
    client.force_login(factories.operator())
    page = client.get("/console/traffic/")
    assert page.context["variety"][0][1].effective == 1.0
    assert "Variety of what one visitor sees" in page.content.decode()
