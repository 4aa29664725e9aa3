"""Trained models: which serve, what the gate said of each, how far a new one may go, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.accounts.services import audit
from adplatform.console.access import operator, operator_page
from adplatform.console.model_words import (
    TONES,
    Stage,
    calibrations,
    card_facts,
    card_tables,
    conversion_facts,
    conversion_tables,
    facts,
    gate_facts,
    numbers,
    off_policy,
    search_line,
    tables,
)
from adplatform.core import clock
from adplatform.insights import model_charts
from adplatform.jobs.models import JobRun
from adplatform.learning.models import BeliefFit, EngineFit, ModelVersion, SearchRun, SearchTrial, TrainingRun

PAGE_SIZE = 20
SHOWN_SEARCHES = 5
MOST_FEATURES = 12
LEARNING_JOBS = ("train", "tune", "score", "embed_visitors", "embed_creatives")
STAGED = (Stage.SHADOW, Stage.CANARY)


@operator_page
def models(request: HttpRequest) -> HttpResponse:
    runs = TrainingRun.objects.prefetch_related("versions").order_by("-started_at")
    page = Paginator(runs, PAGE_SIZE).get_page(request.GET.get("page"))
    newest = runs.filter(finished_at__isnull=False).first()
    context = {
        "section": "models",
        "champions": [_card(kind) for kind in ModelVersion.Kind],
        "staged": list(ModelVersion.objects.filter(stage__in=STAGED).order_by("stage", "kind")),
        "newest": _figures(newest) if newest else None,
        "searches": [
            search_line(run) for run in SearchRun.objects.prefetch_related("trials")[:SHOWN_SEARCHES]
        ],
        "engines": EngineFit.objects.first(),
        "belief": BeliefFit.objects.first(),
        "running": _running(),
        "page_obj": page,
        "runs": [(run, [_version(version) for version in run.versions.all()]) for run in page],
        "can_roll_back": ModelVersion.objects.filter(stage=Stage.RETIRED, promoted_at__isnull=False).exists(),
    }
    return render(request, "console/models.html", context)


@operator_page
def progress(request: HttpRequest) -> HttpResponse:
    """What is being trained right now, asked for every few seconds."""
    return render(request, "console/_models_running.html", {"running": _running()})


@operator_page
def training(request: HttpRequest, pk: int) -> HttpResponse:
    """One training: its figures, what its models look at, and the verdict."""
    run = get_object_or_404(TrainingRun.objects.prefetch_related("versions"), pk=pk)
    context = {
        "section": "models",
        "newest": _figures(run),
        "versions": [_version(version) for version in run.versions.all()],
    }
    return render(request, "console/training.html", context)


@operator_page
def training_figure(_request: HttpRequest, pk: int, figure: str) -> JsonResponse:
    metrics = get_object_or_404(TrainingRun, pk=pk).metrics
    importance = metrics.get("importance") or {}
    if figure == "reliability" and (bins := (metrics.get("reliability") or {}).get("bins")):
        before = (metrics.get("calibration") or {}).get("before") or []
        return JsonResponse(model_charts.reliability_figure(bins, before=before))
    if figure == "groups" and importance.get("groups"):
        return JsonResponse(model_charts.share_figure(_in_words(importance["groups"])))
    if figure == "features" and importance.get("features"):
        largest = _largest_first(importance["features"])[:MOST_FEATURES]
        return JsonResponse(
            model_charts.share_figure({name.replace("_", " "): size for name, size in largest})
        )
    raise Http404(figure)


@operator_page
def search_figure(_request: HttpRequest, pk: int) -> JsonResponse:
    trials = SearchTrial.objects.filter(search=get_object_or_404(SearchRun, pk=pk)).order_by("number")
    found = list(trials.values_list("value", "state"))
    if not found:
        raise Http404("no trials")
    values, states = zip(*found, strict=True)
    return JsonResponse(
        model_charts.search_figure(values, [state == SearchTrial.State.COMPLETE for state in states])
    )


@operator_page
def model(request: HttpRequest, name: str) -> HttpResponse:
    """A model's card, what live traffic said of it, and what may be done with it."""
    version = get_object_or_404(ModelVersion.objects.select_related("run"), name=name)
    context = {
        "section": "models",
        "version": version,
        "tone": TONES[Stage(version.stage)],
        "measures": numbers(version.metrics),
        "card": list(card_facts(version.card)),
        "limits": version.card.get("limits") or [],
        "tables": card_tables(version.card),
        "offpolicy": off_policy(version.card.get("offpolicy"))[0],
        "live": list(facts(version.live)),
        "together": list(
            ModelVersion.objects.filter(run=version.run).exclude(pk=version.pk) if version.run else []
        ),
        "actions": _actions(version),
    }
    return render(request, "console/model.html", context)


