"""Purchases become what consenting visitors did; returns, fees and strangers stay outside with their reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adplatform.audience.models import Behaviour, Consent, Visitor
from adplatform.campaigns.models import Campaign, Creative, Status
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.datasets import online_retail, retail_models, retail_report

pytestmark = pytest.mark.django_db
START = datetime(2010, 1, 4, 9, tzinfo=UTC)
GOOD = {
    "Invoice": "489434",
    "StockCode": "85048",
    "Description": "CHRISTMAS GLASS BALL",
    "Quantity": 12,
    "InvoiceDate": START,
    "Price": 6.95,
    "Customer ID": 13085,
}


def file(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "retail.csv"
    pd.DataFrame([GOOD | row for row in rows]).to_csv(path, index=False)
    return path


def test_a_purchase_belongs_to_a_consenting_visitor_under_a_pseudonym(tmp_path: Path) -> None:
    report = online_retail.load(file(tmp_path, {}))
    assert report.added == {"visitors": 1, "purchases": 1, "campaigns": 1, "creatives": 1}
    bought = Behaviour.objects.get()
    assert bought.visitor.pseudonym == pseudonym("online_retail:13085")
    assert (bought.kind, bought.item, bought.text) == ("purchase", "85048", "CHRISTMAS GLASS BALL")
    assert bought.value_micros == 83_400_000
    assert bought.occurred_at == START
    consent = Consent.objects.get()
    assert (consent.is_granted, consent.source, consent.visitor) == (True, "import", bought.visitor)
    creative = Creative.objects.get()
    assert (creative.headline, creative.external_key, creative.status) == (
        "CHRISTMAS GLASS BALL",
        "85048",
        "archived",
    )
    assert set(Campaign.objects.values_list("status", "source")) == {(Status.ARCHIVED, "online_retail")}


def test_lines_of_one_moment_are_one_purchase_under_the_usual_description(tmp_path: Path) -> None:
    later = START + timedelta(days=1)
    rows = [{}, {"Quantity": 3}, {"Description": "BALL?", "InvoiceDate": later}, {"Customer ID": 7}]
    report = online_retail.load(file(tmp_path, *rows))
    assert (report.loaded, report.added["purchases"]) == (4, 3)
    assert set(Behaviour.objects.values_list("text", flat=True)) == {"CHRISTMAS GLASS BALL"}
    first = Behaviour.objects.get(visitor__pseudonym=pseudonym("online_retail:13085"), occurred_at=START)
    assert first.value_micros == 104_250_000


MALFORMED = [
    ({"Invoice": "C489449"}, "a cancellation (invoice C…)"),
    ({"Quantity": -12}, "the quantity is not positive"),
    ({"Quantity": "a dozen"}, "quantity or price is not a number"),
    ({"Price": 0}, "the price is not positive"),
    ({"InvoiceDate": "yesterday"}, "the date cannot be read"),
    ({"Customer ID": ""}, "no customer"),
    ({"Description": ""}, "no description"),
    ({"StockCode": "POST"}, "not a product (postage, fee, voucher, test)"),
    ({"StockCode": "DOT"}, "not a product (postage, fee, voucher, test)"),
    ({"StockCode": "M"}, "not a product (postage, fee, voucher, test)"),
    ({"StockCode": "gift_0001_30"}, "not a product (postage, fee, voucher, test)"),
]


@pytest.mark.parametrize(("fault", "reason"), MALFORMED)
def test_an_unusable_line_is_rejected_with_its_number_and_reason(
    tmp_path: Path, fault: dict[str, Any], reason: str
) -> None:
    report = online_retail.load(file(tmp_path, {}, fault, {"StockCode": "79323P"}))
    assert (report.read, report.loaded) == (3, 2)
    assert {name: one.first_rows for name, one in report.rejected.items()} == {reason: [2]}
    assert Behaviour.objects.count() == 2


def test_a_second_import_changes_nothing(tmp_path: Path) -> None:
    path = file(tmp_path, {}, {"StockCode": "79323P"}, {"Customer ID": 7})
    online_retail.load(path)
    models = (Visitor, Consent, Behaviour, Campaign, Creative)
    before = [list(model.objects.order_by("pk").values()) for model in models]
    assert set(online_retail.load(path).added.values()) == {0}
    assert [list(model.objects.order_by("pk").values()) for model in models] == before


def test_a_file_of_nothing_usable_loads_nothing(tmp_path: Path) -> None:
    assert set(online_retail.load(file(tmp_path, {"Price": 0})).added.values()) == {0}
    assert retail_report.evaluate()[0] == ["Fewer than 200 purchases: nothing to compare."]


def test_picks_from_earlier_purchases_find_later_ones(tmp_path: Path) -> None:
    """Customers who buy from one shelf go on to buy from it: our picks find that, popularity cannot."""
    rng = np.random.default_rng(2)
    shelves = [["GARDEN", "ROSE", "SPADE"], ["KITCHEN", "PAN", "SPOON"], ["PARTY", "BALLOON", "CANDLE"]]
    rows = []
    for customer in range(90):
        words = shelves[customer % 3]
        for visit in range(12):
            product = int(rng.integers(0, 30))
            code = f"{10_000 + 100 * (customer % 3) + product}"
            text = f"{words[0]} {words[1 + product % 2]} NUMBER {product}"
            moment = START + timedelta(
                days=8 * visit + int(rng.integers(0, 5)), minutes=int(rng.integers(600))
            )
            rows.append(
                {"Customer ID": customer, "StockCode": code, "Description": text, "InvoiceDate": moment}
            )
    online_retail.load(file(tmp_path, *rows))
    lines, figures = retail_report.evaluate()
    new = figures["hit_rate"]["new products"]
    assert new["blender"]["hit_rate"][0] > new["popularity"]["hit_rate"][0] + 0.1
    assert any("ten picks per customer" in line for line in lines)
    assert figures["purchases"] == 1_080


def test_co_purchase_scores_what_others_bought_too() -> None:
    bought = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]], np.bool_)
    scores = retail_models.co_purchase(bought)
    assert scores[2, 1] > scores[2, 2] == 0.0
    np.testing.assert_allclose(scores[2, 1], 2 / np.sqrt(3 * 2), rtol=1e-6)
