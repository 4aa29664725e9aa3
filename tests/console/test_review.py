"""A verdict on a creative reaches the servers, tells the advertiser why, and can be taken back."""

from __future__ import annotations

import pytest
from django.test import Client

from adplatform.accounts.models import AuditEntry, User
from adplatform.campaigns.models import Creative, Status
from adplatform.core.models import Outbox
from adplatform.learning.models import SimilarAds
from tests import factories

pytestmark = pytest.mark.django_db
Review = Creative.Review


@pytest.fixture
def op(client: Client) -> User:
    operator = factories.operator()
    client.force_login(operator)
    return operator


@pytest.fixture
def creative() -> Creative:
    return factories.creative(review=Review.PENDING)


def post(client: Client, creative: Creative, **form: str) -> None:
    client.post(f"/console/review/{creative.public_id}/", form)
    creative.refresh_from_db()


def test_an_approved_creative_serves_by_the_next_snapshot(
    client: Client, op: User, creative: Creative
) -> None:
    post(client, creative, verdict="approve")
    assert (creative.review, creative.reviewed_by) == (Review.APPROVED, op)
    assert Outbox.objects.get().topic == "snapshot"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.user, entry.organisation) == (
        "creative.approved",
        op,
        creative.line_item.campaign.organisation,
    )
    assert entry.detail["review"] == ["pending", "approved"]


def test_a_rejection_keeps_its_reason(client: Client, op: User, creative: Creative) -> None:
    post(client, creative, verdict="reject", note=" The landing page answers 404. ")
    assert (creative.review, creative.review_note) == (Review.REJECTED, "The landing page answers 404.")
    assert AuditEntry.objects.get().detail["note"] == "The landing page answers 404."


def test_there_is_no_rejection_without_a_reason(client: Client, op: User, creative: Creative) -> None:
    post(client, creative, verdict="reject", note="  ")
    assert creative.review == Review.PENDING
    assert not AuditEntry.objects.exists()
    assert "Say what the advertiser has to change." in client.get("/console/review/").content.decode()


def test_a_verdict_can_be_undone(client: Client, op: User, creative: Creative) -> None:
    post(client, creative, verdict="approve")
    assert f"/console/review/{creative.public_id}/undo/" in client.get("/console/review/").content.decode()
    client.post(f"/console/review/{creative.public_id}/undo/")
    creative.refresh_from_db()
    assert (creative.review, creative.reviewed_by, creative.reviewed_at) == (Review.PENDING, None, None)
    assert Outbox.objects.count() == 2


def test_the_same_verdict_twice_is_one(client: Client, op: User, creative: Creative) -> None:
    post(client, creative, verdict="approve")
    post(client, creative, verdict="approve")
    assert AuditEntry.objects.count() == Outbox.objects.count() == 1


def test_the_queue_holds_what_waits_and_is_not_archived(client: Client, op: User, creative: Creative) -> None:
    factories.creative(review=Review.PENDING, status=Status.ARCHIVED)
    factories.creative()
    assert list(client.get("/console/review/").context["page_obj"]) == [creative]


def test_an_advertiser_cannot_approve(client: Client, creative: Creative) -> None:
    client.force_login(factories.member(creative.line_item.campaign.organisation).user)
    assert client.post(f"/console/review/{creative.public_id}/", {"verdict": "approve"}).status_code == 404
    creative.refresh_from_db()
    assert creative.review == Review.PENDING


def test_beside_a_waiting_ad_stand_the_nearest_with_a_verdict_rejected_ones_first(
    client: Client, op: User, creative: Creative
) -> None:
    good = factories.creative(headline="Win a bicycle", reviewed_at=factories.NOON)
    bad = factories.creative(
        headline="Win money", review=Review.REJECTED, reviewed_at=factories.NOON, review_note="A money claim"
    )
    undone = factories.creative(headline="Taken back", review=Review.PENDING, status=Status.ARCHIVED)
    page = client.get("/console/review/").content.decode()
    assert "Not compared with earlier ads yet" in page
    SimilarAds.objects.create(
        creative_id=creative.pk,
        encoder="e",
        computed_at=factories.NOON,
        reviewed=[[good.pk, 0.8], [bad.pk, 0.5], [undone.pk, 0.9]],
    )
    page = client.get("/console/review/").content.decode()
    assert "2 ads like it were decided before" in page
    assert page.index("Win money") < page.index("Win a bicycle")
    assert "A money claim" in page
    assert "Taken back" not in page


def test_a_reviewer_corrects_what_an_ad_has_in_it(client: Client, op: User) -> None:
    ad = factories.creative(review=Review.PENDING, attributes=["video"])
    page = client.get("/console/review/").content.decode()
    assert "1 attribute said by the advertiser: check it" in page
    post(client, ad, verdict="approve", attributes_shown="1", attributes="gambling")
    assert (ad.review, ad.attributes) == (Review.APPROVED, ["gambling"])
    assert AuditEntry.objects.get().detail["attributes"] == ["video", "gambling"]


def test_a_verdict_that_asks_for_no_attributes_keeps_them(client: Client, op: User) -> None:
    ad = factories.creative(review=Review.PENDING, attributes=["video"])
    post(client, ad, verdict="approve")
    assert ad.attributes == ["video"]
    assert "attributes" not in AuditEntry.objects.get().detail
