"""Tile, chart, table, file and API of the same range agree, on the real pages, for any range in any zone."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adplatform.accounts.models import Organisation
from adplatform.core.money import MICROS, format_micros
from adplatform.core.templatetags import ui
from tests import factories
from tests.api.calls import Caller

pytestmark = pytest.mark.django_db
ONCE = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIRST = datetime(2026, 6, 10, tzinfo=UTC)
CELLS = st.dictionaries(
    st.integers(0, 143),
    st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 40_000_000)),
    max_size=10,
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/Los_Angeles"])
RANGES = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted)


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def seen_by(kind: str, zone: str, cells: dict[int, tuple[int, int, int]]) -> tuple[Client, Organisation]:
    """A client of an organisation with these statistics: hour → impressions, clicks, spend."""
    organisation = factories.organisation(kind=kind, time_zone=zone, revenue_share_bp=6_667)
    is_publisher = kind == Organisation.Kind.PUBLISHER
    slot = factories.slot(factories.site(organisation if is_publisher else factories.publisher()))
    campaign = factories.campaign(factories.organisation() if is_publisher else organisation)
    creatives = [factories.creative(factories.line_item(campaign)) for _ in range(2)]
    for hour, (impressions, clicks, spend) in cells.items():
        moment = FIRST + timedelta(hours=hour)
        factories.hourly_stat(
            creatives[hour % 2],
            slot,
            hour=moment,
            impressions=impressions,
            clicks=clicks,
            spend_micros=spend,
            conversions=clicks // 3,
            revenue_micros=clicks * 1_234_567,
        )
        factories.fill_stat(slot, hour=moment, reason="", requests=impressions)
        factories.fill_stat(slot, hour=moment, reason="outbid", requests=clicks + 1)
    client = Client()
    client.force_login(factories.member(organisation).user)
    return client, organisation


def asked(days: list[int]) -> str:
    start, end = (FIRST.date() + timedelta(days=day - 1) for day in days)
    return f"from={start.isoformat()}&to={end.isoformat()}"


def rows_of(answer: HttpResponse) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode("utf-8-sig"))))


def drawn(answer: HttpResponse, meta: str) -> int:
    """Micros of all points of a trace."""
    trace = next(one for one in json.loads(answer.content)["data"] if one["meta"] == meta)
    return sum(round(value * MICROS) for value in trace["y"])


def filed(rows: list[dict[str, str]], column: str) -> int:
    return sum(round(float(row[column]) * MICROS) for row in rows)


def shown(text: str, label: str) -> str:
    """The value of the tile with this label, as a person reads it."""
    found = re.search(rf'<div class="k">{label}</div><div class="v">([^<]*)</div>', text)
    assert found is not None, label
    return found.group(1)


def total_of(text: str, label: str) -> list[str]:
    """The cells of the totals' row of the table in the region with this label."""
    region = text[text.index(f'aria-label="{label}"') :]
    foot = region[region.index("<tfoot>") : region.index("</tfoot>")]
    return re.findall(r"<td[^>]*>([^<]*)</td>", foot)


