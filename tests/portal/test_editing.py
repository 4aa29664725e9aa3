"""Changing what runs."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from adplatform.accounts.models import AuditEntry
from adplatform.campaigns.models import Creative, Status
from tests import factories as f
from tests.portal.conftest import Tenant


def _form(tenant: Tenant, **changes: str) -> dict[str, str]:
    """The campaign's form as it was filled in, with changes."""
    page = tenant.client.get(reverse("portal:campaign_edit", args=[tenant.campaign.public_id]))
    form = page.context["form"]
    filled = {name: form[name].field.prepare_value(form[name].value()) for name in form.fields}
    return {name: "" if value is None else str(value) for name, value in filled.items()} | changes


def _save(tenant: Tenant, fields: dict[str, str]) -> Any:
    return tenant.client.post(reverse("portal:campaign_edit", args=[tenant.campaign.public_id]), fields)


def test_raising_a_budget_is_asked_for_twice(ours: Tenant) -> None:
    fields = _form(ours, daily_budget_micros="250", end_date="")

    asked = _save(ours, fields)
    ours.campaign.refresh_from_db()
    assert "The daily budget rises from $100.00 to $250.00." in asked.content.decode()
    assert ours.campaign.daily_budget_micros == 100 * f.MICROS

    confirmed = _save(ours, fields | {"confirmed": "1"})
    ours.campaign.refresh_from_db()
    assert confirmed.status_code == 302
    assert ours.campaign.daily_budget_micros == 250 * f.MICROS
    assert ours.campaign.budgets.get(date__isnull=False).amount_micros == 250 * f.MICROS


def test_lowering_a_budget_is_saved_at_once(ours: Tenant) -> None:
    assert _save(ours, _form(ours, daily_budget_micros="40", end_date="")).status_code == 302

    ours.campaign.refresh_from_db()
    assert ours.campaign.daily_budget_micros == 40 * f.MICROS
    entry = AuditEntry.objects.get(action="campaign.changed")
    assert entry.detail["daily_budget_micros"] == [100 * f.MICROS, 40 * f.MICROS]
    assert entry.user == ours.membership.user


def test_saving_without_a_change_leaves_no_trace(ours: Tenant) -> None:
    ours.campaign.end_at = None
    ours.campaign.save()

    _save(ours, _form(ours))

    assert not AuditEntry.objects.exists()


def test_pause_resume_archive(ours: Tenant) -> None:
    url = reverse("portal:campaign_status", args=[ours.campaign.public_id])
    for status in (Status.PAUSED, Status.ACTIVE, Status.ARCHIVED):
        ours.client.post(url, {"status": status})
        ours.campaign.refresh_from_db()
        assert ours.campaign.status == status
    answer = ours.client.post(url, {"status": "active"}, follow=True)
    ours.campaign.refresh_from_db()
    assert "cannot become active" in answer.content.decode()
    assert ours.campaign.status == Status.ARCHIVED
    assert ours.client.get(url).status_code == 405


def test_changing_an_approved_creative_sends_it_to_review(ours: Tenant) -> None:
    fields = {
        "headline": "Another headline",
        "body": "",
        "landing_url": "https://shop.example/",
        "size": "300x250",
        "language": "en",
    }

    answer = ours.client.post(
        reverse("portal:creative_edit", args=[ours.creative.public_id]), fields, follow=True
    )

    ours.creative.refresh_from_db()
    assert ours.creative.review == Creative.Review.PENDING
    assert "waits for review" in answer.content.decode()


def test_an_imported_campaign_cannot_be_changed(ours: Tenant) -> None:
    ours.campaign.source = "upworthy"
    ours.campaign.save()

    answer = ours.client.post(
        reverse("portal:campaign_status", args=[ours.campaign.public_id]), {"status": "paused"}, follow=True
    )

    assert "was imported from a data set" in answer.content.decode()
    assert not AuditEntry.objects.exists()


def test_history_tells_the_change_in_words(ours: Tenant) -> None:
    _save(ours, _form(ours, daily_budget_micros="40", end_date=""))

    page = ours.client.get(reverse("portal:changes")).content.decode()

    assert "changed the campaign" in page
    assert "$100.00" in page
    assert "$40.00" in page


def test_a_rejected_creative_needs_attention(ours: Tenant) -> None:
    ours.creative.review = Creative.Review.REJECTED
    ours.creative.review_note = "The landing page is down."
    ours.creative.save()

    notices = ours.client.get(reverse("portal:overview")).context["notices"]

    assert [(notice.tone, notice.text) for notice in notices] == [("bad", "The landing page is down.")]
