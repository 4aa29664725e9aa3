"""What a publisher is shown as earned is what the books say, to the micro."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from adplatform.billing import services
from adplatform.billing.queries import earned_balance
from adplatform.insights import queries
from adplatform.insights.queries import Range
from tests import factories
from tests.factories import MICROS, NOON

pytestmark = pytest.mark.django_db
JUNE = Range(date(2026, 6, 1), date(2026, 6, 30))


def billed_click(slot: object, line_item: object, micros: int) -> None:
    """A click that was charged, with the statistics that ingest writes beside it."""
    creative = factories.creative(line_item)
    decision = factories.decision(creative, slot)
    factories.click(decision, charge_micros=micros)
    factories.hourly_stat(creative, slot, spend_micros=micros, clicks=1, impressions=1)


def test_a_cell_that_was_settled_twice_equals_the_ledger() -> None:
    slot = factories.slot(factories.site(factories.publisher(revenue_share_bp=6_667)))
    line_item = factories.line_item()
    publisher, advertiser = slot.site.publisher, line_item.campaign.organisation
    services.deposit(advertiser, 10 * MICROS, key="transfer", at=NOON)
    for micros in (1_001, 1_004):  # the parts round down to 667 and 669, the sum would to 1,336
        billed_click(slot, line_item, micros)
        services.settle(at=NOON + timedelta(hours=1))
    assert earned_balance(publisher) == 667 + 669
    assert queries.totals(publisher, JUNE).earned_micros == earned_balance(publisher)
    assert queries.totals(publisher, JUNE).spend_micros == 2_005


def test_a_new_share_does_not_change_what_was_settled() -> None:
    slot, line_item = factories.slot(), factories.line_item()
    publisher = slot.site.publisher
    services.deposit(line_item.campaign.organisation, 10 * MICROS, key="transfer", at=NOON)
    billed_click(slot, line_item, 1_000_000)
    services.settle(at=NOON + timedelta(hours=1))
    publisher.revenue_share_bp = 5_000
    publisher.save()
    assert queries.totals(publisher, JUNE).earned_micros == earned_balance(publisher) == 700_000
    billed_click(slot, line_item, 1_000_000)  # late, not settled yet: today's share
    assert queries.totals(publisher, JUNE).earned_micros == 1_200_000
