"""Operators see what a rule would change before they save it, what happened since, and can take it back."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry, User
from adplatform.campaigns.models import OperatorRule
from adplatform.core import clock
from adplatform.core.forms import MOMENT
from adplatform.inventory.models import Category, CategoryLink
from adplatform.learning.models import CategorySuggestion
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def op(client: Client) -> User:
    operator = factories.operator()
    client.force_login(operator)
    return operator


def form(**fields: str) -> dict[str, str]:
    given = {"action": "forbid", "category": "Gambling", "reason": "Not beside children"}
    return {"start_at": clock.now().strftime(MOMENT)} | given | fields


def hidden(page: str) -> dict[str, str]:
    """What binds a shown effect to the form."""
    return dict(re.findall(r'<input type="hidden" name="(digest|shown_until)" value="([^"]+)"', page))


def shown(client: Client, **fields: str) -> tuple[dict[str, str], str]:
    said = form(**fields)
    page = client.post("/console/rules/new/", said).content.decode()
    return said | hidden(page), page


def sets(number: int) -> None:
    """Decisions between a gambling ad and a book ad, each of which keeps who could be chosen."""
    slot = factories.slot(factories.site(category="family"))
    ads = [
        factories.creative(factories.line_item(factories.campaign(category=category)), headline=category)
        for category in ("gambling", "books")
    ]
    at = clock.now() - timedelta(hours=2)
    for seed in range(number):
        choice = {
            "creative": [ad.pk for ad in ads],
            "by_click": [True, True],
            "worth": [600_000.0, 500_000.0],
            "pctr": [0.04, 0.04],
            "sd": [0.3, 0.3],
            "propensity": [0.7, 0.3],
            "seed": seed,
            "epsilon": 0.02,
            "budget": 0.3,
            "features": "",
        }
        made = factories.decision(
            ads[seed % 2], slot, served_at=at, choice_set=choice, price_micros=20_000_000, pctr=0.04
        )
        factories.impression(made)


def test_nobody_but_operators_finds_the_pages(client: Client) -> None:
    client.force_login(factories.member().user)
    for url in ("/console/rules/", "/console/rules/new/", "/console/categories/"):
        assert client.get(url).status_code == 404


def test_without_a_rule_the_page_says_what_one_is(client: Client, op: User) -> None:
    page = client.get("/console/rules/").content.decode()
    assert "You see what it would change before you save it." in page


def test_the_effect_is_shown_first_and_saved_with_the_rule(client: Client, op: User) -> None:
    sets(120)
    said, page = shown(client)
    assert OperatorRule.objects.count() == 0
    assert "Forbid ads of the category “gambling”." in page.replace("Gambling", "gambling")
    assert "70.0" in page  # the share of the gambling ad
    reply = client.post("/console/rules/new/", said | {"save": "1"})
    rule = OperatorRule.objects.get()
    assert reply.headers["Location"] == f"/console/rules/{rule.public_id}/"
    assert rule.forecast["changed"] == pytest.approx(0.7)
    assert (rule.forecast["sets"], rule.created_by) == (120, op)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.organisation, entry.detail["category"]) == ("rule.created", None, "Gambling")
    assert "What was expected when it was saved" in client.get(reply.headers["Location"]).content.decode()


def test_a_rule_changed_after_its_effect_was_shown_is_shown_again(client: Client, op: User) -> None:
    said, _page = shown(client)
    page = client.post("/console/rules/new/", said | {"save": "1", "category": ""} | {"words": "casino"})
    assert "look at its effect again" in page.content.decode()
    stale = (clock.now() - timedelta(hours=2)).isoformat()
    client.post("/console/rules/new/", said | {"save": "1", "shown_until": stale})
    client.post("/console/rules/new/", form(save="1"))
    assert OperatorRule.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"category": ""}, "Name at least one thing"),
        ({"reason": ""}, "This field is required"),
        ({"action": "multiply", "factor": "3.5"}, "less than or equal to 3.0"),
        ({"action": "multiply", "factor": "0.05"}, "greater than or equal to 0.1"),
        ({"action": "multiply"}, "This is needed."),
        ({"action": "limit"}, "This is needed."),
        ({"slot": "nowhere"}, "no ad slot with this public id"),
        ({"start_at": "2020-01-01T00:00"}, "cannot begin in the past"),
        ({"end_at": "2020-01-01T00:00"}, "has passed"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    client: Client, op: User, fields: dict[str, str], said: str
) -> None:
    reply = client.post("/console/rules/new/", form(**fields))
    assert (reply.status_code, said in reply.content.decode()) == (422, True)
    assert (OperatorRule.objects.count(), AuditEntry.objects.count()) == (0, 0)


def test_few_choices_say_so_and_the_rule_can_be_saved_all_the_same(client: Client, op: User) -> None:
    said, page = shown(client, action="limit", share="30")
    assert "100 are needed to say what would change" in page
    client.post("/console/rules/new/", said | {"save": "1"})
    rule = OperatorRule.objects.get()
    assert rule.share_bp == 3_000
    page = client.get(f"/console/rules/{rule.public_id}/").content.decode()
    assert "Let into at most 30 % of the decisions ads of the category" in page
    assert "Nothing to measure yet" in page


def test_stop_and_undo(client: Client, op: User) -> None:
    said, _page = shown(client)
    client.post("/console/rules/new/", said | {"save": "1"})
    rule = OperatorRule.objects.get()
    client.post(f"/console/rules/{rule.public_id}/stop/")
    rule.refresh_from_db()
    assert rule.stopped_at is not None
    assert "Undo the stop" in client.get(f"/console/rules/{rule.public_id}/").content.decode()
    client.post(f"/console/rules/{rule.public_id}/resume/")
    rule.refresh_from_db()
    assert rule.stopped_at is None
    assert client.get(f"/console/rules/{rule.public_id}/stop/").status_code == 405


def test_what_happened_since_is_measured_by_day(client: Client, op: User) -> None:
    now = clock.now()
    slot = factories.slot()
    ad = factories.creative(factories.line_item(factories.campaign(category="gambling")))
    other = factories.creative()
    for days, impressions in ((3, 60), (0, 10)):
        hour = (now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
        factories.hourly_stat(ad, slot, hour=hour, impressions=impressions)
        factories.hourly_stat(other, slot, hour=hour, impressions=100 - impressions)
    rule = OperatorRule.objects.create(
        action="limit", share_bp=1_000, category="gambling", reason="x", start_at=now, created_by=op
    )
    page = client.get(f"/console/rules/{rule.public_id}/").content.decode()
    assert "60.0" in page
    assert "10.0" in page
    figure = client.get(f"/console/rules/{rule.public_id}/share.json").json()
    assert [share for share in figure["data"][0]["y"] if share is not None] == [0.6, 0.1]


# --- categories -------------------------------------------------------------------------------------------------------


def change(client: Client, action: str, **fields: Any) -> str:
    return client.post(f"/console/categories/{action}/", fields, follow=True).content.decode()


def test_an_operator_orders_and_relates_categories(client: Client, op: User) -> None:
    change(client, "save", name=" Leisure ")
    change(client, "save", name="Sports", parent="leisure", description="Running and football")
    change(client, "save", name="travel")
    change(client, "relate", one="sports", other="travel", weight="0.4")
    assert Category.objects.get(name="sports").parent == Category.objects.get(name="leisure")
    assert CategoryLink.objects.get().weight == 0.4
    change(client, "relate", one="travel", other="sports", weight="0")
    assert CategoryLink.objects.count() == 0
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions == [*["category.created"] * 3, *["category.related"] * 2]


def test_no_category_lies_in_itself_and_none_with_others_below_goes(client: Client, op: User) -> None:
    change(client, "save", name="leisure")
    change(client, "save", name="sports", parent="leisure")
    assert "cannot lie in itself" in change(client, "save", category="leisure", parent="sports")
    assert "Move or remove what lies below" in change(client, "remove", category="leisure")
    assert "already" in change(client, "save", name="SPORTS")
    assert Category.objects.count() == 2
    change(client, "remove", category="sports")
    assert list(Category.objects.values_list("name", flat=True)) == ["leisure"]


def test_a_suggestion_is_taken_over_by_a_person_and_by_nothing_else(client: Client, op: User) -> None:
    campaign = factories.campaign(category="", name="Spring shoes")
    suggested = CategorySuggestion.objects.create(
        kind="campaign", object_id=campaign.pk, category="sports", cosine=0.61, computed_at=clock.now()
    )
    page = client.get("/console/categories/").content.decode()
    assert "Spring shoes" in page
    campaign.refresh_from_db()
    assert campaign.category == ""
    change(client, "take", suggestion=suggested.pk)
    campaign.refresh_from_db()
    assert campaign.category == "sports"
    assert AuditEntry.objects.get().organisation == campaign.organisation
    assert "This suggestion is gone" in change(client, "take", suggestion=suggested.pk)