@require_POST
@operator_page
def stage(request: HttpRequest, name: str, action: str) -> HttpResponse:
    """Start a shadow or a canary, end either, or let it serve: what is served changes within seconds."""
    from adplatform.learning import registry  # numpy and the models' code: only where it is needed

    version = get_object_or_404(ModelVersion, name=name)
    if action not in CHANGES:
        raise Http404(action)
    try:
        words = CHANGES[action](version, request.POST.get("percent", ""))
    except (registry.RegistryError, registry.BrokenModelError, ValueError) as error:
        messages.error(request, str(error))
    else:
        audit(
            user=operator(request),
            organisation=None,
            action=f"model.{action}",
            target=version.name,
            detail={"share": f"{version.share_bp / 100:g} %"} if action == "canary" else None,
        )
        messages.success(request, words)
    return redirect("console:model", name=version.name)


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


def _shadow(version: ModelVersion, _given: str) -> str:
    from adplatform.learning import registry

    registry.start_shadow(version, at=clock.now())
    return _("%(name)s now scores what the champion shows, and decides nothing.") % {"name": version.name}


def _canary(version: ModelVersion, given: str) -> str:
    from adplatform.learning import registry

    try:
        percent = float(given)
    except ValueError:
        raise ValueError(_("Give the canary's share as a number of percent, such as 5.")) from None
    registry.start_canary(version, percent, at=clock.now())
    return _("%(name)s answers %(percent)s %% of the visitors within seconds.") % {
        "name": version.name,
        "percent": f"{percent:g}",
    }


def _stop(version: ModelVersion, _given: str) -> str:
    from adplatform.learning import registry

    registry.stop(version, why="stopped by an operator")
    return _("%(name)s was stopped; the champion answers everybody.") % {"name": version.name}


def _promote(version: ModelVersion, _given: str) -> str:
    from adplatform.learning import registry

    registry.promote(version, at=clock.now())
    return _("%(name)s serves within seconds.") % {"name": version.name}


CHANGES: dict[str, Callable[[ModelVersion, str], str]] = {
    "shadow": _shadow,
    "canary": _canary,
    "stop": _stop,
    "promote": _promote,
}


def _actions(version: ModelVersion) -> set[str]:
    """What may be done with a version in its stage."""
    return {
        Stage.CHALLENGER: {"shadow", "canary", "promote"},
        Stage.RETIRED: {"shadow", "canary", "promote"},
        Stage.SHADOW: {"stop", "canary", "promote"},
        Stage.CANARY: {"stop", "canary", "promote"},
    }.get(Stage(version.stage), set())


def _figures(run: TrainingRun) -> dict[str, Any]:
    """What a page draws of a training; parts that it did not measure are empty."""
    metrics = run.metrics
    importance = metrics.get("importance") or {}
    estimates, refusal = off_policy(metrics.get("offpolicy"))
    return {
        "run": run,
        "tables": tables(metrics),
        "gate": gate_facts(metrics.get("gate") or {}),
        "calibration": metrics.get("calibration") or {},
        "calibrations": calibrations(metrics.get("calibration") or {}),
        "conversion": metrics.get("conversion") or {},
        "conversion_facts": conversion_facts(metrics.get("conversion") or {}),
        "conversion_tables": conversion_tables(metrics.get("conversion") or {}),
        "bins": (metrics.get("reliability") or {}).get("bins") or [],
        "groups": _in_words(importance.get("groups") or {}),
        "features": _largest_first(importance.get("features") or {}),
        "offpolicy": estimates,
        "offpolicy_refusal": refusal,
        "parameters": list(facts(metrics.get("parameters") or {})),
        "refusals": (metrics.get("quality") or {}).get("refusals") or [],
    }


def _in_words(groups: dict[str, float]) -> dict[str, float]:
    from adplatform.learning.words import GROUPS

    return {str(GROUPS.get(name, name)): size for name, size in _largest_first(groups)}


def _largest_first(sizes: dict[str, float]) -> list[tuple[str, float]]:
    """The database keeps no order of an object's names."""
    return sorted(sizes.items(), key=lambda item: -item[1])


def _running() -> list[dict[str, Any]]:
    runs = JobRun.objects.select_related("job").filter(
        job_id__in=LEARNING_JOBS, status=JobRun.Status.RUNNING, is_dry_run=False
    )
    return [
        {
            "run": run,
            "percent": round(100 * run.progress_done / run.progress_total) if run.progress_total else None,
            "seconds": (clock.now() - run.started_at).total_seconds(),
        }
        for run in runs.order_by("started_at")
    ]


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
