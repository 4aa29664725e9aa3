"""Tuned LightGBM over our history features and the raw columns: what is left of us when only the features stay.

Runs in the platform's own environment: the features are those that fit-predict makes, from the same functions, also
of the test rows (whose earlier outcomes are known where the set is progressive).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import trees
from common import Answer, Table, main

from ml.table.model import _features
from ml.table.reading import Meaning, read_rows


def fit(table: Table, _variant: str, seed: int) -> Answer:
    """The search of trees.py over both kinds of columns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_known_args()[0].folder
    o = table.options
    single = {name: o[name] for name in ("label", "clicks", "impressions", "time", "user", "item", "group")}
    meaning = Meaning(
        **single,
        categorical=tuple(o["categorical"]),
        numeric=tuple(o["numeric"]),
        progressive=o["progressive"],
    )
    rows = read_rows(folder / "train.parquet", folder / "test.parquet", meaning)
    history = _features(rows, None, seed).X.astype(np.float32)
    raw, categorical = trees.matrix(table)
    return trees.tuned(np.column_stack([raw, history]), categorical, table, seed)


if __name__ == "__main__":
    main(fit, ("tuned",))
