"""Labelling a sample of ads: one card at a time, keys 1, 2, 3… answer, u takes the last answer back."""

from __future__ import annotations

import secrets
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from adplatform.accounts.services import audit
from adplatform.campaigns import labelling
from adplatform.campaigns.models import AnnotationItem, AnnotationTask
from adplatform.console.access import operator, operator_page
from adplatform.core import clock
from adplatform.insights.export import csv_response
from adplatform.learning.models import RatingModel

SHOWN_TASKS = 30


@operator_page
def tasks(request: HttpRequest) -> HttpResponse:
    user = operator(request)
    rows = AnnotationTask.objects.select_related("created_by").prefetch_related("items")[:SHOWN_TASKS]
    context = {
        "section": "review",
        "tasks": [(task, labelling.done(task, user), task.items.count()) for task in rows],
        "questions": AnnotationTask.Question.choices,
        "samplings": AnnotationTask.Sampling.choices,
        "model": RatingModel.objects.first(),
    }
    return render(request, "console/annotations.html", context)


@require_POST
@operator_page
def create(request: HttpRequest) -> HttpResponse:
    from adplatform.learning import annotation  # numpy: only where it is needed

    question, sampling = request.POST.get("question", ""), request.POST.get("sampling", "")
    known = question in AnnotationTask.Question.values and sampling in AnnotationTask.Sampling.values
    if not known:
        return redirect("console:annotations")
    user = operator(request)
    creatives = annotation.sample(question, sampling, seed=secrets.randbits(32))
    try:
        task = labelling.create_task(
            user=user, question=question, sampling=sampling, creatives=creatives, at=clock.now()
        )
    except labelling.AnnotationError as error:
        messages.error(request, str(error))
        return redirect("console:annotations")
    audit(user=user, organisation=None, action="annotation.created", target=str(task))
    return redirect("console:annotation", task.public_id)


@operator_page
def task(request: HttpRequest, public_id: UUID) -> HttpResponse:
    return _answer(request, _task(public_id))


@require_POST
@operator_page
def label(request: HttpRequest, public_id: UUID) -> HttpResponse:
    chosen = _task(public_id)
    item = get_object_or_404(AnnotationItem, task=chosen, pk=request.POST.get("item", "0"))
    try:
        labelling.annotate(item, user=operator(request), label=request.POST.get("label", ""), at=clock.now())
    except labelling.AnnotationError as error:
        messages.error(request, str(error))
    return _answer(request, chosen)


@require_POST
@operator_page
def undo(request: HttpRequest, public_id: UUID) -> HttpResponse:
    chosen = _task(public_id)
    labelling.undo(chosen, operator(request))
    return _answer(request, chosen)


@operator_page
def export(request: HttpRequest, public_id: UUID) -> HttpResponseBase:  # noqa: ARG001 - a view takes its request
    chosen = _task(public_id)
    name = f"labels-{chosen.question}-{chosen.created_at:%Y%m%d-%H%M}"
    return csv_response(name, labelling.CSV_COLUMNS, list(labelling.rows(chosen)))


def _task(public_id: UUID) -> AnnotationTask:
    return get_object_or_404(AnnotationTask, public_id=public_id)


def _answer(request: HttpRequest, chosen: AnnotationTask) -> HttpResponse:
    """The card alone for htmx, the whole page (or the way to it after a post) for everyone else."""
    is_partial = bool(request.headers.get("HX-Request"))
    if request.method == "POST" and not is_partial:
        return redirect("console:annotation", chosen.public_id)
    user = operator(request)
    done, total = labelling.done(chosen, user), chosen.items.count()
    context = {
        "section": "review",
        "task": chosen,
        "item": labelling.next_item(chosen, user),
        "labels": list(labelling.LABELS[AnnotationTask.Question(chosen.question)].items()),
        "done": done,
        "total": total,
        "percent": round(100 * done / total) if total else 0,
        "agreements": labelling.agreements(chosen),
    }
    name = "console/_annotation_card.html" if is_partial else "console/annotation.html"
    return render(request, name, context)
