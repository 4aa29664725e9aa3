"""The candidate table of the shop: which of 21 products a visitor buys next, written once by a seeded draw.

One group is one purchase: the product bought and 20 others, drawn by how many orders held them strictly before that
moment. What the visitor bought in the same order is no candidate of his other purchases. A product that nobody had
bought before is left out as an answer, since it could never have been drawn as a rival and so would give itself away.
Price and description are those of the product's last sale before that moment.

The whole year would make eight million rows. To stay within minutes on one core, a seeded share of the visitors is
kept with all their orders, and of an order's products at most a few, drawn by chance; popularity counts all orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Frame = Any  # pandas.DataFrame
RIVALS = 20
WARM_UP_DAYS = 31  # popularity needs a past before it can draw rivals
VISITORS, ANSWERS_PER_ORDER = 1_200, 2


@dataclass
class _Shelf:
    """What is known of the products at a moment: in how many orders each was, its last price and description."""

    orders: Any
    price: Any
    described: list[str]

    def sold(self, lines: Frame) -> None:
        """Add the lines of orders that are now in the past."""
        product = lines["product"].to_numpy()
        np.add.at(self.orders, product, 1)
        self.price[product] = lines["price"].to_numpy()
        for place, text in zip(product.tolist(), lines["description"].tolist(), strict=True):
            self.described[place] = text


def order_lines(sheet: Frame) -> Frame:
    """Lines of real orders by known visitors, one per order and product, in order of time.

    Left out: cancellations, returns, gifts and what is no product (postage, adjustments): product codes begin
    with five digits.
    """
    import pandas as pd

    is_order = (
        sheet["Customer ID"].notna()
        & ~sheet["Invoice"].astype(str).str.startswith("C")
        & (sheet["Quantity"] > 0)
        & (sheet["Price"] > 0)
        & sheet["StockCode"].astype(str).str.match(r"\d{5}")
    )
    lines = sheet[is_order]
    table = pd.DataFrame(
        {
            "order": lines["Invoice"].astype(str),
            "visitor": lines["Customer ID"].astype("int64"),
            "at": pd.to_datetime(lines["InvoiceDate"]).astype("datetime64[s]"),
            "stock_code": lines["StockCode"].astype(str).str.upper(),
            "description": lines["Description"].fillna("").astype(str).str.strip(),
            "price": lines["Price"].astype("float64"),
            "country": lines["Country"].astype(str),
        }
    )
    # An order may span two minutes; its purchases are one moment, the first.
    table["at"] = table.groupby("order")["at"].transform("min")
    table = table.drop_duplicates(["order", "stock_code"]).sort_values(["at", "order"], kind="stable")
    table["product"], _ = pd.factorize(table["stock_code"])
    return table.reset_index(drop=True)


def candidate_table(
    lines: Frame,
    *,
    seed: int,
    visitors: int = VISITORS,
    answers_per_order: int = ANSWERS_PER_ORDER,
    warm_up_days: int = WARM_UP_DAYS,
) -> Frame:
    """21 rows per chosen purchase: group, at, visitor, product, description, price, country, bought."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    chosen = _chosen_lines(lines, rng, visitors, answers_per_order, warm_up_days)
    shelf = _Shelf(
        orders=np.zeros(int(lines["product"].max()) + 1, dtype=np.int64),
        price=np.full(int(lines["product"].max()) + 1, np.nan),
        described=[""] * (int(lines["product"].max()) + 1),
    )
    codes = lines.drop_duplicates("product").set_index("product")["stock_code"].to_dict()
    rows: list[tuple[Any, ...]] = []
    group = 0
    lines = lines.assign(chosen=lines.index.isin(chosen))
    for at, moment in lines.groupby("at", sort=True):
        for order, wanted in moment[moment["chosen"]].groupby("order", sort=False):
            basket = moment.loc[moment["order"] == order, "product"].to_numpy()
            for line in wanted.itertuples():
                offered = _offer(shelf, line.product, basket, rng)
                for product in offered:
                    seen = (shelf.described[product], shelf.price[product])
                    bought = int(product == line.product)
                    rows.append((group, at, line.visitor, codes[product], *seen, line.country, bought))
                group += len(offered) > 0
        shelf.sold(moment)
    names = ("group", "at", "visitor", "product", "description", "price", "country", "bought")
    return pd.DataFrame(rows, columns=list(names))


def _chosen_lines(
    lines: Frame, rng: np.random.Generator, visitors: int, answers_per_order: int, warm_up_days: int
) -> Any:
    """Index of the purchases that become groups."""
    known = np.sort(lines["visitor"].unique())
    kept = rng.permutation(known)[:visitors]
    start = lines["at"].min() + np.timedelta64(warm_up_days, "D")
    mine = lines[lines["visitor"].isin(kept) & (lines["at"] >= start)]
    shuffled = mine.iloc[rng.permutation(len(mine))]
    return shuffled.groupby("order", sort=False).head(answers_per_order).index


def _offer(shelf: _Shelf, answer: int, basket: Any, rng: np.random.Generator) -> list[int]:
    """The answer and its rivals in a chance order; nothing where either is not to be had."""
    popularity = shelf.orders.astype(np.float64)
    popularity[basket] = 0.0
    if shelf.orders[answer] == 0 or np.count_nonzero(popularity) < RIVALS:
        return []
    rivals = rng.choice(len(popularity), RIVALS, replace=False, p=popularity / popularity.sum())
    return [int(product) for product in rng.permutation([answer, *rivals])]
