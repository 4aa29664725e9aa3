"""An operator writes a rule: its effect first, then the rule; and orders categories. Both themes, both widths."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from adplatform.campaigns.models import OperatorRule
from adplatform.inventory.models import Category
from tests import factories
from tests.browser.conftest import NARROW, WIDE, Shot, SignIn, nameless, overflow, wait_for_charts
from tests.console.test_rules import sets

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_a_rule_is_written_with_its_effect_in_sight(
    page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    Category.objects.create(name="gambling")
    sets(120)
    sign_in(factories.operator())

    def looks_right(name: str) -> None:
        wait_for_charts(page)
        shot(f"console-{name}-{theme}-{width}")
        assert (overflow(page), nameless(page)) == (0, []), name

    page.goto("/console/rules/")
    looks_right("rules-empty")
    page.get_by_role("link", name="Write a rule").click()
    page.get_by_label("Action").select_option("multiply")
    page.get_by_label("Factor").fill("0.5")
    page.get_by_label("Category of the ads").fill("gambling")
    page.get_by_label("Reason").fill("Fewer of them until the review of the sector is done")
    page.get_by_role("button", name="Show the effect").click()
    expect(page.get_by_role("heading", name="What it would change")).to_be_visible()
    expect(page.get_by_text("Count 0.5 times the worth of ads of the category “gambling”.")).to_be_visible()
    looks_right("rule-effect")
    assert OperatorRule.objects.count() == 0
    page.get_by_role("button", name="Save this rule").click()
    expect(page.get_by_text("The rule is saved; it reaches the servers within seconds.")).to_be_visible()
    looks_right("rule")
    page.get_by_role("button", name="Stop the rule").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Stop the rule").click()
    expect(page.get_by_role("button", name="Undo the stop")).to_be_visible()
    page.goto("/console/rules/")
    looks_right("rules")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_categories_are_ordered(page: Page, sign_in: SignIn, shot: Shot, theme: str, width: str) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.set_viewport_size(WIDE if width == "wide" else NARROW)
    factories.campaign(category="Shoes")
    Category.objects.create(name="leisure")
    sign_in(factories.operator())
    page.goto("/console/categories/")
    page.get_by_role("button", name="Add “shoes”").click()
    page.get_by_label("“shoes” lies in").select_option("leisure")
    expect(page.get_by_text("“shoes” is saved.").last).to_be_visible()
    shot(f"console-categories-{theme}-{width}")
    assert (overflow(page), nameless(page)) == (0, [])
    assert Category.objects.get(name="shoes").parent == Category.objects.get(name="leisure")
