"""Charging a batch in sums bills the same events, and leaves the same budgets, as charging one after another."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from adplatform.campaigns import budgets
from adplatform.campaigns.models import Budget, Purse
from adplatform.events.models import Click
from adplatform.events.store import store
from tests import factories
from tests.events.streams import again, event, served
from tests.factories import NOON


class InSums(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(
        # Campaign (0 and 1 are of one advertiser), seconds after noon (over a midnight in Tokyo), micros.
        clicks=st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from([0, 3, 7, 3 * 3600]), st.integers(0, 9)), max_size=30
        ),
        days=st.lists(st.none() | st.integers(1, 60), min_size=3, max_size=3),
        flights=st.lists(st.none() | st.integers(1, 60), min_size=3, max_size=3),
        money=st.lists(st.integers(0, 90), min_size=2, max_size=2),
        size=st.integers(1, 30),
    )
    def test_as_one_by_one(self, clicks, days, flights, money, size) -> None:
        owners = [factories.organisation(time_zone="Asia/Tokyo") for _ in money]
        ads = [
            served(
                factories.creative(
                    factories.line_item(
                        factories.campaign(
                            organisation=owners[place // 2],
                            daily_budget_micros=day,
                            flight_budget_micros=flight,
                        )
                    )
                )
            )
            for place, (day, flight) in enumerate(zip(days, flights, strict=True))
        ]
        asked = [
            again(ads[of], served_at=NOON + timedelta(seconds=after), charge_micros=micros)
            for of, after, micros in clicks
        ]

        def granted(ids):
            return {owner.pk: micros for owner, micros in zip(owners, money, strict=True) if owner.pk in ids}

        with transaction.atomic():
            wanted = [
                budgets.charge(
                    [
                        budgets.Charge(ad.campaign_id, ad.advertiser_id, ad.served_at, ad.charge_micros)
                        for ad in asked[start : start + size]
                    ],
                    granted=granted,
                    at=NOON,
                )
                for start in range(0, len(asked), size)
            ]
            left = accounts()
            transaction.set_rollback(True)
        for start in range(0, len(asked), size):
            store([event("click", ad) for ad in asked[start : start + size]], granted=granted, at=NOON)
        reasons = {row.decision_id.bytes: row.reason for row in Click.objects.all()}
        assert [reasons[ad.decision_id] for ad in asked] == [
            refusal or "" for batch in wanted for refusal in batch
        ]
        assert accounts() == left


def accounts() -> list[tuple[object, ...]]:
    """What budgets and purses hold."""
    rows = Budget.objects.order_by("campaign_id", "date")
    return [
        *rows.values_list("campaign_id", "date", "amount_micros", "spent_micros", "recent_micros"),
        *Purse.objects.order_by("organisation_id").values_list(
            "organisation_id", "granted_micros", "spent_micros"
        ),
    ]
