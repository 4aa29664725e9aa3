"""Tile, chart, table and file of one range say the same."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

from django.urls import reverse

from tests import factories as f
from tests.portal.conftest import Tenant

RANGE = "from=2026-06-14&to=2026-06-15"


def _spend(tenant: Tenant) -> None:
    slot = f.slot()
    second = f.creative(f.line_item(f.campaign(tenant.organisation, name="Second")))
    for creative, spend in ((tenant.creative, 12_340_000), (second, 7_655_000)):
        f.hourly_stat(
            creative,
            slot,
            impressions=1_000,
            clicks=20,
            conversions=2,
            spend_micros=spend,
            revenue_micros=30_000_000,
        )
    f.hourly_stat(
        tenant.creative, slot, hour=f.NOON - timedelta(days=1), impressions=500, clicks=5, spend_micros=5_000
    )
    f.hourly_stat(tenant.creative, slot, hour=f.NOON - timedelta(days=9), spend_micros=99_000_000)


def test_tile_chart_table_and_file_agree(ours: Tenant) -> None:
    _spend(ours)
    page = ours.client.get(f"{reverse('portal:overview')}?{RANGE}")
    figure = ours.client.get(f"{reverse('portal:chart_roi')}?{RANGE}").json()
    answer = ours.client.get(f"{reverse('portal:reports_csv')}?by=campaign&{RANGE}")
    lines = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))

    assert page.context["now"].spend_micros == 20_000_000
    assert "$20.00" in page.context["tiles"][0]["value"]
    assert sum(row.now.spend_micros for row in page.context["rows"]) == 20_000_000
    assert sum(total.spend_micros for total in page.context["days"].values()) == 20_000_000
    spent = next(trace for trace in figure["data"] if trace["meta"] == "spend")
    assert round(sum(spent["y"]), 6) == 20.0
    assert round(sum(float(line["spend"]) for line in lines), 6) == 20.0
    assert {line["currency"] for line in lines} == {"USD"}


def test_every_breakdown_adds_up_to_the_same_totals(ours: Tenant) -> None:
    _spend(ours)
    for by in ("day", "campaign", "line_item", "creative", "site", "slot", "category"):
        page = ours.client.get(f"{reverse('portal:reports')}?by={by}&{RANGE}")
        lines = page.context["lines"]
        assert sum(line.totals.spend_micros for line in lines) == 20_000_000, by
        assert sum(line.totals.clicks for line in lines) == page.context["total"].clicks == 45, by


def test_a_range_that_cannot_be_read_becomes_the_usual_one_and_says_so(ours: Tenant) -> None:
    page = ours.client.get(f"{reverse('portal:overview')}?from=yesterday")

    assert page.status_code == 200
    assert page.context["range"].day_count == 30
    assert "Write dates as year-month-day" in page.content.decode()


def test_the_period_before_is_compared(ours: Tenant) -> None:
    f.hourly_stat(ours.creative, spend_micros=30_000_000)
    f.hourly_stat(ours.creative, hour=f.NOON - timedelta(days=1), spend_micros=20_000_000)

    page = ours.client.get(f"{reverse('portal:overview')}?from=2026-06-15&to=2026-06-15")

    assert page.context["tiles"][0]["change"] == 0.5


def test_campaign_page_counts_its_own_numbers_only(ours: Tenant) -> None:
    _spend(ours)

    page = ours.client.get(f"{reverse('portal:campaign', args=[ours.campaign.public_id])}?{RANGE}")

    assert page.context["now"].spend_micros == 12_345_000