@ONCE
@given(CELLS, ZONES, RANGES)
def test_an_advertisers_numbers_agree(
    cells: dict[int, tuple[int, int, int]], zone: str, days: list[int]
) -> None:
    client, organisation = seen_by(Organisation.Kind.ADVERTISER, zone, cells)
    query = asked(days)
    text = client.get(f"/overview/?{query}").content.decode()
    by_campaign = rows_of(client.get(f"/reports.csv?by=campaign&{query}"))
    by_day = rows_of(client.get(f"/reports.csv?by=day&{query}"))
    spend, revenue = filed(by_day, "spend"), filed(by_day, "revenue")
    assert (filed(by_campaign, "spend"), filed(by_campaign, "revenue")) == (spend, revenue)
    chart = client.get(f"/charts/roi.json?{query}")
    assert (drawn(chart, "spend"), drawn(chart, "revenue")) == (spend, revenue)
    assert shown(text, "Spend") == ui.money_short(spend, organisation.currency)
    assert shown(text, "Attributed revenue") == ui.money_short(revenue, organisation.currency)
    assert shown(text, "ROAS") == ui.times(revenue / spend if spend else None)
    if 'aria-label="Daily numbers"' in text:
        total = total_of(text, "Daily numbers")
        assert total[1:3] == [format_micros(spend, "USD"), format_micros(revenue, "USD")]
    else:  # the page says that there are no numbers
        assert (spend, revenue) == (0, 0)
    report = (
        Caller(organisation)
        .get(f"reports?by=creative&{query.replace('from', 'start').replace('to=', 'end=')}")
        .json()
    )
    assert (report["total"]["spend_micros"], sum(row["spend_micros"] for row in report["rows"])) == (
        spend,
        spend,
    )


@ONCE
@given(CELLS, ZONES, RANGES)
def test_a_publishers_numbers_agree(
    cells: dict[int, tuple[int, int, int]], zone: str, days: list[int]
) -> None:
    client, organisation = seen_by(Organisation.Kind.PUBLISHER, zone, cells)
    query = asked(days)
    text = client.get(f"/publisher/?{query}").content.decode()
    rows = rows_of(client.get(f"/publisher/numbers.csv?{query}"))
    earned, requests = filed(rows, "earned"), sum(int(row["requests"]) for row in rows)
    assert drawn(client.get(f"/publisher/chart.json?{query}"), "revenue") == earned
    assert shown(text, "Earned") == ui.money_short(earned, organisation.currency)
    assert shown(text, "Ad requests") == ui.count(requests)
    assert (
        total_of(text, "Daily numbers")[-1] == total_of(text, "Ad slots")[-1] == format_micros(earned, "USD")
    )
    assert total_of(text, "Daily numbers")[1] == ui.count(requests)
    report = (
        Caller(organisation)
        .get(f"reports?by=slot&{query.replace('from', 'start').replace('to=', 'end=')}")
        .json()
    )
    assert report["total"]["earned_micros"] == earned


@ONCE
@given(CELLS, RANGES)
def test_the_operators_numbers_agree(cells: dict[int, tuple[int, int, int]], days: list[int]) -> None:
    Organisation.objects.update(currency="XXX")  # what earlier examples left is another currency's
    _client, _organisation = seen_by(Organisation.Kind.ADVERTISER, "UTC", cells)
    client = Client()
    client.force_login(factories.operator())
    query = f"{asked(days)}&currency=USD"
    answer = client.get(f"/console/?{query}")
    text = answer.content.decode()
    rows = rows_of(client.get(f"/console/numbers.csv?{query}"))
    spend, kept = filed(rows, "spend"), filed(rows, "spend") - filed(rows, "earned")
    chart = client.get(f"/console/chart.json?{query}")
    assert (drawn(chart, "spend"), drawn(chart, "revenue")) == (spend, kept)
    assert shown(text, "Charged to advertisers") == format_micros(spend, "USD")
    assert shown(text, "Platform revenue") == format_micros(kept, "USD")
    assert total_of(text, "Daily numbers")[3:] == [
        format_micros(micros, "USD") for micros in (spend, spend - kept, kept)
    ]


def test_a_day_of_the_page_is_a_day_of_its_zone() -> None:
    client, _organisation = seen_by(
        Organisation.Kind.ADVERTISER, "America/Los_Angeles", {3: (100, 1, 5 * MICROS)}
    )
    # 03:00 UTC of the 10th is the evening of the 9th there.
    ninth, tenth = date(2026, 6, 9), date(2026, 6, 10)
    rows = [rows_of(client.get(f"/reports.csv?by=day&from={day}&to={day}")) for day in (ninth, tenth)]
    assert [filed(one, "spend") for one in rows] == [5 * MICROS, 0]
