"""What every import shares: reading a file, counting what came of its rows, and saying so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.schema import Column, Floats, Mask

SHOWN_ROWS = 5


class DatasetError(Exception):
    """The file cannot be imported at all; one sentence that says why."""


@dataclass
class Rejected:
    """How many rows one reason turned away, and the numbers of the first of them."""

    count: int = 0
    first_rows: list[int] = field(default_factory=list)


@dataclass
class ImportReport:
    """Rows read, loaded and rejected. Rows are numbered from 1, the first one below the header.

    `added` counts what the platform did not have before: nothing, when a file is imported again.
    """

    read: int = 0
    loaded: int = 0
    rejected: dict[str, Rejected] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)

    def reject(self, rows: Sequence[int], reason: str) -> None:
        """Count these row numbers under the reason."""
        if len(rows):
            found = self.rejected.setdefault(reason, Rejected())
            found.count += len(rows)
            found.first_rows += [int(row) for row in rows[: SHOWN_ROWS - len(found.first_rows)]]

    @property
    def refused(self) -> int:
        return sum(one.count for one in self.rejected.values())

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        reasons = {
            reason: {"rows": one.count, "first": one.first_rows} for reason, one in self.rejected.items()
        }
        return {
            "read": self.read,
            "loaded": self.loaded,
            "rejected": self.refused,
            "reasons": reasons,
            "added": self.added,
        }

    def lines(self) -> Iterable[str]:
        """For people."""
        yield f"read {self.read:,} rows, loaded {self.loaded:,}, rejected {self.refused:,}"
        for reason, one in sorted(self.rejected.items(), key=lambda pair: -pair[1].count):
            more = ", …" if one.count > len(one.first_rows) else ""
            yield f"  rejected {one.count:,}: {reason} (row {', '.join(map(str, one.first_rows))}{more})"
        yield "added " + ", ".join(f"{count:,} {name}" for name, count in self.added.items())


def read_table(path: Path, *, usual_name: str, columns: Sequence[str]) -> pd.DataFrame:
    """The columns of a parquet or csv file (or of the folder that holds the usual one); csv values stay text."""
    file = path / usual_name if path.is_dir() else path
    if not file.is_file():
        raise DatasetError(f"{file}: no such file.")
    try:
        if file.suffix == ".parquet":
            table = pd.read_parquet(file)
        else:
            table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from error
    if lacking := [name for name in columns if name not in table.columns]:
        raise DatasetError(f"{file}: lacks {', '.join(lacking)}.")
    return table[list(columns)]


def numbers(column: pd.Series[Any]) -> Floats:
    """The column as floats, NaN where it holds no number."""
    found: Floats = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return found


def texts(column: pd.Series[Any]) -> Column:
    """The column as stripped text, empty where it holds nothing."""
    filled = column.astype("object").where(column.notna(), "")
    found: Column = filled.astype(str).str.strip().to_numpy(object)
    return found


def sift(report: ImportReport, faults: Sequence[tuple[str, Mask]]) -> Mask:
    """Which rows have no fault; each other row is rejected for the first of its faults."""
    good = np.ones(report.read, np.bool_)
    for reason, is_faulty in faults:
        report.reject((np.flatnonzero(good & is_faulty) + 1).tolist(), reason)
        good &= ~is_faulty
    report.loaded = int(good.sum())
    return good
