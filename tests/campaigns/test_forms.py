"""Forms read people's units and days and give micros and UTC; what they do not show stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.core.forms import MoneyField
from adplatform.core.money import MICROS
from tests import factories as f

pytestmark = pytest.mark.django_db

LATE = datetime(2026, 6, 15, 23, 30, tzinfo=UTC)  # already the 16th in Berlin


def _campaign_form(data: dict[str, Any], **options: Any) -> Any:
    from adplatform.campaigns.forms import CampaignForm

    organisation = options.pop("organisation", None) or f.organisation(time_zone="Europe/Berlin")
    fields = {
        "name": "A",
        "bid_strategy": "manual_cpc",
        "daily_budget_micros": "5",
        "start_date": "2026-06-16",
    }
    return CampaignForm(fields | data, organisation=organisation, at=LATE, **options)


def _line_item_form(data: dict[str, Any], **options: Any) -> Any:
    from adplatform.campaigns.forms import LineItemForm

    fields = {"name": "A", "bid_micros": "0.5", "pacing": "even", "cap_window_seconds": "86400"}
    return LineItemForm(fields | data, **options)


def test_days_are_days_of_the_organisation_and_both_are_included() -> None:
    form = _campaign_form({"end_date": "2026-06-20"})

    assert form.is_valid(), form.errors
    fields = form.fields_of_campaign()
    assert fields["start_at"].astimezone(UTC) == datetime(2026, 6, 15, 22, tzinfo=UTC)
    assert fields["end_at"].astimezone(UTC) == datetime(2026, 6, 20, 22, tzinfo=UTC)


def test_yesterday_is_over_in_the_organisations_zone() -> None:
    assert _campaign_form({"start_date": "2026-06-15"}).errors["start_date"] == [
        "Choose today or a later day."
    ]


def test_a_flight_that_runs_keeps_its_start() -> None:
    organisation = f.organisation(time_zone="Europe/Berlin")
    campaign = f.campaign(organisation, start_at=datetime(2026, 5, 1, 7, 45, tzinfo=UTC), end_at=None)
    form = _campaign_form({"start_date": "2026-05-01"}, organisation=organisation, campaign=campaign)

    assert form.is_valid(), form.errors
    assert form.fields_of_campaign()["start_at"] == campaign.start_at


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"end_date": "2026-06-15"}, "end_date", "The last day is before the first one."),
        (
            {"daily_budget_micros": "", "flight_budget_micros": "90"},
            "end_date",
            "A total budget without a daily one needs a last day to be spread over.",
        ),
        (
            {"daily_budget_micros": "90", "flight_budget_micros": "50"},
            "daily_budget_micros",
            "A day's budget cannot exceed the total budget.",
        ),
        ({"daily_budget_micros": "-1"}, "daily_budget_micros", "Write an amount above zero."),
        ({"daily_budget_micros": "1.005"}, "daily_budget_micros", "USD amounts have at most 2 decimals."),
    ],
)
def test_refusals_say_what_to_do(data: dict[str, str], field: str, message: str) -> None:
    assert _campaign_form(data).errors[field] == [message]


def test_wanted_return_is_kept_only_for_its_goal() -> None:
    kept = _campaign_form({"bid_strategy": "target_roas", "target_roas": "3.5"})
    dropped = _campaign_form({"bid_strategy": "manual_cpc", "target_roas": "3.5"})

    assert kept.is_valid()
    assert dropped.is_valid()
    assert kept.fields_of_campaign()["target_roas_bp"] == 35_000
    assert dropped.fields_of_campaign()["target_roas_bp"] is None


@pytest.mark.parametrize(
    ("daily", "flight", "raised"),
    [
        ("100", "900", []),
        ("101", "900", ["daily_budget_micros"]),
        ("", "900", ["daily_budget_micros"]),
        ("99", "901", ["flight_budget_micros"]),
        ("99", "", ["flight_budget_micros"]),
        ("99", "899", []),
    ],
)
def test_a_budget_that_rises_or_falls_away_is_raised(daily: str, flight: str, raised: list[str]) -> None:
    organisation = f.organisation()
    campaign = f.campaign(organisation, daily_budget_micros=100 * MICROS, flight_budget_micros=900 * MICROS)
    data = {"daily_budget_micros": daily, "flight_budget_micros": flight, "end_date": "2026-07-01"}
    form = _campaign_form(data, organisation=organisation, campaign=campaign)

    assert form.is_valid(), form.errors
    assert [name for name, _before, _after in form.raised_budgets()] == raised


def test_rules_that_the_form_does_not_show_stay() -> None:
    rules = {
        "region": {"include": ["DE-BE"]},
        "country": {"include": ["DE"], "exclude": ["AT"]},
        "daypart": {"mon": [9]},
    }
    line_item = f.line_item(targeting=rules)
    form = _line_item_form({"country": "FR"}, campaign=line_item.campaign, line_item=line_item)

    assert form.is_valid(), form.errors
    assert form.fields_of_line_item()["targeting"] == rules | {
        "country": {"include": ["FR"], "exclude": ["AT"]}
    }


def test_rules_in_their_short_form_are_shown_and_saved() -> None:
    line_item = f.line_item(targeting={"country": ["DE", "FR"]})
    form = _line_item_form({"country": "DE"}, campaign=line_item.campaign, line_item=line_item)

    assert form.initial["country"] == ["DE", "FR"]
    assert form.is_valid()
    assert form.fields_of_line_item()["targeting"] == {"country": {"include": ["DE"]}}


def test_only_own_segments_can_be_targeted() -> None:
    campaign = f.campaign()
    own, foreign = f.segment(campaign.organisation), f.segment()

    assert _line_item_form({"segment": [str(own.pk)]}, campaign=campaign).is_valid()
    assert "segment" in _line_item_form({"segment": [str(foreign.pk)]}, campaign=campaign).errors


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://files.example/", "data:text/html,x", "not a page"]
)
def test_a_landing_page_is_a_web_page(url: str) -> None:
    from adplatform.campaigns.forms import CreativeForm

    form = CreativeForm({"headline": "A", "landing_url": url, "size": "native", "language": "en"})

    assert list(form.errors) == ["landing_url"]


@given(st.integers(min_value=1, max_value=10**9 * 100), st.sampled_from(["USD", "JPY", "KWD"]))
def test_an_amount_that_is_shown_reads_back_as_itself(cents: int, currency: str) -> None:
    field = MoneyField()
    field.currency = currency
    micros = min(cents * {"USD": 10_000, "JPY": 1_000_000, "KWD": 1_000}[currency], 10**9 * MICROS)

    assert field.clean(field.prepare_value(micros)) == micros


def test_each_level_can_say_how_often_one_person_sees_it() -> None:
    from adplatform.campaigns.forms import CreativeForm

    cap = {"cap_impressions": "3", "cap_window_seconds": "604800"}
    ad = {"headline": "A", "landing_url": "https://a.example/", "size": "native", "language": "en"}
    campaign, line_item, creative = (
        _campaign_form(cap),
        _line_item_form(cap, campaign=f.campaign()),
        CreativeForm(ad | cap),
    )
    assert campaign.is_valid()
    assert line_item.is_valid()
    assert creative.is_valid()
    for fields in (
        campaign.fields_of_campaign(),
        line_item.fields_of_line_item(),
        creative.fields_of_creative(),
    ):
        assert (fields["cap_impressions"], fields["cap_window_seconds"]) == (3, 604_800)


def test_a_cap_is_a_number_above_zero_within_a_known_window() -> None:
    campaign = f.campaign()
    form = _line_item_form({"cap_impressions": "0", "cap_window_seconds": "5"}, campaign=campaign)

    assert set(form.errors) == {"cap_impressions", "cap_window_seconds"}


def test_a_window_that_an_older_release_let_in_stays_a_choice() -> None:
    line_item = f.line_item(cap_impressions=2, cap_window_seconds=7_200)
    form = _line_item_form({"cap_window_seconds": "7200"}, campaign=line_item.campaign, line_item=line_item)

    assert form.is_valid(), form.errors
    assert form.fields_of_line_item()["cap_window_seconds"] == 7_200
