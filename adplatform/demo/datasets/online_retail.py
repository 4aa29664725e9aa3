"""UCI Online Retail II: customers as consenting visitors, what they bought as behaviour, products as creatives.

Lines of one invoice about one product are one purchase. Cancellations, returns, postage, fees, vouchers and lines
without a customer are turned away with their reason. The creatives never serve; amounts are micros of GBP.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adplatform.audience import services as audience
from adplatform.audience.models import Behaviour
from adplatform.core.pseudonym import pseudonym
from adplatform.demo.datasets import retail_report, taken_over
from adplatform.demo.datasets.rows import ImportReport, numbers, read_table, sift, texts
from ml.schema import Mask

SOURCE = "online_retail"
OWNER = "Online Retail II"
CATALOGUE = "Catalogue"
LANDING_URL = "https://archive.ics.uci.edu/dataset/502/online+retail+ii"
FILE = "online_retail_ii_2009_2010.parquet"
COLUMNS = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID")
PRODUCT_CODE = r"\d{5}[A-Za-z]{0,2}"
MICROS = 1_000_000
evaluate = retail_report.evaluate


def load(path: Path) -> ImportReport:
    """Validate the file and take it over."""
    table = read_table(path, usual_name=FILE, columns=COLUMNS)
    report = ImportReport(read=len(table))
    rows = pd.DataFrame(
        {
            "invoice": texts(table["Invoice"]),
            "item": texts(table["StockCode"]),
            "text": texts(table["Description"]),
            "customer": _customers(table["Customer ID"]),
            "quantity": numbers(table["Quantity"]),
            "price": numbers(table["Price"]),
            "at": pd.to_datetime(table["InvoiceDate"], errors="coerce", utc=True),
        }
    )
    rows = rows[sift(report, faults(rows))]
    purchases = merged(rows)
    report.added = _take_over(purchases)
    return report


def faults(rows: pd.DataFrame) -> list[tuple[str, Mask]]:
    """What makes a line unusable, in the order in which it is looked for."""

    def mask(column: Any) -> Mask:
        found: Mask = np.asarray(column, dtype=np.bool_)
        return found

    quantity, price = rows["quantity"].to_numpy(), rows["price"].to_numpy()
    return [
        ("quantity or price is not a number", mask(np.isnan(quantity) | np.isnan(price))),
        ("the date cannot be read", mask(rows["at"].isna())),
        ("a cancellation (invoice C…)", mask(rows["invoice"].str.upper().str.startswith("C"))),
        ("the quantity is not positive", mask(quantity <= 0)),
        ("the price is not positive", mask(price <= 0)),
        ("no customer", mask(rows["customer"] == "")),
        ("no description", mask(rows["text"] == "")),
        ("not a product (postage, fee, voucher, test)", mask(~rows["item"].str.fullmatch(PRODUCT_CODE))),
    ]


def merged(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per customer, product and moment, in time order, under the product's most usual description."""
    rows = rows.assign(
        item=rows["item"].str.upper(),
        value=(rows["quantity"] * rows["price"] * MICROS).round().astype(np.int64),
    )
    counts = rows.groupby(["item", "text"], sort=True).size().reset_index(name="lines")
    usual = counts.sort_values(["lines", "text"], ascending=[False, True], kind="stable").drop_duplicates(
        "item"
    )
    grouped = rows.groupby(["customer", "item", "at"], sort=True)["value"].sum().reset_index()
    found: pd.DataFrame = grouped.merge(usual[["item", "text"]], on="item").sort_values(
        ["at", "customer", "item"], kind="stable"
    )
    return found


def _take_over(purchases: pd.DataFrame) -> dict[str, int]:
    if purchases.empty:
        return {"visitors": 0, "purchases": 0, "campaigns": 0, "creatives": 0}
    names = {customer: pseudonym(f"{SOURCE}:{customer}") for customer in purchases["customer"].unique()}
    purchases = purchases.assign(visitor=purchases["customer"].map(names))
    spans = purchases.groupby("visitor")["at"].agg(["min", "max"])
    seen = [
        audience.Seen(row.Index, row.min.to_pydatetime(), row.max.to_pydatetime())
        for row in spans.itertuples()
    ]
    first, last = purchases["at"].min().to_pydatetime(), purchases["at"].max().to_pydatetime()
    visitors = audience.record_visitors(seen, source=SOURCE)
    audience.record_consent(
        list(names.values()),
        is_granted=True,
        source="import",
        at=first,
        evidence="Anonymised open data (CC BY 4.0)",
    )
    acts = [
        audience.Act(
            row.visitor, Behaviour.Kind.PURCHASE, row.item, row.text, row.at.to_pydatetime(), row.value
        )
        for row in purchases.itertuples()
    ]
    added = audience.record_behaviours(acts, at=last)
    return {"visitors": visitors, "purchases": added, **_products(purchases, first, last)}


def _products(purchases: pd.DataFrame, first: datetime, last: datetime) -> dict[str, int]:
    owner = taken_over.organisation(name=OWNER, currency="GBP")
    products = purchases.drop_duplicates("item").sort_values("item")
    ads = [taken_over.Ad(row.item, row.text) for row in products.itertuples()]
    flight = taken_over.Flight(CATALOGUE, first, last + timedelta(days=1), ads)
    return taken_over.take_over(owner, [flight], source=SOURCE, landing_url=LANDING_URL)


def _customers(column: pd.Series[Any]) -> Any:
    """Customer numbers as text; '13085.0' of a csv is 13085."""
    return pd.Series(texts(column)).str.removesuffix(".0").to_numpy(object)
