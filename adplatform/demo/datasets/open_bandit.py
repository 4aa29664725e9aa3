"""The Open Bandit data set (ZOZOTOWN): logged recommendations of two policies with their propensities, as decisions.

Each row becomes a decision (slot: its site and position; mode: the policy that chose), its impression and, where one
came, its click, through the service that stores facts. They are marked as imported: no statistic, no training and no
bill counts them. What they are for is the report: from the uniformly random logs, what would the other policy have
earned? Its own logs know the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adplatform.accounts.models import Organisation
from adplatform.demo.datasets import logged, open_bandit_report, taken_over
from adplatform.demo.datasets.rows import DatasetError, ImportReport, numbers, read_table, sift
from ml.schema import Mask

SOURCE = "openbandit"
OWNER = "Open Bandit"
LANDING_URL = "https://research.zozo.com/data.html"
POLICIES = ("random", "bts")
SITES = ("all", "men", "women")
POSITIONS = (1, 2, 3)
COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")
CURRENCY = "JPY"
DAY = timedelta(days=1)
evaluate = open_bandit_report.evaluate


def load(path: Path) -> ImportReport:
    """Validate every log of the folder (or the one file) and take it over."""
    report = ImportReport()
    tables = {name: _valid(file, name, report) for name, file in _files(path).items()}
    report.added = _products(tables) | dict.fromkeys(("decisions", "impressions", "clicks"), 0)
    owner = _owner()
    ids = taken_over.creative_ids(owner, source=SOURCE)
    for (policy, site), table in tables.items():
        slots = logged.places(name=OWNER, currency=CURRENCY, positions=POSITIONS, site_name=site)
        rows = _shown(table, policy, site, ids)
        for kind, count in logged.record(rows, slots, source=SOURCE, advertiser=owner).items():
            report.added[kind] += count
    return report


def _files(path: Path) -> dict[tuple[str, str], Path]:
    """The logs by policy and site: those that lie in the folder, or the one that the path names."""
    known = {(policy, site): f"{policy}_{site}" for policy in POLICIES for site in SITES}
    if path.is_dir():
        found = {
            key: file
            for key, name in known.items()
            for file in (path / f"{name}.parquet", path / f"{name}.csv")
            if file.is_file()
        }
    else:
        found = {key: path for key, name in known.items() if path.stem == name}
    if not found:
        raise DatasetError(f"{path}: holds none of {', '.join(known.values())} (.parquet or .csv).")
    return found


def _valid(file: Path, name: tuple[str, str], report: ImportReport) -> pd.DataFrame:
    """The good rows of one log, with `row` as numbered in its file; the others are counted in `report`."""
    table = read_table(file, usual_name="", columns=COLUMNS)
    own = ImportReport(read=len(table))
    columns = {one: numbers(table[one]) for one in COLUMNS[1:]}
    rows = pd.DataFrame({**columns, "at": pd.to_datetime(table["timestamp"], errors="coerce", utc=True)})
    good = sift(own, faults(rows))
    report.read += own.read
    report.loaded += own.loaded
    for reason, one in own.rejected.items():
        report.rejected[f"{'_'.join(name)}: {reason}"] = one
    return rows.assign(row=np.arange(1, len(rows) + 1))[good]


def faults(rows: pd.DataFrame) -> list[tuple[str, Mask]]:
    """What makes a row unusable, in the order in which it is looked for."""

    def lacks(found: Any) -> Mask:
        mask: Mask = ~np.asarray(found, dtype=np.bool_)
        return mask

    item, propensity = rows["item_id"], rows["propensity_score"]
    return [
        ("the time cannot be read", lacks(rows["at"].notna())),
        ("the item is not a whole number from 0", lacks((item >= 0) & (item == np.floor(item)))),
        ("the position is not 1, 2 or 3", lacks(rows["position"].isin(POSITIONS))),
        ("click is not 0 or 1", lacks(rows["click"].isin((0, 1)))),
        ("the propensity is not a probability above 0", lacks((propensity > 0) & (propensity <= 1))),
    ]


def _owner() -> Organisation:
    return taken_over.organisation(name=OWNER, currency=CURRENCY)


def _products(tables: dict[tuple[str, str], pd.DataFrame]) -> dict[str, int]:
    """One campaign per site, one creative per item that its logs show."""
    flights = []
    for site in SITES:
        logs = [table for (_, of), table in tables.items() if of == site and len(table)]
        if logs:
            items = sorted({int(item) for log in logs for item in log["item_id"].unique()})
            flights.append(
                taken_over.Flight(
                    site,
                    min(log["at"].min() for log in logs).to_pydatetime(),
                    max(log["at"].max() for log in logs).to_pydatetime() + DAY,
                    [taken_over.Ad(str(item), f"{site.capitalize()} item {item}") for item in items],
                )
            )
    return taken_over.take_over(_owner(), flights, source=SOURCE, landing_url=LANDING_URL)


def _shown(
    table: pd.DataFrame, policy: str, site: str, ids: dict[tuple[str, str], tuple[int, int, int]]
) -> Iterator[logged.Shown]:
    for row in table.itertuples():
        creative, line_item, campaign = ids[site, str(int(row.item_id))]
        key = f"{policy} {site} {row.row}"
        yield logged.Shown(
            key=key,
            request=key,
            at=row.at.to_pydatetime(),
            position=int(row.position),
            visitor="",
            creative_id=creative,
            line_item_id=line_item,
            campaign_id=campaign,
            is_clicked=bool(row.click),
            mode=policy,
            propensity=float(row.propensity_score),
        )
