"""Every address of the portal: strangers' things do not exist, analysts change nothing, nobody enters unsigned."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from adplatform.accounts.models import AuditEntry
from adplatform.campaigns.models import Status
from adplatform.core.models import Outbox
from tests.portal.conftest import Tenant

CAMPAIGN_READS = ["campaign", "campaign_chart", "campaign_pace", "campaign_delivery_chart"]
CAMPAIGN_EDITS = [
    "campaign_edit",
    "setup_goal",
    "setup_audience",
    "setup_creative",
    "setup_review",
    "line_item_new",
]
CAMPAIGN_POSTS = ["campaign_status"]
LINE_ITEM_READS = ["line_item_why", "line_item_delivery", "line_item_delivery_chart"]
LINE_ITEM_EDITS = ["line_item_edit", "creative_new"]
LINE_ITEM_POSTS = ["line_item_status"]
# Of money: tests/portal/test_billing.py.
MONEY_READS = ["payment", "invoice_pdf"]
CREATIVE_EDITS = ["creative_edit"]
CREATIVE_POSTS = ["creative_status"]
OWN_PAGES = [
    "overview",
    "campaigns",
    "creatives",
    "reports",
    "billing",
    "invoices",
    "billing_profile",
    "changes",
    "keys",
    "settings",
    "chart_roi",
    "reports_csv",
]


def _urls(tenant: Tenant, campaign: list[str], line_item: list[str], creative: list[str]) -> list[str]:
    named = [(name, tenant.campaign) for name in campaign]
    named += [(name, tenant.line_item) for name in line_item]
    named += [(name, tenant.creative) for name in creative]
    return [reverse(f"portal:{name}", args=[thing.public_id]) for name, thing in named]


def reads(tenant: Tenant) -> list[str]:
    return _urls(tenant, CAMPAIGN_READS, LINE_ITEM_READS, [])


def edits(tenant: Tenant) -> list[str]:
    return _urls(tenant, CAMPAIGN_EDITS, LINE_ITEM_EDITS, CREATIVE_EDITS)


def posts(tenant: Tenant) -> list[str]:
    return _urls(tenant, CAMPAIGN_POSTS, LINE_ITEM_POSTS, CREATIVE_POSTS)


def test_the_lists_here_name_every_address_of_a_thing() -> None:
    portal = get_resolver("adplatform.portal.urls")
    by_id = {
        pattern.name
        for pattern in portal.url_patterns
        if hasattr(pattern, "name") and "public_id" in str(pattern.pattern)
    }

    named = CAMPAIGN_READS + CAMPAIGN_EDITS + CAMPAIGN_POSTS
    named += LINE_ITEM_READS + LINE_ITEM_EDITS + LINE_ITEM_POSTS
    assert by_id == {*named, *MONEY_READS, *CREATIVE_EDITS, *CREATIVE_POSTS}


def test_strangers_things_do_not_exist(ours: Tenant, theirs: Tenant) -> None:
    for url in reads(theirs) + edits(theirs):
        assert ours.client.get(url).status_code == 404, url
    for url in posts(theirs) + edits(theirs):
        assert ours.client.post(url, {"status": "archived"}).status_code == 404, url
    theirs.campaign.refresh_from_db()
    assert theirs.campaign.status == Status.ACTIVE
    assert not AuditEntry.objects.exists()
    assert not Outbox.objects.exists()


def test_strangers_keys_and_members_do_not_exist(ours: Tenant, theirs: Tenant) -> None:
    revoke = reverse("portal:key_revoke", args=[theirs.key.pk])
    change = reverse("portal:member_change", args=[theirs.membership.pk])

    assert ours.client.post(revoke).status_code == 404
    assert ours.client.post(change, {"role": ""}).status_code == 404
    theirs.key.refresh_from_db()
    theirs.membership.refresh_from_db()
    assert theirs.key.revoked_at is None
    assert theirs.membership.role == "owner"


def test_strangers_organisation_cannot_be_switched_to(ours: Tenant, theirs: Tenant) -> None:
    switch = reverse("portal:switch")

    assert ours.client.post(switch, {"organisation": theirs.organisation.public_id}).status_code == 404
    assert ours.client.post(switch, {"organisation": "nonsense"}).status_code == 404
    assert "Ours" in ours.client.get(reverse("portal:settings")).content.decode()


def test_own_things_open(ours: Tenant) -> None:
    for url in reads(ours) + edits(ours):
        answer = ours.client.get(url)
        assert answer.status_code == (
            302 if url == reverse("portal:setup_goal", args=[ours.campaign.public_id]) else 200
        ), url
    for name in OWN_PAGES:
        assert ours.client.get(reverse(f"portal:{name}")).status_code == 200, name


def test_pages_show_nothing_of_a_stranger(ours: Tenant, theirs: Tenant) -> None:
    for name in [
        "overview",
        "campaigns",
        "creatives",
        "reports",
        "changes",
        "keys",
        "settings",
        "reports_csv",
    ]:
        answer = ours.client.get(reverse(f"portal:{name}"))
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        for foreign in (
            theirs.campaign.name,
            theirs.creative.headline,
            theirs.key.prefix,
            theirs.organisation.name,
        ):
            assert foreign not in content.decode(), name


def test_an_analyst_looks_at_everything(ours: Tenant, analyst: Client) -> None:
    for url in reads(ours) + [reverse(f"portal:{name}") for name in OWN_PAGES]:
        assert analyst.get(url).status_code == 200, url


def test_an_analyst_changes_nothing_and_is_told_why(ours: Tenant, analyst: Client) -> None:
    new = reverse("portal:campaign_new")
    for url in [*edits(ours), new]:
        answer = analyst.get(url)
        assert answer.status_code == 403, url
        assert "you can look at everything and change nothing" in answer.content.decode()
    keys = [reverse("portal:keys"), reverse("portal:key_revoke", args=[ours.key.pk])]
    members = [
        reverse("portal:settings"),
        reverse("portal:member_add"),
        reverse("portal:member_change", args=[ours.membership.pk]),
    ]
    for url in [*posts(ours), *edits(ours), new, *keys, *members]:
        assert analyst.post(url, {"status": "paused", "name": "x"}).status_code == 403, url
    ours.campaign.refresh_from_db()
    assert ours.campaign.status == Status.ACTIVE
    assert not AuditEntry.objects.exists()


def test_without_signing_in_every_page_leads_to_the_form(ours: Tenant) -> None:
    stranger = Client()
    for url in reads(ours) + edits(ours) + [reverse(f"portal:{name}") for name in OWN_PAGES] + ["/"]:
        answer = stranger.get(url)
        assert answer.status_code == 302, url
        assert answer["Location"].startswith("/accounts/login/"), url


@pytest.mark.django_db
def test_a_closed_organisation_is_gone(ours: Tenant) -> None:
    ours.organisation.is_active = False
    ours.organisation.save()

    assert ours.client.get(reads(ours)[0]).status_code == 404
    assert ours.client.get(reverse("portal:overview")).url == reverse("portal:home")
