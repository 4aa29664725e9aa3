"""One metrics layer: any two ways to add up the same range give the same totals, and an organisation sees its own side."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adplatform.core import money
from adplatform.insights import queries
from adplatform.insights.queries import Range, Totals
from tests import factories

pytestmark = pytest.mark.django_db
DAY = date(2026, 6, 15)
JUNE = Range(date(2026, 6, 1), date(2026, 6, 30))
NUMBERS = {
    "impressions": 1_000,
    "billable_impressions": 990,
    "views": 600,
    "clicks": 20,
    "billable_clicks": 19,
    "conversions": 2,
    "spend_micros": 4_000_001,
    "revenue_micros": 9_000_000,
}


def test_totals_are_the_sums_of_the_range_and_nothing_outside_it() -> None:
    creative, slot = factories.creative(), factories.slot()
    advertiser = creative.line_item.campaign.organisation
    factories.hourly_stat(creative, slot, hour=JUNE.start_at, **NUMBERS)
    factories.hourly_stat(creative, slot, hour=JUNE.end_at, **NUMBERS)
    factories.hourly_stat(creative, slot, hour=JUNE.start_at - timedelta(hours=1), **NUMBERS)
    assert queries.totals(advertiser, JUNE) == Totals(**NUMBERS, earned_micros=2_800_000)


def test_another_organisation_sees_nothing() -> None:
    stat = factories.hourly_stat(**NUMBERS)
    assert queries.totals(factories.organisation(), JUNE) == Totals()
    assert queries.totals(factories.publisher(), JUNE) == Totals()
    assert queries.by_campaign(factories.organisation(), JUNE, campaign_id=stat.campaign_id) == {}


def test_an_hour_belongs_to_the_local_day_in_which_it_starts() -> None:
    organisation = factories.organisation(time_zone="Asia/Kolkata")
    creative, slot = (
        factories.creative(factories.line_item(factories.campaign(organisation))),
        factories.slot(),
    )
    # 18:00 UTC is 23:30 of the 15th, 19:00 UTC is 00:30 of the 16th.
    factories.hourly_stat(creative, slot, hour=datetime(2026, 6, 15, 18, tzinfo=UTC), impressions=1)
    factories.hourly_stat(creative, slot, hour=datetime(2026, 6, 15, 19, tzinfo=UTC), impressions=10)
    days = queries.by_day(organisation, Range(date(2026, 6, 15), date(2026, 6, 16), "Asia/Kolkata"))
    assert [total.impressions for total in days.values()] == [1, 10]


def test_a_publisher_earns_its_share_of_each_cell_rounded_as_the_books_round() -> None:
    publisher = factories.publisher(revenue_share_bp=7_000)
    slot = factories.slot(factories.site(publisher))
    for minute in range(3):  # three campaigns, each with a cell of 9 micros: 3 times 6, not 70 % of 27
        factories.hourly_stat(
            factories.creative(), slot, hour=factories.NOON + timedelta(hours=minute), spend_micros=9
        )
    earned = queries.totals(publisher, JUNE).earned_micros
    assert earned == 3 * money.split(9, 7_000)[0] == 18


def test_two_creatives_of_one_campaign_share_a_cell() -> None:
    slot, line_item = factories.slot(), factories.line_item()
    for _ in range(2):
        factories.hourly_stat(factories.creative(line_item), slot, spend_micros=9)
    assert queries.totals(slot.site.publisher, JUNE).earned_micros == money.split(18, 7_000)[0] == 12


def test_a_publisher_is_not_told_creatives() -> None:
    with pytest.raises(ValueError, match="below the campaign"):
        queries.by_creative(factories.publisher(), JUNE)


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(TypeError, match="country"):
        queries.totals(factories.organisation(), JUNE, country="DE")


def test_imported_totals_without_slot_are_counted_under_no_slot() -> None:
    stat = factories.hourly_stat(**NUMBERS)
    stat.slot_id, stat.publisher_id, stat.source = None, None, "upworthy"
    stat.save()
    advertiser = factories.Organisation.objects.get(pk=stat.advertiser_id)
    assert queries.by_slot(advertiser, JUNE) == {0: Totals(**NUMBERS)}


def test_every_day_and_hour_of_the_range_is_there() -> None:
    organisation = factories.organisation()
    assert list(queries.by_day(organisation, JUNE)) == list(JUNE.days())
    assert len(queries.by_hour(organisation, JUNE)) == 30 * 24


CELL = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 71), st.integers(0, 10_000))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(CELL, max_size=12, unique_by=lambda cell: cell[:3]),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_every_way_to_add_up_a_range_gives_the_same_totals(
    cells: list[tuple[int, int, int, int]], zone: str, first: int, length: int
) -> None:
    publisher, advertiser = factories.publisher(revenue_share_bp=6_667), factories.organisation()
    slots = [factories.slot(factories.site(publisher)) for _ in range(3)]
    creatives = [
        factories.creative(factories.line_item(factories.campaign(advertiser, category=name)))
        for name in "aab"
    ]
    start = datetime(2026, 6, 14, tzinfo=UTC)
    for creative, slot, hour, number in cells:
        factories.hourly_stat(
            creatives[creative],
            slots[slot],
            hour=start + timedelta(hours=hour),
            spend_micros=number,
            impressions=number,
        )
    begin = date(2026, 6, 13) + timedelta(days=first)
    chosen = Range(begin, begin + timedelta(days=length), zone)
    for organisation in (publisher, advertiser):
        whole = queries.totals(organisation, chosen)
        views = (
            queries.by_day,
            queries.by_hour,
            queries.by_campaign,
            queries.by_slot,
            queries.by_site,
            queries.by_category,
        )
        assert [Totals.sum(view(organisation, chosen).values()) for view in views] == [whole] * len(views)
    assert queries.totals(publisher, chosen) == queries.totals(advertiser, chosen)


def test_fill_counts_paid_requests_and_the_reasons_of_the_others() -> None:
    slot = factories.slot()
    factories.fill_stat(slot, reason="", requests=60)
    factories.fill_stat(slot, reason="outbid", requests=15)
    factories.fill_stat(slot, reason="below_floor", requests=25)
    factories.fill_stat(requests=1_000)
    fill = queries.fill(slot.site.publisher, JUNE)
    assert (fill.requests, fill.filled, fill.rate) == (100, 60, 0.6)
    assert fill.parts() == [("", 60, 0.6), ("below_floor", 25, 0.25), ("outbid", 15, 0.15)]
    assert queries.fill_by_slot(slot.site.publisher, JUNE) == {slot.pk: fill}
    assert queries.fill_by_day(slot.site.publisher, JUNE)[DAY] == fill
    assert queries.fill(slot.site.publisher, JUNE, slot_id=slot.pk + 1).rate is None


def test_a_period_is_compared_with_one_that_the_numbers_cover() -> None:
    creative, slot = factories.creative(), factories.slot()
    advertiser = creative.line_item.campaign.organisation
    last_days = JUNE.start_at - timedelta(days=2)
    factories.hourly_stat(creative, slot, hour=last_days, **NUMBERS)
    # Two days stand before June: a change against them would be thirty days against two.
    assert not queries.is_comparable(advertiser, JUNE)
    assert queries.totals_before(advertiser, JUNE) == Totals()
    factories.hourly_stat(creative, slot, hour=JUNE.previous().start_at, **NUMBERS)
    assert queries.totals_before(advertiser, JUNE).clicks == 2 * NUMBERS["clicks"]
    assert not queries.is_comparable(factories.organisation(), JUNE)
