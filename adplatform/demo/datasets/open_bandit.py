"""The Open Bandit data set (ZOZOTOWN): logged recommendations of two policies with their propensities, as decisions.

Each row becomes a decision (slot: its site and position; mode: the policy that chose), its impression and, where one
came, its click, through the service that stores facts. They are marked as imported: no statistic, no training and no
bill counts them. What they are for is the report: from the uniformly random logs, what would the other policy have
earned? Its own logs know the answer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adplatform.accounts.models import Organisation
from adplatform.accounts.services import audit
from adplatform.billing import queries as billing
from adplatform.core import clock
from adplatform.demo.datasets import open_bandit_report, taken_over
from adplatform.demo.datasets.rows import DatasetError, ImportReport, numbers, read_table, sift
from adplatform.events import store
from adplatform.events.models import AdDecision, Click, Impression
from adplatform.events.records import DecisionRecord, Record, Served, TokenEvent
from adplatform.inventory.models import AdSlot
from adplatform.inventory.services import save_site, save_slot
from ml.schema import Mask

SOURCE = "openbandit"
OWNER = "Open Bandit"
LANDING_URL = "https://research.zozo.com/data.html"
POLICIES = ("random", "bts")
SITES = ("all", "men", "women")
POSITIONS = (1, 2, 3)
COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")
CURRENCY = "JPY"
AGENT = "import"  # which keeps events out of statistics, training and bills
BATCH = 1_000
DAY = timedelta(days=1)
CLICKED_AFTER = timedelta(seconds=1)  # the data set does not say when
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, LANDING_URL)
evaluate = open_bandit_report.evaluate


def load(path: Path) -> ImportReport:
    """Validate every log of the folder (or the one file) and take it over."""
    report = ImportReport()
    tables = {name: _valid(file, name, report) for name, file in _files(path).items()}
    before = _counts()
    report.added = _products(tables)
    slots = _slots()
    ids = taken_over.creative_ids(_owner(), source=SOURCE)
    for (policy, site), table in tables.items():
        for records in _batches(table, policy=policy, site=site, slots=slots, ids=ids):
            store.store(records, granted=billing.granted, at=clock.now())
    report.added |= {name: count - before[name] for name, count in _counts().items()}
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


def _slots() -> dict[tuple[str, int], AdSlot]:
    """The three places of each site; the sites are not active and serve nothing."""
    publisher, is_new = Organisation.objects.get_or_create(
        name=OWNER,
        kind=Organisation.Kind.PUBLISHER,
        defaults={"currency": CURRENCY, "is_active": False},
    )
    if is_new:
        audit(user=None, organisation=publisher, action="organisation.imported", target=OWNER)
        for name in SITES:
            site = save_site(
                user=None,
                publisher=publisher,
                name=name,
                domain=f"{name}.openbandit.example",
                is_active=False,
            )
            for position in POSITIONS:
                save_slot(user=None, site=site, name=f"{name} {position}", position=position)
    found = AdSlot.objects.filter(site__publisher=publisher).select_related("site")
    return {(slot.site.name, slot.position): slot for slot in found}


def _batches(
    table: pd.DataFrame,
    *,
    policy: str,
    site: str,
    slots: dict[tuple[str, int], AdSlot],
    ids: dict[tuple[str, str], tuple[int, int, int]],
) -> Iterator[list[Record]]:
    owner = _owner()
    for start in range(0, len(table), BATCH):
        records: list[Record] = []
        for row in table.iloc[start : start + BATCH].itertuples():
            slot = slots[site, int(row.position)]
            served = _served(row, policy, slot, owner.pk, ids[site, str(int(row.item_id))])
            records += _records(row, policy, slot, served)
        yield records


def _served(row: Any, policy: str, slot: AdSlot, advertiser_id: int, ids: tuple[int, int, int]) -> Served:
    at: datetime = row.at.to_pydatetime()
    creative, line_item, campaign = ids
    return Served(
        decision_id=uuid.uuid5(NAMESPACE, f"{policy} {slot.site.name} {row.row}").bytes,
        served_at=at,
        expires_at=at + DAY,
        slot_id=slot.pk,
        publisher_id=slot.site.publisher_id,
        advertiser_id=advertiser_id,
        campaign_id=campaign,
        line_item_id=line_item,
        creative_id=creative,
        visitor=b"",
        price_kind="cpm",
        charge_micros=0,
        currency=CURRENCY,
        source=SOURCE,
    )


def _records(row: Any, policy: str, slot: AdSlot, served: Served) -> list[Record]:
    """The decision, its impression, and its click where there was one."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("no_ad", "visitor", "country", "region", "language", "device"), ""
    )
    decision = DecisionRecord(
        decision_id=served.decision_id.hex(),
        request_id=served.decision_id.hex(),
        served_at=served.served_at,
        slot_id=slot.pk,
        site_id=slot.site_id,
        publisher_id=served.publisher_id,
        advertiser_id=served.advertiser_id,
        campaign_id=served.campaign_id,
        line_item_id=served.line_item_id,
        creative_id=served.creative_id,
        mode=policy,
        keywords="",
        position=slot.position,
        currency=CURRENCY,
        bid_micros=0,
        price_micros=0,
        floor_micros=0,
        price_kind="cpm",
        charge_micros=0,
        text_score=None,
        pctr=None,
        pcvr=None,
        propensity=float(row.propensity_score),
        candidates=0,
        refused={},
        versions={"policy": policy},
        seed=0,
        source=SOURCE,
        **nothing,
    )
    records: list[Record] = [decision, TokenEvent("impression", served, served.served_at, AGENT)]
    if row.click:
        records.append(TokenEvent("click", served, served.served_at + CLICKED_AFTER, AGENT))
    return records


def _counts() -> dict[str, int]:
    return {
        "decisions": AdDecision.objects.filter(source=SOURCE).count(),
        "impressions": Impression.objects.filter(source=SOURCE).count(),
        "clicks": Click.objects.filter(source=SOURCE).count(),
    }
