"""The operator's and the publisher's pages in both themes and both widths: drawn, nothing refused, nothing too wide."""

from __future__ import annotations

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from adplatform.inventory.models import AdSlot
from tests import factories
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow, wait_for_charts
from tests.browser.operations import operations

pytestmark = [pytest.mark.browser, pytest.mark.long]

CONSOLE = [
    "overview",
    "jobs",
    "review",
    "traffic",
    "money",
    "models",
    "quality",
    "annotations",
    "tenants",
    "audit",
]
PUBLISHER = ["overview", "sites", "earnings", "site_new"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_every_page(page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    publisher = operations()
    slot = AdSlot.objects.filter(site__publisher=publisher.organisation).order_by("pk")[0]
    visits = [(f"publisher-{name}", reverse(f"portal:publisher_{name}")) for name in PUBLISHER]
    visits += [
        ("publisher-slot", reverse("portal:publisher_slot", args=[slot.public_id])),
        ("publisher-slot-edit", reverse("portal:publisher_slot_edit", args=[slot.public_id])),
    ]
    sign_in(publisher.user)
    look(page, shot, visits, f"{theme}-{width}")
    sign_in(factories.user(email="op@platform.example", name="Op Erator", is_staff=True, is_superuser=True))
    visits = [(f"console-{name}", reverse(f"console:{name}")) for name in CONSOLE]
    visits += [
        ("console-job", reverse("console:job", args=["rollup"])),
        ("console-tenant", reverse("console:tenant", args=[publisher.organisation.public_id])),
        ("admin", "/admin/"),
        ("admin-list", "/admin/events/addecision/"),
        ("admin-form", f"/admin/inventory/adslot/{slot.pk}/change/"),
    ]
    look(page, shot, visits, f"{theme}-{width}")


def look(page: Page, shot: Shot, visits: list[tuple[str, str]], suffix: str) -> None:
    for name, url in visits:
        page.goto(url)
        wait_for_charts(page)
        shot(f"{name}-{suffix}")
        assert overflow(page) == 0, name
        assert name.startswith("admin") or nameless(page) == [], name  # Django's admin repeats ids of its own
