"""Exactly once in effect: whatever is delivered twice, or dies halfway, counts once."""

from __future__ import annotations

import pytest

from adplatform.campaigns.models import Budget
from adplatform.events import dead_letters, ingest
from adplatform.events.models import AdDecision, Click, FillStat, HourlyStat, Impression, RefusedStat, View
from adplatform.events.stream import FIELD, STREAM
from tests import factories
from tests.events.streams import PLENTY, again, append, decision, drain, event, served
from tests.factories import NOON

pytestmark = pytest.mark.django_db


def totals() -> tuple[int, int, int, int]:
    rows = HourlyStat.objects.values_list("impressions", "views", "clicks", "spend_micros")
    return tuple(map(sum, zip(*rows, strict=True))) if rows else (0, 0, 0, 0)


def test_an_event_is_stored_counted_and_charged(events) -> None:
    ad = served()
    append(events, event("impression", ad), event("view", ad), event("click", ad))
    facts = drain(events)
    assert [fact.kind for fact in facts] == ["impression", "view", "click"]
    assert facts[0].decision_id == ad.decision_id.hex()
    assert facts[0].pctr == 0.01
    click = Click.objects.get()
    assert (click.is_billable, click.reason, click.charge_micros) == (True, "", 10_000)
    assert totals() == (1, 1, 1, 10_000)
    assert ingest.backlog(events) == 0


def test_duplicates_count_once_within_a_batch_and_over_batches(events) -> None:
    ad = served()
    append(events, *[event("click", ad)] * 3)
    drain(events)
    append(events, *[event("click", ad, after=9)] * 2)
    assert drain(events) == []
    assert Click.objects.count() == 1
    assert totals() == (0, 0, 1, 10_000)


def test_a_crash_between_commit_and_acknowledgement_changes_nothing(events) -> None:
    ad = served()
    append(events, event("impression", ad), event("click", ad), decision(factories.slot()))

    class CrashError(Exception):
        pass

    def crash(_: object) -> None:
        raise CrashError

    with pytest.raises(CrashError):
        ingest.drain(events, granted=lambda ids: dict.fromkeys(ids, PLENTY), after_commit=crash, at=NOON)
    assert Click.objects.count() == 1
    assert ingest.backlog(events) == 3
    before = totals(), FillStat.objects.get().requests

    drain(events)
    assert (totals(), FillStat.objects.get().requests) == before
    assert AdDecision.objects.count() == 1
    assert ingest.backlog(events) == 0


def test_what_a_dead_consumer_took_is_claimed(events, monkeypatch) -> None:
    append(events, event("click", served()))
    ingest.prepare(events)
    assert events.xreadgroup(ingest.GROUP, "dead", {STREAM: ">"})
    monkeypatch.setattr(ingest, "_CLAIM_AFTER_MILLISECONDS", 0)
    drain(events, consumer="living")
    assert Click.objects.count() == 1
    assert events.xpending(STREAM, ingest.GROUP)["pending"] == 0


def test_who_comes_back_by_its_name_goes_on_at_once_with_what_it_had_taken(events, monkeypatch) -> None:
    """In pieces, as Valkey hands them out, and without waiting until it could be claimed."""
    monkeypatch.setattr(ingest, "_PIECE", 2)
    append(events, *(event("click", ad) for ad in [again(served()) for _ in range(5)]))
    ingest.prepare(events)
    assert events.xreadgroup(ingest.GROUP, "ingest", {STREAM: ">"})
    assert len(drain(events, consumer="another")) == 0
    assert len(drain(events, consumer="ingest", limit=4)) == 5
    assert ingest.backlog(events) == 0


def test_poison_goes_to_the_dead_letters_and_the_rest_is_stored(events) -> None:
    good = served()
    events.xadd(STREAM, {FIELD: b"\xc1 no record"})
    # A currency of nine letters fits no column; nothing of the batch is lost for it.
    append(
        events, event("click", good), event("click", again(good, currency="NINEMARKS")), event("view", good)
    )
    drain(events)
    assert Click.objects.count() == 1
    assert View.objects.count() == 1
    letters = [fields for _, fields in events.xrange(dead_letters.DEAD_LETTERS)]
    assert [b"cannot be read" in letters[0][b"error"], b"cannot be stored" in letters[1][b"error"]] == [
        True,
        True,
    ]
    assert ingest.backlog(events) == 0


def test_an_event_belongs_to_the_hour_in_which_it_was_served(events) -> None:
    ad = served(served_at=NOON.replace(minute=59))
    append(events, event("click", ad, after=120))
    drain(events)
    assert HourlyStat.objects.get().hour == NOON


def test_a_replay_after_midnight_does_not_count_twice(events) -> None:
    """It belongs to the day of its signed serve time, whenever it arrives, and is refused as the duplicate it is."""
    late = NOON.replace(hour=23, minute=59, second=58)
    ad = served(served_at=late)
    append(events, event("impression", ad, after=1), event("click", ad, after=1.5))
    drain(events, at=late)
    append(events, event("impression", ad, after=40), event("click", ad, after=40))
    assert drain(events, at=late.replace(day=16, hour=0)) == []
    assert totals() == (1, 0, 1, 10_000)
    assert HourlyStat.objects.get().hour == NOON.replace(hour=23)
    assert Budget.objects.filter(date__isnull=False).count() == 1
    refused = RefusedStat.objects.order_by("kind").values_list("kind", "reason", "hour", "events")
    assert list(refused) == [
        (kind, "duplicate", NOON.replace(hour=23), 1) for kind in ("click", "impression")
    ]


def test_a_test_request_is_kept_but_neither_billed_nor_counted(events) -> None:
    slot = factories.slot()
    ad = served(slot=slot, source="test")
    append(events, decision(slot, source="test"), event("impression", ad), event("click", ad))
    assert drain(events) == []
    assert Click.objects.get().reason == "test"
    assert (HourlyStat.objects.count(), FillStat.objects.count()) == (0, 0)
    assert AdDecision.objects.get().source == "test"


def test_a_bot_is_kept_with_its_reason_and_not_counted(events) -> None:
    ad = served(price_kind="cpm")
    append(events, event("impression", ad, agent="bot"))
    assert drain(events) == []
    impression = Impression.objects.get()
    assert (impression.is_billable, impression.reason, impression.charge_micros) == (False, "bot", 0)
    assert totals() == (0, 0, 0, 0)


def test_fill_counts_requests_and_not_ads(events) -> None:
    slot = factories.slot()
    filled = {"no_ad": "", "request_id": "f" * 32}
    append(events, decision(slot, **filled, ordinal=0), decision(slot, **filled, ordinal=1), decision(slot))
    drain(events)
    assert dict(FillStat.objects.values_list("reason", "requests")) == {"": 1, "no_candidates": 1}
