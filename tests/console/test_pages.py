"""Every page of the console opens for an operator, empty and full, and exists for nobody else."""

from __future__ import annotations

import pytest
from django.test import Client

from adplatform.billing import services
from adplatform.campaigns.models import Creative
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
PAGES = [
    "/console/",
    "/console/chart.json",
    "/console/numbers.csv",
    "/console/jobs/",
    "/console/jobs/?show=failing",
    "/console/jobs/rollup/",
    "/console/review/",
    "/console/traffic/",
    "/console/money/",
    "/console/models/",
    "/console/organisations/",
    "/console/organisations/?q=org&kind=publisher",
    "/console/audit/",
    "/console/audit/?q=nobody&kind=creative.approved",
]
POSTS = [
    "/console/jobs/rollup/run/",
    "/console/jobs/rollup/switch/",
    "/console/jobs/rollup/schedule/",
    "/console/money/deposit/",
    "/console/money/verify/",
    "/console/models/rollback/",
]


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(factories.operator())
    return client


def a_market() -> None:
    """One of everything that a page shows."""
    creative, slot = factories.creative(), factories.slot()
    factories.creative(
        creative.line_item, review=Creative.Review.PENDING, headline="<script>alert(1)</script>"
    )
    factories.hourly_stat(creative, slot, impressions=100, clicks=3, spend_micros=MICROS)
    factories.fill_stat(slot, reason="outbid", requests=4)
    factories.impression(factories.decision(creative, slot), is_billable=False, reason="bot")
    factories.click(factories.decision(creative, slot), charge_micros=MICROS)
    services.deposit(creative.line_item.campaign.organisation, 50 * MICROS, key="transfer", at=NOON)
    services.settle(at=NOON, everything=True)
    factories.audit_entry(creative.line_item.campaign.organisation, detail={"name": ["before", "after"]})
    factories.job_run(factories.job("rollup"), status="failed", summary="ValueError: no", error="Traceback")
    run = factories.training_run(
        metrics={
            "challenger": {"name": "b", "auc": 0.71},
            "prior": {"auc": 0.5},
            "compared": {"no_blender": {"ne": 1.1}},
            "gate": {"clicks": 40},
        },
        verdict="Promoted.",
    )
    factories.model_version(run=run, stage="champion", metrics={"auc": 0.71})


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("is_full", [False, True])
def test_a_page_opens(console: Client, page: str, is_full: bool) -> None:
    if is_full:
        a_market()
        page += ("&" if "?" in page else "?") + "from=2026-06-01&to=2026-06-30"
    assert console.get(page).status_code == 200


@pytest.mark.parametrize("page", [*PAGES, *POSTS])
def test_for_a_person_who_is_no_operator_it_does_not_exist(client: Client, page: str) -> None:
    client.force_login(factories.member().user)
    answer = client.post(page) if page in POSTS else client.get(page)
    assert answer.status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_asked_to_sign_in(client: Client, page: str) -> None:
    answer = client.get(page)
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/accounts/login/")


@pytest.mark.parametrize("page", POSTS)
def test_what_changes_something_is_never_a_get(console: Client, page: str) -> None:
    assert console.get(page).status_code == 405


def test_an_organisations_page_shows_its_people_money_and_campaigns(console: Client) -> None:
    a_market()
    campaign = factories.Campaign.objects.get()
    person = factories.member(campaign.organisation).user
    text = console.get(f"/console/organisations/{campaign.organisation.public_id}/").content.decode()
    assert all(words in text for words in (campaign.name, person.email, "Advertiser&#x27;s prepaid money"))


def test_an_unknown_job_or_organisation_is_not_found(console: Client) -> None:
    assert console.get("/console/jobs/nothing/").status_code == 404
    assert console.get("/console/organisations/00000000-0000-4000-8000-000000000000/").status_code == 404


def test_a_creatives_text_cannot_become_markup(console: Client) -> None:
    a_market()
    text = console.get("/console/review/").content.decode()
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_a_range_that_cannot_be_read_is_said_and_the_usual_one_shown(console: Client) -> None:
    text = console.get("/console/?from=yesterday").content.decode()
    assert "Write dates as year-month-day" in text
