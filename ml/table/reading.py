"""Anyone's table of clicks as numpy columns: which column means what, and the two files read side by side.

Outcome columns of the test file are not even read until somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.schema import Floats, Ints, Mask

Frame = Any  # pandas.DataFrame, which this module loads only when it reads
SEVERAL = "|"  # a categorical value "a|b" stands for the set {a, b}


class TableError(Exception):
    """The table cannot be used as described; the message is one line for the person who called."""


@dataclass(frozen=True)
class Meaning:
    """Which column is what. Either `label`, or `clicks` with `impressions`, is given."""

    label: str | None = None
    clicks: str | None = None
    impressions: str | None = None
    time: str | None = None
    user: str | None = None
    item: str | None = None
    group: str | None = None
    text: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    progressive: bool = False

    @property
    def outcomes(self) -> list[str]:
        """Columns that say what happened."""
        if self.clicks is not None and self.impressions is not None:
            return [self.clicks, self.impressions]
        if self.label is None:
            raise TableError("name a label column, or clicks and impressions")
        return [self.label]

    @property
    def inputs(self) -> list[str]:
        """Columns that are known beforehand."""
        single = [name for name in (self.time, self.user, self.item, self.group) if name is not None]
        return list(dict.fromkeys([*single, *self.text, *self.categorical, *self.numeric]))


@dataclass(frozen=True)
class Rows:
    """Train rows, then test rows. Codes are numbers of distinct values, −1 where missing.

    `rate` and `weight` are clicks per impression and impressions; NaN for test rows whose outcome is unknown.
    """

    is_test: Mask
    rate: Floats
    weight: Floats
    time: Floats | None
    user: Ints | None
    item: Ints | None
    group: Ints | None
    texts: list[str]
    text: Ints | None
    sets: list[list[tuple[int, ...]]]
    numeric: Floats
    meaning: Meaning

    def __len__(self) -> int:
        return len(self.is_test)


def read_rows(train: Path, test: Path, meaning: Meaning) -> Rows:
    """Both tables; outcomes of the test rows only when `meaning.progressive`."""
    if not (set(meaning.inputs) - {meaning.time, meaning.group}):
        raise TableError("name at least one of --user, --item, --text, --categorical, --numeric")
    before = read_columns(train, [*meaning.inputs, *meaning.outcomes])
    after = read_columns(test, [*meaning.inputs, *(meaning.outcomes if meaning.progressive else [])])
    if len(before) == 0 or len(after) == 0:
        raise TableError(f"{train if len(before) == 0 else test} has no rows")
    rate, weight = outcome(before, meaning)
    if meaning.progressive:
        later = outcome(after, meaning)
    else:
        later = (np.full(len(after), np.nan), np.full(len(after), np.nan))
    both = _stacked(before, after, meaning.inputs)
    text, texts = _texts(both, meaning.text)
    return Rows(
        is_test=np.arange(len(before) + len(after)) >= len(before),
        rate=np.concatenate([rate, later[0]]),
        weight=np.concatenate([weight, later[1]]),
        time=None if meaning.time is None else _times(both[meaning.time]),
        user=_codes(both, meaning.user),
        item=_codes(both, meaning.item),
        group=_groups(both, meaning.group),
        texts=texts,
        text=text,
        sets=[_sets(both[name]) for name in meaning.categorical],
        numeric=_numbers(both, meaning.numeric),
        meaning=meaning,
    )


def read_columns(path: Path, names: Iterable[str]) -> Frame:
    """The named columns of a parquet or csv file; anything wrong is a TableError."""
    import pandas as pd

    wanted = list(dict.fromkeys(names))
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path, columns=wanted)
        if path.name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, usecols=wanted)[wanted]
    except FileNotFoundError:
        raise TableError(f"{path} does not exist") from None
    except (OSError, ValueError, KeyError) as error:
        missing = sorted(set(wanted) - set(_column_names(path)))
        reason = f"has no column {', '.join(missing)}" if missing else f"cannot be read: {_first_line(error)}"
        raise TableError(f"{path} {reason}") from error
    raise TableError(f"{path} is neither .parquet nor .csv")


def outcome(frame: Frame, meaning: Meaning) -> tuple[Floats, Floats]:
    """(rate, weight) of each row, checked: labels lie in [0, 1], clicks do not exceed impressions."""
    if meaning.clicks is not None and meaning.impressions is not None:
        clicks, impressions = _number(frame, meaning.clicks), _number(frame, meaning.impressions)
        wrong = ~((clicks >= 0) & (clicks <= impressions))
        _refuse(wrong, "clicks must lie between 0 and impressions")
        shown = impressions > 0
        return np.divide(clicks, impressions, out=np.zeros(len(clicks)), where=shown), impressions
    label = _number(frame, meaning.outcomes[0])
    _refuse(~((label >= 0) & (label <= 1)), "labels must lie between 0 and 1")
    return label, np.ones(len(label))


def has_columns(path: Path, names: Iterable[str]) -> bool:
    """Whether the file has all of them."""
    return set(names) <= set(_column_names(path))


def _column_names(path: Path) -> list[str]:
    import pandas as pd
    from pyarrow import parquet

    try:
        if path.suffix == ".parquet":
            return list(parquet.read_schema(path).names)
        return list(pd.read_csv(path, nrows=0).columns)
    except (OSError, ValueError):
        return []


def _refuse(wrong: Mask, rule: str) -> None:
    if wrong.any():
        raise TableError(f"{rule}; row {int(np.flatnonzero(wrong)[0])} does not")


def _number(frame: Frame, name: str) -> Floats:
    import pandas as pd

    try:
        numbers: Floats = pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise TableError(f"column {name} is not a number: {_first_line(error)}") from error
    return numbers


def _numbers(frame: Frame, names: tuple[str, ...]) -> Floats:
    columns = [_number(frame, name) for name in names]
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _stacked(before: Frame, after: Frame, names: list[str]) -> Frame:
    import pandas as pd

    return pd.concat([before[names], after[names]], ignore_index=True)


def _codes(frame: Frame, name: str | None) -> Ints | None:
    import pandas as pd

    if name is None:
        return None
    codes: Ints = pd.factorize(frame[name])[0].astype(np.int64)
    return codes


def _groups(frame: Frame, name: str | None) -> Ints | None:
    codes = _codes(frame, name)
    if codes is not None:
        _refuse(codes < 0, f"column {name} must name a group in every row")
    return codes


def _times(column: Any) -> Floats:
    """Seconds where the column holds dates; otherwise the numbers themselves (weeks, counters)."""
    import pandas as pd

    try:
        if not pd.api.types.is_numeric_dtype(column):
            moment = pd.to_datetime(column, utc=True, format="mixed").to_numpy(dtype="datetime64[us]")
            times: Floats = moment.astype(np.int64) / 1e6
        else:
            times = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise TableError(f"column {column.name} is not a time: {_first_line(error)}") from error
    _refuse(np.isnan(times), f"column {column.name} must hold a time in every row")
    return times


def _texts(frame: Frame, names: tuple[str, ...]) -> tuple[Ints | None, list[str]]:
    """(number of its distinct text per row, the distinct texts); several columns are joined by a line."""
    import pandas as pd

    if not names:
        return None, []
    joined = frame[names[0]].fillna("").astype(str)
    for name in names[1:]:
        joined = joined + "\n" + frame[name].fillna("").astype(str)
    code, distinct = pd.factorize(joined)
    return code.astype(np.int64), [str(text) for text in distinct]


def _sets(column: Any) -> list[tuple[int, ...]]:
    """Each row's values as numbers; "a|b" is two values, a missing one is none."""
    numbers: dict[str, int] = {}
    known: dict[object, tuple[int, ...]] = {}
    rows: list[tuple[int, ...]] = []
    for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True):
        if missing:
            rows.append(())
            continue
        if value not in known:
            parts = [part for part in str(value).split(SEVERAL) if part]
            known[value] = tuple(numbers.setdefault(part, len(numbers)) for part in parts)
        rows.append(known[value])
    return rows


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
