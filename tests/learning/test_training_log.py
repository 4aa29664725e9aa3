"""What training reads of the facts: the counted, and of what was found invalid later only what came before the finding."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from adplatform.events import backfilter
from adplatform.learning import export
from tests import factories
from tests.factories import NOON

HOUR = timedelta(hours=1)


@pytest.mark.django_db
def test_a_click_that_was_found_invalid_is_no_click_from_then_on() -> None:
    decision = factories.decision(served_at=NOON)
    factories.impression(decision, occurred_at=NOON)
    factories.click(decision, occurred_at=NOON + timedelta(seconds=20))
    backfilter.invalidate({("click", decision.decision_id.hex): "repeated"}, at=NOON + HOUR)

    before, after = (export.training_log(until=NOON + hours * HOUR).log for hours in (1, 2))
    assert (len(before), len(after)) == (1, 1)
    assert before.click_time.tolist() == [(NOON + timedelta(seconds=20)).timestamp()]
    assert np.isnan(after.click_time).all()


@pytest.mark.django_db
def test_an_impression_that_was_found_invalid_is_left_out() -> None:
    decision = factories.decision(served_at=NOON)
    factories.impression(decision, occurred_at=NOON)
    backfilter.invalidate({("impression", decision.decision_id.hex): "repeated"}, at=NOON + HOUR)
    assert [len(export.training_log(until=NOON + hours * HOUR)) for hours in (1, 2)] == [1, 0]
