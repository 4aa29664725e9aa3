"""Keys, members, settings, billing."""

from __future__ import annotations

from datetime import UTC, datetime

from django.urls import reverse

from adplatform.accounts import services
from adplatform.accounts.models import ApiKey, Membership
from adplatform.billing.services import deposit
from tests import factories as f
from tests.portal.conftest import Tenant

AT = datetime(2026, 6, 15, tzinfo=UTC)


def test_a_key_is_shown_once_and_works_until_it_is_revoked(ours: Tenant) -> None:
    url = reverse("portal:keys")
    answer = ours.client.post(url, {"name": "Shop", "scopes": ["conversions"], "expires": ""})
    secret = answer.context["secret"]
    key = ApiKey.objects.get(name="Shop")

    assert secret in answer.content.decode()
    assert secret.split(".")[1] not in ours.client.get(url).content.decode()
    assert services.authenticate(secret, at=AT) == key
    assert services.authenticate(secret + "x", at=AT) is None

    ours.client.post(reverse("portal:key_revoke", args=[key.pk]))
    assert services.authenticate(secret, at=AT) is None


def test_members_come_change_and_go_but_one_owner_stays(ours: Tenant) -> None:
    colleague = f.user(email="colleague@example.com")
    ours.client.post(reverse("portal:member_add"), {"email": "COLLEAGUE@example.com", "role": "analyst"})
    member = Membership.objects.get(user=colleague, organisation=ours.organisation)
    assert member.role == "analyst"

    ours.client.post(reverse("portal:member_change", args=[member.pk]), {"role": "manager"})
    member.refresh_from_db()
    assert member.role == "manager"

    own = reverse("portal:member_change", args=[ours.membership.pk])
    answer = ours.client.post(own, {"role": "analyst"}, follow=True)
    ours.membership.refresh_from_db()
    assert "keeps at least one owner" in answer.content.decode()
    assert ours.membership.role == "owner"

    ours.client.post(reverse("portal:member_change", args=[member.pk]), {"role": ""})
    assert not Membership.objects.filter(pk=member.pk).exists()


def test_an_unknown_person_cannot_be_added(ours: Tenant) -> None:
    answer = ours.client.post(
        reverse("portal:member_add"), {"email": "nobody@example.com", "role": "owner"}, follow=True
    )

    assert "Nobody has signed up with this address yet." in answer.content.decode()
    assert ours.organisation.memberships.count() == 1


def test_billing_shows_the_balance_and_its_lines(ours: Tenant) -> None:
    deposit(ours.organisation, 500 * f.MICROS, key="t1", at=AT, memo="Transfer 1")

    page = ours.client.get(f"{reverse('portal:billing')}?from=2026-06-01&to=2026-06-30")

    assert page.context["available_micros"] == 500 * f.MICROS
    assert [(line.words, line.micros) for line in page.context["lines"]] == [("Transfer 1", 500 * f.MICROS)]


def test_without_money_the_page_says_what_to_do(ours: Tenant) -> None:
    assert "/billing/deposit/" in ours.client.get(reverse("portal:billing")).content.decode()
