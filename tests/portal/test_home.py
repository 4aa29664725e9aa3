"""Where a person lands, by what they are."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from adplatform.accounts.models import Membership, Organisation, User
from tests import factories as f

pytestmark = pytest.mark.django_db


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_an_advertiser_lands_on_the_overview() -> None:
    assert _signed_in(f.member().user).get("/").url == reverse("portal:overview")


def test_a_publisher_lands_on_the_publisher_overview() -> None:
    assert _signed_in(f.member(f.publisher()).user).get("/").url == reverse("portal:publisher_overview")


def test_an_operator_without_an_organisation_lands_on_the_console() -> None:
    assert _signed_in(f.operator()).get("/").url == "/console/"


def test_signing_up_leads_to_the_organisation_and_then_to_its_pages(client: Client) -> None:
    password = "a long enough sentence"
    fields = {"email": "new@example.com", "password1": password, "password2": password}
    assert client.post("/accounts/signup/", fields).url == "/"
    assert client.get("/").url == reverse("portal:organisation_new")

    answer = client.post(
        reverse("portal:organisation_new"),
        {"kind": "advertiser", "name": "Fresh", "currency": "EUR", "time_zone": "Europe/Berlin"},
    )

    assert answer.url == "/"
    organisation = Organisation.objects.get(name="Fresh")
    assert (organisation.currency, organisation.time_zone) == ("EUR", "Europe/Berlin")
    assert Membership.objects.get(organisation=organisation).role == "owner"
    assert client.get("/").url == reverse("portal:overview")


def test_an_organisation_without_a_name_is_not_made() -> None:
    client = _signed_in(f.user())

    answer = client.post(
        reverse("portal:organisation_new"), {"kind": "advertiser", "currency": "EUR", "time_zone": "UTC"}
    )

    assert answer.status_code == 422
    assert "This field is required." in answer.content.decode()
    assert not Organisation.objects.exists()


def test_switching_shows_the_other_organisation() -> None:
    person = f.user()
    f.member(f.organisation(name="Alpha"), user=person)
    second = f.member(f.publisher(name="Beta"), user=person)
    client = _signed_in(person)
    assert client.get("/").url == reverse("portal:overview")

    client.post(reverse("portal:switch"), {"organisation": second.organisation.public_id})

    assert client.get("/").url == reverse("portal:publisher_overview")
    assert client.get(reverse("portal:overview")).url == "/"


def test_a_link_into_another_own_organisation_switches_to_it() -> None:
    person = f.user()
    f.member(f.organisation(name="Alpha"), user=person)
    second = f.member(f.organisation(name="Beta"), user=person)
    campaign = f.campaign(second.organisation)
    client = _signed_in(person)

    client.get(reverse("portal:campaign", args=[campaign.public_id]))

    assert client.session["organisation"] == str(second.organisation.public_id)


def test_every_page_of_a_synthetic_organisation_says_so() -> None:
    membership = f.member(f.organisation(is_synthetic=True))
    client = _signed_in(membership.user)
    for name in ["overview", "campaigns", "reports", "billing", "settings", "campaign_new"]:
        assert "Synthetic data." in client.get(reverse(f"portal:{name}")).content.decode(), name
    real = _signed_in(f.member().user)
    assert "Synthetic data." not in real.get(reverse("portal:overview")).content.decode()
