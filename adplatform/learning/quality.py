"""The state of the training data before anything is learned from it: examined, kept as a report, and refused if bad.

`ml.quality` judges; here is what it is given, and where its report goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings

from adplatform.audience.models import Behaviour
from adplatform.campaigns.models import Creative, LineItem
from adplatform.core import clock
from adplatform.events.models import Conversion
from adplatform.learning import embeddings
from adplatform.learning.dataset import Dataset
from adplatform.learning.models import DataReport, TrainingRun
from adplatform.learning.training import Material
from ml.ctr.train import TrainingError
from ml.quality import examine as judging
from ml.quality.report import Report, Thresholds
from ml.schema import Floats, Mask

KEPT_REPORTS = 400  # more than a year of days
VALUE_DAYS = 90


class ThresholdError(ValueError):
    """A threshold in the settings that does not exist."""


def thresholds() -> Thresholds:
    """The defaults with what the settings say otherwise (QUALITY_THRESHOLDS)."""
    known = {field.name: field.type for field in fields(Thresholds)}
    changed = settings.QUALITY_THRESHOLDS
    unknown = sorted(set(changed) - set(known))
    if unknown:
        raise ThresholdError(
            f"ADPLATFORM_QUALITY names no such threshold: {', '.join(unknown)}. Known: {', '.join(known)}."
        )
    whole: dict[str, Any] = {
        name: int(value) if known[name] == "int" else value for name, value in changed.items()
    }
    return Thresholds(**whole)


def examine(data: Dataset, *, at: datetime, raw: Mapping[str, Floats] | None = None) -> Report:
    """What is to be said of the training table as it stood at `at`; `raw` spares the replay where it was made."""
    return judging.examine(
        data.log,
        at=at.timestamp(),
        raw=raw,
        covered={"text of ad and reader": data.has_text, "ad in a language of the encoder": _spoken(data)},
        columns=_values(at),
        flights=_flights(data),
        limits=thresholds(),
    )


def guard(run: TrainingRun, prepared: Material, *, at: datetime) -> None:
    """Examine what this run is about to learn from; its report goes to the run. Raises TrainingError where it is bad."""
    report = examine(prepared.data, at=at, raw=prepared.raw)
    run.metrics = {**run.metrics, "quality": keep(report, at=at, run=run).report}
    if report.refusals:
        raise TrainingError("the data are refused. " + " ".join(report.refusals).rstrip("."))


def keep(report: Report, *, at: datetime, run: TrainingRun | None = None) -> DataReport:
    """Store a report; the oldest ones go."""
    row = DataReport.objects.create(
        examined_at=clock.now(),
        data_until=at,
        run=run,
        rows=report.rows,
        severity=str(report.severity),
        refusals=report.refusals,
        report=report.as_dict(),
    )
    stale = DataReport.objects.order_by("-examined_at", "-pk")[KEPT_REPORTS:].values_list("pk", flat=True)
    DataReport.objects.filter(pk__in=list(stale)).delete()
    return row


def words(report: Report) -> str:
    """The report in one sentence or two."""
    if report.refusals:
        return "Training on these data is refused. " + " ".join(report.refusals)
    loud = [one.words for one in report.findings if one.severity != "ok"]
    if not loud:
        return f"{report.rows:,} impressions: nothing to remark."
    return f"{report.rows:,} impressions, {len(loud)} remarks: " + " ".join(loud)


def _spoken(data: Dataset) -> Mask:
    """Rows whose ad says that it is in the encoder's language."""
    own = embeddings.encoder().language
    ids = np.unique(data.log.creative)
    rows = Creative.objects.filter(pk__in=ids.tolist()).values_list("pk", "language")
    foreign = [pk for pk, language in rows if embeddings.is_foreign(language, own=own)]
    return ~np.isin(data.log.creative, foreign)


def _flights(data: Dataset) -> dict[object, tuple[float, float]]:
    """Start and end of the campaign of each line item, seconds."""
    ids = np.unique(data.log.line_item).tolist()
    rows = LineItem.objects.filter(pk__in=ids).values_list(
        "pk", "campaign__start_at", "campaign__end_at", "campaign__source"
    )
    return {
        pk: (start.timestamp(), end.timestamp() if end else np.inf)
        for pk, start, end, source in rows
        if source in {"live", "demo"}
    }


def _values(at: datetime) -> dict[str, Any]:
    """Money that advertisers and importers report: logarithms, since amounts spread over powers of ten."""
    since = at - timedelta(days=VALUE_DAYS)
    reported = {
        "log of a conversion's value": Conversion.objects.filter(
            occurred_at__range=(since, at), value_micros__gt=0
        ),
        "log of a purchase's value": Behaviour.objects.filter(
            occurred_at__range=(since, at), value_micros__gt=0
        ),
    }
    columns = {
        name: np.log(np.array(rows.values_list("value_micros", flat=True), np.float64))
        for name, rows in reported.items()
    }
    return {name: column for name, column in columns.items() if len(column)}
