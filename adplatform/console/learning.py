"""Trained models: which serve, what the gate said of each, and the way back to the ones before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adplatform.accounts.services import audit
from adplatform.console.access import operator, operator_page
from adplatform.core import clock
from adplatform.learning.models import ModelVersion, TrainingRun

Stage = ModelVersion.Stage
TONES = {Stage.CHAMPION: "ok", Stage.CHALLENGER: "learn", Stage.REFUSED: "bad", Stage.RETIRED: "paused"}
PAGE_SIZE = 20
MEASURES = {
    "ne": gettext_lazy("Normalised entropy"),
    "log_loss": gettext_lazy("Log loss"),
    "auc": gettext_lazy("AUC"),
    "calibration": gettext_lazy("Calibration"),
    "ece": gettext_lazy("Calibration error"),
    "precision": gettext_lazy("Precision"),
    "recall": gettext_lazy("Recall"),
}
MODELS = {
    "challenger": gettext_lazy("Challenger"),
    "champion": gettext_lazy("Champion before"),
    "prior": gettext_lazy("Prior alone"),
    "no_transformer": gettext_lazy("Without the transformer"),
    "no_blender": gettext_lazy("Without the blender"),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Models by measures; `rows` are (version, words, cells)."""

    title: str
    measures: list[str]
    rows: list[tuple[str, str, list[float | None]]]


@operator_page
def models(request: HttpRequest) -> HttpResponse:
    runs = TrainingRun.objects.prefetch_related("versions").order_by("-started_at")
    page = Paginator(runs, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "section": "models",
        "champions": [_card(kind) for kind in ModelVersion.Kind],
        "page_obj": page,
        "runs": [
            (run, tables(run.metrics), [_version(version) for version in run.versions.all()]) for run in page
        ],
        "can_roll_back": ModelVersion.objects.filter(stage=Stage.RETIRED, promoted_at__isnull=False).exists(),
    }
    return render(request, "console/models.html", context)


@require_POST
@operator_page
def rollback(request: HttpRequest) -> HttpResponse:
    """Back to the champions before; they serve with the next snapshot."""
    from adplatform.learning import registry  # numpy and the models' code: only where it is needed

    try:
        restored = registry.rollback(at=clock.now())
    except registry.RegistryError as error:
        messages.error(request, str(error))
        return redirect("console:models")
    names = ", ".join(version.name for version in restored)
    audit(user=operator(request), organisation=None, action="models.rolled_back", target=names)
    messages.success(request, _("%(names)s serve again within seconds.") % {"names": names})
    return redirect("console:models")


def _card(kind: ModelVersion.Kind) -> dict[str, Any]:
    champion = ModelVersion.objects.filter(kind=kind, stage=Stage.CHAMPION).first()
    earlier = (
        ModelVersion.objects.filter(kind=kind, stage=Stage.RETIRED, promoted_at__isnull=False)
        .order_by("-promoted_at")
        .first()
    )
    return {
        "kind": kind.label,
        "champion": champion,
        "earlier": earlier,
        "metrics": numbers(champion.metrics) if champion else [],
    }


def _version(version: ModelVersion) -> tuple[ModelVersion, str]:
    return version, TONES[Stage(version.stage)]


def numbers(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """The measures of a model card, in their order."""
    return [(str(words), metrics[name]) for name, words in MEASURES.items() if metrics.get(name) is not None]


def tables(metrics: dict[str, Any]) -> list[Table]:
    """A run's figures beside those of the champion, the prior and simpler models, each group on the same rows."""
    newest = {name: metrics.get(name) for name in ("challenger", "champion", "prior")}
    found = [
        _table(_("On the newest day"), newest),
        _table(_("Simpler models"), metrics.get("compared") or {}),
    ]
    return [table for table in found if table.rows]


def _table(title: str, group: dict[str, Any]) -> Table:
    models = {name: figures for name, figures in group.items() if isinstance(figures, dict)}
    measures = [
        name for name in MEASURES if any(figures.get(name) is not None for figures in models.values())
    ]
    rows = [
        (
            figures.get("name") or "",
            str(MODELS.get(name, name)),
            [figures.get(measure) for measure in measures],
        )
        for name, figures in models.items()
    ]
    return Table(title, [str(MEASURES[name]) for name in measures], rows)
