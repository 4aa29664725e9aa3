"""What an order is worth: means against those that lean and are cut. `python -m bench.amounts online_retail_ii.parquet`

Orders of 2009 and 2010 in order of time: 65 % fit, 15 % choose the strength, 20 % test. Gamma deviance does not let a
few large orders decide alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ml.schema import Floats
from ml.value.amounts import fit_amounts

Frame = Any  # pandas.DataFrame with amount, owner, group
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
Guess = Callable[[Frame, Frame, float], Floats]


def deviance(amount: Floats, mean: Floats) -> float:
    """Mean gamma deviance."""
    ratio = amount / mean
    return float((2 * (ratio - 1 - np.log(ratio))).mean())


def mean(known: Frame, asked: Frame, _strength: float) -> Floats:
    """The group's mean, of everything where there is none."""
    return (
        asked["group"].map(known.groupby("group")["amount"].mean()).fillna(known["amount"].mean()).to_numpy()
    )


def leaning(known: Frame, asked: Frame, strength: float) -> Floats:
    """Group on owner, owner on everything."""
    overall = known["amount"].mean()
    owners = known.groupby("owner")["amount"].agg(["sum", "count"])
    of_owner = (owners["sum"] + strength * overall) / (owners["count"] + strength)
    groups = known.groupby("group").agg(
        total=("amount", "sum"), count=("amount", "size"), owner=("owner", "first")
    )
    of_group = (groups["total"] + strength * groups["owner"].map(of_owner)) / (groups["count"] + strength)
    found = asked["group"].map(of_group).fillna(asked["owner"].map(of_owner)).fillna(overall)
    return np.asarray(found, np.float64)


def cut(known: Frame, asked: Frame, strength: float) -> Floats:
    """What serves."""
    paths = list(zip(known["owner"].tolist(), known["group"].tolist(), strict=True))
    model = fit_amounts(known["amount"].to_numpy(), paths, strength=strength)
    overall = float(known["amount"].mean())
    wanted = zip(asked["owner"].tolist(), asked["group"].tolist(), strict=True)
    return np.array([model.expected(path) or overall for path in wanted])


def smeared(known: Frame, asked: Frame, strength: float) -> Floats:
    """Means of logarithms that lean, raised back with Duan's smearing, one for each owner."""
    logs = known.assign(amount=np.log(known["amount"]))
    middle = leaning(logs, known, strength)
    factor = np.exp(logs["amount"] - middle).groupby(known["owner"]).mean()
    found = np.exp(leaning(logs, asked, strength)) * asked["owner"].map(factor).fillna(factor.mean())
    return np.asarray(found, np.float64)


GUESSES: dict[str, Guess] = {
    "mean": mean,
    "mean, leaning": leaning,
    "lognormal, leaning, smeared": smeared,
    "cut, leaning (serves)": cut,
}


def compare(name: str, orders: Frame) -> None:
    orders = orders.sort_values("InvoiceDate", kind="stable")
    first, second = round(len(orders) * 0.65), round(len(orders) * 0.8)
    fits, chooses, known, test = orders[:first], orders[first:second], orders[:second], orders[second:]
    print(f"{name}: {len(orders)} amounts, {orders['group'].nunique()} groups")
    for title, guess in GUESSES.items():
        losses = {k: deviance(chooses["amount"].to_numpy(), guess(fits, chooses, k)) for k in STRENGTHS}
        best = min(losses, key=lambda k: losses[k])
        told, amount = guess(known, test, best), test["amount"].to_numpy()
        print(
            f"  {title:30}deviance {deviance(amount, told):.3f}  predicted/observed {told.sum() / amount.sum():.3f}"
        )


def main() -> None:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    lines = pd.read_parquet(parser.parse_args().table)
    lines = lines[~lines["Invoice"].astype(str).str.startswith("C")]
    lines = lines.assign(amount=lines["Quantity"] * lines["Price"])
    lines = lines[lines["amount"] > 0]

    def code(column: Any) -> Any:
        return column.astype(str).astype("category").cat.codes.astype(int)

    compare(
        "lines by product",
        lines.assign(group=code(lines["StockCode"]), owner=code(lines["StockCode"].astype(str).str[:2])),
    )
    orders = lines.groupby("Invoice").agg(
        amount=("amount", "sum"),
        InvoiceDate=("InvoiceDate", "first"),
        customer=("Customer ID", "first"),
        country=("Country", "first"),
    )
    compare(
        "orders by customer", orders.assign(group=code(orders["customer"]), owner=code(orders["country"]))
    )
    compare("orders by country", orders.assign(group=code(orders["country"]), owner=0))


if __name__ == "__main__":
    main()
