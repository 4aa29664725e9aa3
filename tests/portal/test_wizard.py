"""A campaign from its goal to its launch, and what stops it on the way."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from adplatform.accounts.models import AuditEntry
from adplatform.campaigns.models import Budget, Campaign, Creative, LineItem, Status
from adplatform.core import clock
from adplatform.core.models import Outbox
from tests.portal.conftest import Tenant

GOAL = {
    "name": "Winter boots",
    "bid_strategy": "manual_cpc",
    "daily_budget_micros": "1,250.50",
    "category": "shoes",
}
AUDIENCE = {
    "name": "Hikers",
    "bid_micros": "0.0525",
    "pacing": "even",
    "country": "de, at",
    "keyword": "hiking\nboots",
    "keyword_exclude": "war",
    "device": ["mobile"],
    "cap_impressions": "3",
    "cap_window_seconds": "86400",
}
CREATIVE = {
    "headline": "Warm to minus twenty",
    "body": "Tested on glaciers.",
    "landing_url": "https://boots.example/winter",
    "size": "728x90",
    "language": "en",
}


def _today() -> str:
    return clock.now().date().isoformat()


def _post(tenant: Tenant, name: str, fields: dict[str, Any], *args: Any) -> Any:
    return tenant.client.post(reverse(f"portal:{name}", args=args), fields)


def test_four_steps_make_a_running_campaign(ours: Tenant) -> None:
    answer = _post(ours, "campaign_new", GOAL | {"start_date": _today()})
    campaign = Campaign.objects.get(name="Winter boots")
    assert answer.url == reverse("portal:setup_audience", args=[campaign.public_id])
    assert (campaign.status, campaign.daily_budget_micros) == (Status.DRAFT, 1_250_500_000)

    assert _post(ours, "setup_audience", AUDIENCE, campaign.public_id).status_code == 302
    line_item = LineItem.objects.get(campaign=campaign)
    assert line_item.bid_micros == 52_500
    assert line_item.targeting == {
        "country": {"include": ["AT", "DE"]},
        "device": {"include": ["mobile"]},
        "keyword": {"include": ["boots", "hiking"], "exclude": ["war"]},
    }

    assert _post(ours, "setup_creative", CREATIVE, campaign.public_id).status_code == 302
    creative = Creative.objects.get(line_item=line_item)
    assert (creative.review, creative.width, creative.height) == (Creative.Review.PENDING, 728, 90)

    assert _post(ours, "setup_review", {}, campaign.public_id).status_code == 302
    campaign.refresh_from_db()
    assert campaign.status == Status.ACTIVE
    assert {row.amount_micros for row in Budget.objects.filter(campaign=campaign, date__isnull=False)} == {
        1_250_500_000
    }
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["campaign.created", "line_item.created", "creative.created", "campaign.launched"]
    assert Outbox.objects.filter(topic="snapshot").count() == 4


def test_each_wrong_field_says_what_to_do(ours: Tenant) -> None:
    answer = _post(
        ours,
        "campaign_new",
        {"name": "", "bid_strategy": "target_roas", "daily_budget_micros": "ten", "start_date": "2020-01-01"},
    )

    assert answer.status_code == 422
    errors = answer.context["form"].errors
    assert errors["name"] == ["This field is required."]
    assert errors["daily_budget_micros"] == ["“ten” is not an amount of money."]
    assert errors["start_date"] == ["Choose today or a later day."]
    assert errors["target_roas"] == ["Say which return you want."]
    assert 'aria-invalid="true"' in answer.content.decode()
    assert not Campaign.objects.filter(organisation=ours.organisation, status=Status.DRAFT).exists()


def test_a_campaign_needs_a_budget(ours: Tenant) -> None:
    answer = _post(ours, "campaign_new", GOAL | {"daily_budget_micros": "", "start_date": _today()})

    assert answer.context["form"].errors["daily_budget_micros"] == [
        "Set a daily budget, a total budget, or both."
    ]


def test_targeting_that_cannot_be_read_is_told_at_its_field(ours: Tenant) -> None:
    answer = _post(ours, "line_item_new", AUDIENCE | {"country": "Germany"}, ours.campaign.public_id)

    assert answer.status_code == 422
    assert answer.context["form"].errors["country"] == [
        "“GERMANY” is not a country code of two letters such as DE."
    ]


def test_a_draft_that_lacks_something_is_not_launched(ours: Tenant) -> None:
    _post(ours, "campaign_new", GOAL | {"start_date": _today()})
    campaign = Campaign.objects.get(name="Winter boots")

    answer = _post(ours, "setup_review", {}, campaign.public_id)

    assert answer.status_code == 422
    assert "Say who should see it and what you bid. Add at least one creative." in answer.content.decode()
    campaign.refresh_from_db()
    assert campaign.status == Status.DRAFT


def test_going_back_changes_the_same_draft(ours: Tenant) -> None:
    _post(ours, "campaign_new", GOAL | {"start_date": _today()})
    campaign = Campaign.objects.get(name="Winter boots")
    _post(ours, "setup_audience", AUDIENCE, campaign.public_id)

    _post(ours, "setup_goal", GOAL | {"name": "Snow boots", "start_date": _today()}, campaign.public_id)
    _post(ours, "setup_audience", AUDIENCE | {"bid_micros": "0.06"}, campaign.public_id)

    campaign.refresh_from_db()
    assert campaign.name == "Snow boots"
    assert LineItem.objects.get(campaign=campaign).bid_micros == 60_000
