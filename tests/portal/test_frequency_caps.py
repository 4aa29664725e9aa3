"""How often one person sees what: set in the portal at four levels, told where the settings stand."""

from __future__ import annotations

from django.urls import reverse

from adplatform.accounts.models import AuditEntry, Membership
from adplatform.campaigns.models import AdvertiserCap
from adplatform.core.models import Outbox
from tests.portal.conftest import Tenant

CAP = {"cap_impressions": "5", "cap_window_seconds": "2592000"}


def test_an_advertiser_limits_all_its_ads_together(ours: Tenant) -> None:
    answer = ours.client.post(reverse("portal:advertiser_cap"), CAP, follow=True)

    assert "The limit is saved." in answer.content.decode()
    cap = AdvertiserCap.objects.get(organisation=ours.organisation)
    assert (cap.cap_impressions, cap.cap_window_seconds) == (5, 2_592_000)
    assert answer.context["cap_form"].initial == {"cap_impressions": 5, "cap_window_seconds": 2_592_000}
    assert AuditEntry.objects.filter(action="organisation.capped").count() == 1
    assert Outbox.objects.filter(topic="snapshot").count() == 1  # it serves by this within a second


def test_what_cannot_be_read_is_said_and_changes_nothing(ours: Tenant) -> None:
    answer = ours.client.post(reverse("portal:advertiser_cap"), CAP | {"cap_impressions": "-1"}, follow=True)

    assert "greater than or equal to 1" in answer.content.decode()
    assert not AdvertiserCap.objects.exists()


def test_who_may_only_look_sees_no_form(ours: Tenant) -> None:
    Membership.objects.filter(organisation=ours.organisation).update(role=Membership.Role.ANALYST)

    assert ours.client.get(reverse("portal:settings")).context["cap_form"] is None
    assert ours.client.post(reverse("portal:advertiser_cap"), CAP).status_code == 403
    assert not AdvertiserCap.objects.exists()


def test_the_campaign_page_tells_its_limit(ours: Tenant) -> None:
    ours.campaign.cap_impressions, ours.campaign.cap_window_seconds = 4, 86_400
    ours.campaign.save()

    page = ours.client.get(reverse("portal:campaign", args=[ours.campaign.public_id])).content.decode()
    assert "At most 4 impressions per person in a day" in page
