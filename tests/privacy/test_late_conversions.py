"""An advertiser reports a conversion of somebody who was forgotten meanwhile: it counts, and belongs to nobody."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from adplatform.audience.models import Visitor
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.events.models import Conversion
from adplatform.privacy import erasure
from tests import factories
from tests.api.calls import Caller, advertiser

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hot", "events")]
WHO = "anna@example.org"


@pytest.fixture
def caller() -> Caller:
    made = advertiser()
    factories.conversion_action(made.organisation, name="Purchase")
    return made


def bought(order: str, at: datetime, **fields: Any) -> dict[str, Any]:
    return {"event_id": order, "action": "Purchase", "occurred_at": at.isoformat(), "user_id": WHO} | fields


def test_it_is_stored_without_the_visitor_at_once(caller: Caller) -> None:
    earlier = clock.now() - timedelta(hours=1)
    erasure.erase(WHO, at=clock.now())
    events = [
        bought("late", earlier, value_micros=7_000_000),
        bought("somebody else's", earlier, user_id="bert"),
    ]
    answer = caller.call("POST", "/v1/conversions", {"events": events}).json()
    assert [one["status"] for one in answer["results"]] == ["recorded", "recorded"]
    late, other = Conversion.objects.order_by("pk")
    assert (late.visitor, late.value_micros) == ("", 7_000_000)
    assert other.visitor == pseudonym("bert")
    # Again is a duplicate still: the advertiser's own id decides.
    assert caller.call("POST", "/v1/conversions", {"events": events}).json()["duplicates"] == 2
    assert erasure.held_of_erased() == {}
    assert not Visitor.objects.exists()


def test_what_was_bought_after_the_erasure_begins_anew(caller: Caller) -> None:
    erasure.erase(WHO, at=clock.now() - timedelta(hours=1))
    caller.call("POST", "/v1/conversions", {"events": [bought("anew", clock.now())]})
    assert Conversion.objects.get().visitor == pseudonym(WHO)
    assert erasure.held_of_erased() == {}
