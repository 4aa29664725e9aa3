"""Changes to campaigns: each whole, each noted, each told to the snapshot; budgets follow, spend stays."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from adplatform.accounts.models import AuditEntry
from adplatform.campaigns import services
from adplatform.campaigns.budgets import UNLIMITED
from adplatform.campaigns.models import Budget, Campaign, Creative, Status
from adplatform.core import outbox
from adplatform.core.models import Outbox
from tests import factories as f

pytestmark = pytest.mark.django_db

DAY = date(2026, 6, 15)
M = f.MICROS


def _amounts(campaign: Campaign) -> dict[date | None, int]:
    return dict(Budget.objects.filter(campaign=campaign).values_list("date", "amount_micros"))


def test_a_new_campaign_is_a_draft_in_its_organisations_currency() -> None:
    organisation = f.organisation(currency="EUR", time_zone="Asia/Tokyo")

    campaign = services.create_campaign(
        user=None, organisation=organisation, at=f.NOON, name="A", daily_budget_micros=5 * M, start_at=f.NOON
    )

    assert (campaign.currency, campaign.status) == ("EUR", Status.DRAFT)
    # Noon in UTC is nine in the evening in Tokyo: still the same day.
    assert _amounts(campaign) == {None: UNLIMITED, DAY: 5 * M}


def test_budgets_follow_the_campaign_and_keep_what_was_spent() -> None:
    campaign = f.campaign(daily_budget_micros=100 * M, flight_budget_micros=900 * M)
    services.ensure_budgets(campaign, DAY)
    Budget.objects.filter(campaign=campaign).update(spent_micros=60 * M)

    services.update_campaign(
        user=None, campaign=campaign, at=f.NOON, daily_budget_micros=50 * M, flight_budget_micros=None
    )

    assert _amounts(campaign) == {None: UNLIMITED, DAY: 50 * M}
    assert set(Budget.objects.values_list("spent_micros", flat=True)) == {60 * M}


def test_a_change_is_noted_with_both_values_and_told_to_the_snapshot() -> None:
    person, campaign = f.user(), f.campaign(name="Before")

    services.update_campaign(user=person, campaign=campaign, at=f.NOON, name="After")

    entry = AuditEntry.objects.get()
    assert (entry.user, entry.organisation, entry.action) == (
        person,
        campaign.organisation,
        "campaign.changed",
    )
    assert entry.detail == {"name": ["Before", "After"]}
    assert [row.topic for row in Outbox.objects.all()] == ["snapshot"]


def test_when_the_notice_fails_nothing_has_changed() -> None:
    campaign = f.campaign(name="Before")

    with patch.object(outbox, "write", side_effect=RuntimeError), pytest.raises(RuntimeError):
        services.update_campaign(user=None, campaign=campaign, at=f.NOON, name="After", daily_budget_micros=M)

    assert Campaign.objects.get().name == "Before"
    assert not AuditEntry.objects.exists()
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Status.DRAFT, Status.PAUSED),
        (Status.ARCHIVED, Status.ACTIVE),
        (Status.ARCHIVED, Status.PAUSED),
    ],
)
def test_steps_that_do_not_exist_are_refused(before: str, after: str) -> None:
    campaign = f.campaign(status=before)

    with pytest.raises(services.CampaignError, match="cannot become"):
        services.set_campaign_status(user=None, campaign=campaign, status=after, at=f.NOON)

    assert Campaign.objects.get().status == before
    assert not Outbox.objects.exists()


def test_asking_for_the_present_state_changes_nothing() -> None:
    services.set_campaign_status(user=None, campaign=f.campaign(), status=Status.ACTIVE, at=f.NOON)

    assert not AuditEntry.objects.exists()


def _draft(**fields: Any) -> Campaign:
    campaign = f.campaign(status=Status.DRAFT, **fields)
    f.creative(f.line_item(campaign), review=Creative.Review.PENDING)
    return campaign


def test_a_complete_draft_is_launched() -> None:
    campaign = services.launch(user=None, campaign=_draft(), at=f.NOON)

    assert campaign.status == Status.ACTIVE
    assert AuditEntry.objects.get().action == "campaign.launched"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"daily_budget_micros": None}, "Set a budget"),
        ({"end_at": f.NOON - timedelta(days=1)}, "Its flight has ended"),
    ],
)
def test_an_incomplete_draft_says_what_it_lacks(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(services.CampaignError, match=problem):
        services.launch(user=None, campaign=_draft(**fields), at=f.NOON)


def test_archived_parts_do_not_make_a_draft_complete() -> None:
    campaign = _draft()
    campaign.line_items.update(status=Status.ARCHIVED)

    assert len(services.launch_problems(campaign, f.NOON)) == 1


REVIEWED = [
    ("headline", "New"),
    ("body", "New"),
    ("landing_url", "https://new.example/"),
    ("language", "de"),
    ("width", 728),
]


@pytest.mark.parametrize(("field", "value"), REVIEWED)
def test_what_a_reviewer_saw_cannot_change_unseen(field: str, value: Any) -> None:
    creative = f.creative(reviewed_by=f.operator(), reviewed_at=f.NOON)

    services.save_creative(user=None, line_item=creative.line_item, creative=creative, **{field: value})

    creative.refresh_from_db()
    assert (creative.review, creative.reviewed_by, creative.reviewed_at) == (
        Creative.Review.PENDING,
        None,
        None,
    )


def test_an_approval_that_came_in_between_does_not_cover_the_new_text() -> None:
    creative = f.creative(review=Creative.Review.PENDING)
    Creative.objects.update(review=Creative.Review.APPROVED)  # while the person still had the form open

    services.save_creative(user=None, line_item=creative.line_item, creative=creative, headline="Unseen")

    assert Creative.objects.get().review == Creative.Review.PENDING


def test_another_name_needs_no_review() -> None:
    creative = f.creative()

    services.save_creative(user=None, line_item=creative.line_item, creative=creative, name="Mine")

    creative.refresh_from_db()
    assert (creative.name, creative.review) == ("Mine", Creative.Review.APPROVED)


def test_a_new_creative_waits_for_review_whatever_is_asked() -> None:
    creative = services.save_creative(
        user=None, line_item=f.line_item(), name="A", headline="A", landing_url="https://a.example/"
    )

    assert creative.review == Creative.Review.PENDING


def test_imported_campaigns_are_only_looked_at() -> None:
    campaign = f.campaign(source="upworthy")
    creative = f.creative(f.line_item(campaign))
    attempts = [
        lambda: services.update_campaign(user=None, campaign=campaign, at=f.NOON, name="x"),
        lambda: services.set_campaign_status(user=None, campaign=campaign, status=Status.PAUSED, at=f.NOON),
        lambda: services.save_line_item(user=None, campaign=campaign, name="x", bid_micros=1),
        lambda: services.save_creative(
            user=None, line_item=creative.line_item, creative=creative, headline="x"
        ),
        lambda: services.set_creative_status(user=None, creative=creative, status=Status.PAUSED),
        lambda: services.set_line_item_status(user=None, line_item=creative.line_item, status=Status.PAUSED),
    ]
    for attempt in attempts:
        with pytest.raises(services.CampaignError, match="imported"):
            attempt()
    assert not AuditEntry.objects.exists()
