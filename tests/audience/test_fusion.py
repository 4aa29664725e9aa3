"""Two sources that tell of one act: one row, the more trusted believed, and a note of who gave what."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adplatform.audience import services
from adplatform.audience.fusion import API, IMPORT, TAG, WINDOW, Told, fuse
from adplatform.audience.models import Behaviour
from tests import factories
from tests.factories import NOON

MINUTE = timedelta(minutes=1)


def told(source: str, *, minutes: float = 0, text: str = "Tea", value: int = 0, **fields: object) -> Told:
    given = {"visitor": 1, "kind": "purchase", "item": "tea", "text": text, "value_micros": value}
    return Told(**given | {"occurred_at": NOON + minutes * MINUTE, "source": source} | fields)


def test_the_shops_server_is_believed_and_silence_overrules_nothing() -> None:
    (act,) = fuse(
        [
            told(TAG, text="tea - shop", value=9),
            told(API, minutes=3, text="", value=12),
            told(IMPORT, minutes=-2, text="Green tea"),
        ]
    )
    assert (act.text, act.value_micros, act.source, act.occurred_at) == ("Green tea", 12, API, NOON)
    assert {name: act.provenance[name] for name in ("text", "value_micros")} == {
        "text": IMPORT,
        "value_micros": API,
    }
    assert list(act.provenance["told"]) == [TAG, API, IMPORT]


def test_one_source_tells_of_two_moments() -> None:
    assert len(fuse([told(TAG), told(TAG, minutes=2)])) == 2
    assert len(fuse([told(TAG), told(TAG)])) == 1


def test_beyond_the_window_it_is_another_act() -> None:
    assert len(fuse([told(TAG), told(API, minutes=WINDOW / MINUTE)])) == 1
    assert len(fuse([told(TAG), told(API, minutes=WINDOW / MINUTE + 0.1)])) == 2


def test_without_consent_nobody_is_believed() -> None:
    (act,) = fuse([told(TAG, value=9), told(API, value=12, is_consented=False)])
    assert (act.value_micros, act.source, act.provenance) == (9, TAG, {})
    assert fuse([told(API, is_consented=False)]) == []


@given(st.permutations([(TAG, 9, 0.0), (IMPORT, 0, 1.0), (API, 12, -1.0)]))
def test_the_order_of_telling_decides_the_moment_only(order: list[tuple[str, int, float]]) -> None:
    (act,) = fuse([told(source, value=value, minutes=minutes) for source, value, minutes in order])
    assert (act.value_micros, act.source) == (12, API)
    assert act.occurred_at == NOON + order[0][2] * MINUTE


@pytest.mark.django_db
@pytest.mark.parametrize("order", list(permutations([TAG, IMPORT, API])))
def test_stored_once_whoever_comes_first_and_however_often(order: tuple[str, ...]) -> None:
    person = factories.consent().visitor
    values = {TAG: 9, IMPORT: 0, API: 12}
    for source in (*order, *order):
        services.record_behaviours(
            [
                services.Act(
                    person.pseudonym,
                    Behaviour.Kind.PURCHASE,
                    "tea",
                    f"by {source}",
                    NOON + list(values).index(source) * MINUTE,
                    values[source],
                    source,
                )
            ],
            at=NOON + 10 * MINUTE,
        )
    row = Behaviour.objects.get()
    assert (row.text, row.value_micros, row.source) == ("by api", 12, API)
    assert row.provenance["value_micros"] == API
    assert set(row.provenance["told"]) == set(values)


@pytest.mark.django_db
def test_a_visitor_who_refused_leaves_nothing() -> None:
    person = factories.consent(is_granted=False).visitor
    act = services.Act(person.pseudonym, Behaviour.Kind.READ, "page", "Text", NOON, source=API)
    assert services.record_behaviours([act], at=NOON) == 0
    assert not Behaviour.objects.exists()
