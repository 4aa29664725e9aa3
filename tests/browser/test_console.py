"""The review queue by keyboard, the jobs' table that follows by itself, the theme shared with Django's admin."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from adplatform.campaigns.models import Creative
from adplatform.core import clock
from adplatform.jobs.services import seed_schedules
from tests import factories
from tests.browser.conftest import SignIn

pytestmark = pytest.mark.browser
Review = Creative.Review


def test_creatives_are_reviewed_by_keyboard(page: Page, sign_in: SignIn) -> None:
    first = factories.creative(review=Review.PENDING, name="First")
    second = factories.creative(review=Review.PENDING, name="Second")
    sign_in(factories.operator())
    page.goto("/console/review/")
    page.keyboard.press("a")
    expect(page.get_by_text("You approved “First”.")).to_be_visible()
    first.refresh_from_db()
    assert first.review == Review.APPROVED
    page.keyboard.press("u")
    expect(page.locator("[data-review]")).to_have_count(2)
    # It waits again, at the end of the queue.
    page.keyboard.press("r")
    page.keyboard.type("a reason with the keys j, k and u")
    page.get_by_role("button", name="Reject", exact=True).first.click()
    expect(page.get_by_text("You rejected “Second”")).to_be_visible()
    second.refresh_from_db()
    assert (second.review, second.review_note) == (Review.REJECTED, "a reason with the keys j, k and u")


def test_the_jobs_table_follows_by_itself(page: Page, sign_in: SignIn) -> None:
    seed_schedules()
    sign_in(factories.operator())
    page.goto("/console/jobs/")
    factories.job_run(
        factories.job("rollup"),
        started_at=clock.now(),
        finished_at=None,
        status="running",
        progress_done=1,
        progress_total=4,
    )
    expect(page.get_by_text("25%")).to_be_visible(timeout=9_000)


def test_another_schedule_shows_its_own_fields(page: Page, sign_in: SignIn) -> None:
    seed_schedules()
    sign_in(factories.operator())
    page.goto("/console/jobs/rollup/")
    expect(page.locator("#id_every")).to_be_visible()
    page.locator("input[name=kind][value=crontab]").check()
    expect(page.locator("#id_every")).to_be_hidden()
    page.locator("#id_times").fill("15 4 * * *")
    page.get_by_role("button", name="Save schedule").click()
    expect(page.locator(".facts").get_by_text("daily at 04:15 UTC")).to_be_visible()


def test_the_theme_chosen_in_the_admin_holds_everywhere(page: Page, sign_in: SignIn) -> None:
    sign_in(factories.operator(is_superuser=True))
    page.goto("/admin/")
    page.get_by_role("button", name="Switch light or dark theme").click()
    page.goto("/console/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto("/admin/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
