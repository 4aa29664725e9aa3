"""Batches as columns say the same as one event after another: to the database, and to the rules of validity."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from adplatform.events import binary, bulk, dead_letters, validity
from adplatform.events.columns import Events
from adplatform.events.models import AdDecision, Click, FillStat, HourlyStat, Impression
from adplatform.events.records import Served, TokenEvent
from tests import factories
from tests.events.streams import again, append, decision, drain, event, served
from tests.factories import NOON

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AD = Served(b"d" * 16, NOON, NOON + timedelta(hours=24), 1, 2, 3, 4, 5, 6, b"", "cpm", 1_500, "EUR")


def events_of_any_sort() -> st.SearchStrategy[TokenEvent]:
    """Every word and every time that a rule looks at, with those on both sides of a limit."""
    spans = st.sampled_from([-301, -300, -1, 0, 0.1, 0.199999, 0.2, 5, 86_400, 86_400.000001])
    ads = st.builds(
        lambda price, source: Served(
            *(getattr(AD, name) for name in AD.__struct_fields__[:10]), price, 1_500, "EUR", source
        ),
        st.sampled_from(["cpm", "cpc"]),
        st.sampled_from(["live", "test", "demo"]),
    )
    return st.builds(
        lambda kind, ad, span, agent, seen: TokenEvent(
            kind, ad, NOON + timedelta(seconds=span), agent, b"", seen
        ),
        st.sampled_from(["impression", "view", "click"]),
        ads,
        spans,
        st.sampled_from(["", "bot", "data_centre", "own", "import", "never heard of"]),
        st.sampled_from(["", "yes", "hidden", "stacked", "display50"]),
    )


@settings(deadline=None)
@given(st.lists(events_of_any_sort(), max_size=40))
def test_a_batch_is_judged_as_its_events_are_one_by_one(given_) -> None:
    found = validity.reasons_not_billable(Events(given_))
    assert [validity.NAMES[code] for code in found] == [
        validity.reason_not_billable(one) or "" for one in given_
    ]


@settings(deadline=None)
@given(st.integers(0, (2**32 - 1) * 10**6))
def test_times_are_exact_to_the_microsecond(micros) -> None:
    events = Events([TokenEvent("view", AD, EPOCH + timedelta(microseconds=micros))])
    assert events.occurred_at[0] == micros


@pytest.mark.django_db
@settings(max_examples=25, deadline=None)
@given(
    numbers=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
    micros=st.integers(-(2**50), 2**50),
    shared=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    raw=st.binary(max_size=5),
)
def test_postgresql_reads_what_was_written(numbers, micros, shared, raw) -> None:
    columns = "n bigint, t timestamptz, b bool, id uuid, raw text, shared text"
    ids = [uuid.uuid4() for _ in numbers]
    rows = binary.rows(
        [
            np.array(numbers),
            binary.moments(np.full(len(numbers), micros)),
            np.array(numbers) > 0,
            binary.same_size([one.bytes for one in ids]),
            binary.as_hex([raw] * len(numbers)),
            shared,
        ],
        len(numbers),
    )
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE read_back ({columns})")
        bulk.copy_binary("read_back", ("n", "t", "b", "id", "raw", "shared"), [rows])
        cursor.execute("SELECT * FROM read_back")
        found = cursor.fetchall()
        cursor.execute("DROP TABLE read_back")
    assert found == [
        (number, EPOCH + timedelta(microseconds=micros), number > 0, one, raw.hex(), shared)
        for number, one in zip(numbers, ids, strict=True)
    ]


@pytest.mark.django_db
def test_events_that_differ_in_every_word_are_stored_as_they_are(events) -> None:
    ad = served(price_kind="cpm", visitor=b"v" * 16)
    dollars = again(ad, currency="EUR", visitor=b"")
    seen = TokenEvent("impression", ad, NOON + timedelta(seconds=1), "", b"12345678", "yes")
    append(events, seen, event("click", dollars), event("impression", dollars, agent="bot"))
    drain(events)
    stored = Impression.objects.get(decision_id=uuid.UUID(bytes=ad.decision_id))
    assert (stored.visitor, stored.origin, stored.seen) == (b"v".hex() * 16, b"12345678".hex(), "yes")
    assert (stored.occurred_at, stored.currency, stored.charge_micros) == (seen.occurred_at, "USD", 10_000)
    refused = Impression.objects.get(decision_id=uuid.UUID(bytes=dollars.decision_id))
    assert (refused.visitor, refused.reason, refused.currency) == ("", "bot", "EUR")
    assert Click.objects.get().reason == "paid_by_impression"


@pytest.mark.django_db
def test_hours_of_several_ads_places_and_sources_are_added_apart(events) -> None:
    slot, creative = factories.slot(), factories.creative()
    live = served(creative, slot, price_kind="cpm", charge_micros=7)
    ads = [live, again(live), again(live, source="demo"), again(live, served_at=NOON.replace(hour=13))]
    other = served(slot=slot)
    append(events, *(event("impression", ad) for ad in ads), event("view", live), event("click", other))
    drain(events)
    rows = HourlyStat.objects.order_by("hour", "creative_id", "source").values_list(
        *("hour__hour", "creative_id", "source", "impressions", "views", "clicks", "billable_impressions"),
        "spend_micros",
    )
    assert list(rows) == [
        (12, creative.pk, "demo", 1, 0, 0, 1, 7),
        (12, creative.pk, "live", 2, 1, 0, 2, 14),
        (12, other.creative_id, "live", 0, 0, 1, 0, 10_000),
        (13, creative.pk, "live", 1, 0, 0, 1, 7),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"slot_id": 2**63}, {"decision_id": b"short"}, {"currency": "a\0b"}])
def test_what_fits_no_column_goes_to_the_dead_letters_alone(events, wrong) -> None:
    good = served()
    append(events, event("click", good), event("click", again(good, **wrong)), event("view", good))
    drain(events)
    assert Click.objects.get().decision_id == uuid.UUID(bytes=good.decision_id)
    assert dead_letters.count(events) == 1


@pytest.mark.django_db
def test_a_decision_is_stored_as_it_was_made(events) -> None:
    """Whatever stands between tabs, backslashes and quotes; what is no number is nothing, as in JSON."""
    said = {
        "keywords": 'tab\there, back\\slash, "quotes", \\N and ünïcode',
        "refused": {"wrong_country": 3, "a\\t'b": 1},
        "versions": {"blender": "b-1"},
        "choice_set": {"ads": [1, 2.5, None]},
        "features": b"\x00\xff\\\t",
        "explored": True,
        "seed": -(2**63),
        "candidates": 2**31 - 1,
        "position": 7,
        "advertiser_id": 2**40,
        "pctr": 0.1,
        "factor": 1.25,
    }
    slot = factories.slot()
    made = decision(slot, **said, propensity=float("nan"))
    append(events, made, decision(slot, **said), made, decision(slot, country="NOCOUNTRY"))
    drain(events)
    row = AdDecision.objects.get(decision_id=made.decision_id)
    assert {name: getattr(row, name) for name in said} | {"features": bytes(row.features)} == said
    assert (row.propensity, row.text_score, row.campaign_id, row.candidate_table) == (None,) * 4
    assert (row.served_at, row.request_id) == (made.served_at, uuid.UUID(made.request_id))
    assert (AdDecision.objects.count(), dead_letters.count(events)) == (2, 1)
    assert FillStat.objects.get().requests == 2
