"""Trained models: which serve, what the gate said of each, and the way back to the ones before."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.services import audit
from adplatform.console.access import operator, operator_page
from adplatform.core import clock
from adplatform.learning.models import ModelVersion, TrainingRun

Stage = ModelVersion.Stage
TONES = {Stage.CHAMPION: "ok", Stage.CHALLENGER: "learn", Stage.REFUSED: "bad", Stage.RETIRED: "paused"}
PAGE_SIZE = 20


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
    """The plain numbers of a metrics document, by name in words."""
    return [(_words(name), value) for name, value in metrics.items() if _is_number(value)]


def tables(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Metrics beside their baselines: each group of models that name the same measures becomes one table."""
    found = []
    for name, group in metrics.items():
        rows = (
            {key: dict(value) for key, value in group.items() if isinstance(value, dict)}
            if isinstance(group, dict)
            else {}
        )
        if rows:
            measures = list(
                dict.fromkeys(
                    measure for row in rows.values() for measure, value in row.items() if _is_number(value)
                )
            )
            cells = [(_words(key), [row.get(measure) for measure in measures]) for key, row in rows.items()]
            found.append(
                {"title": _words(name), "measures": [_words(measure) for measure in measures], "rows": cells}
            )
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
