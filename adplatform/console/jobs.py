"""Scheduled jobs: when they run, what they did last, run now, and the schedule itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any

from celery import current_app
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from django_celery_beat.models import PeriodicTask

from adplatform.accounts.services import audit
from adplatform.console.access import operator, operator_page
from adplatform.console.schedules import ScheduleForm, apply_schedule, form_for
from adplatform.core import clock
from adplatform.jobs import queries, services
from adplatform.jobs.models import JobRun
from adplatform.jobs.registry import JobError

Status = JobRun.Status
SHOWN_RUNS = 24
BARS = {Status.SUCCEEDED: "o", Status.FAILED: "x", Status.SKIPPED: "-", Status.RUNNING: "w"}
TONES = {Status.SUCCEEDED: "ok", Status.FAILED: "bad", Status.SKIPPED: "paused", Status.RUNNING: "learn"}


@dataclass(frozen=True, slots=True)
class Row:
    """One job in the table. `bars` are its last runs, oldest first; `p50`, `p95` seconds of the successful ones."""

    line: queries.JobLine
    bars: str
    p50: float | None
    p95: float | None
    next_at: datetime | None
    tone: str
    words: str
    is_running: bool
    progress: int | None


@operator_page
def jobs(request: HttpRequest) -> HttpResponse:
    at = clock.now()
    rows = _rows(at)
    failing = request.GET.get("show") == "failing"
    context = {
        "section": "jobs",
        "rows": [row for row in rows if row.tone == "bad"] if failing else rows,
        "failing": failing,
        "tiles": health(rows, at),
    }
    name = "console/_jobs_table.html" if request.headers.get("HX-Request") else "console/jobs.html"
    return render(request, name, context)


@operator_page
def job(request: HttpRequest, name: str) -> HttpResponse:
    row = _row(name)
    runs = JobRun.objects.filter(job_id=name).order_by("-started_at")
    context = {
        "section": "jobs",
        "row": row,
        "form": form_for(_task(name)),
        "runs": Paginator(runs, 50).get_page(request.GET.get("page")),
    }
    return render(request, "console/job.html", context)


@require_POST
@operator_page
def run_now(request: HttpRequest, name: str) -> HttpResponse:
    row = _row(name)
    try:
        services.enqueue(name, operator(request))
    except JobError as error:
        messages.error(request, str(error))
    else:
        audit(user=operator(request), organisation=None, action="job.run", target=name)
        messages.success(request, _("%(job)s was sent to a worker.") % {"job": row.line.title})
    return _back(request, name)


@require_POST
@operator_page
def schedule(request: HttpRequest, name: str) -> HttpResponse:
    """Change when the job runs; the scheduler follows within seconds."""
    row, task = _row(name), _task(name)
    form = ScheduleForm(request.POST)
    if form.is_valid():
        before = row.line.schedule
        task = apply_schedule(task, name=name, title=row.line.title, queue=row.line.queue, form=form)
        after = queries.schedule_in_words(task.schedule)
        audit(
            user=operator(request),
            organisation=None,
            action="job.rescheduled",
            target=name,
            detail={"schedule": [before, after], "enabled": [row.line.is_enabled, task.enabled]},
        )
        messages.success(
            request, _("%(job)s now runs %(schedule)s.") % {"job": row.line.title, "schedule": after}
        )
        return redirect("console:job", name=name)
    context = {
        "section": "jobs",
        "row": row,
        "form": form,
        "runs": Paginator(JobRun.objects.none(), 50).get_page(1),
    }
    return render(request, "console/job.html", context, status=422)


@require_POST
@operator_page
def switch(request: HttpRequest, name: str) -> HttpResponse:
    """Turn the schedule off or on again."""
    row, task = _row(name), _task(name)
    if task is None:
        messages.error(request, _("%(job)s has no schedule yet.") % {"job": row.line.title})
        return redirect("console:job", name=name)
    task.enabled = not task.enabled
    task.save()
    action = "job.enabled" if task.enabled else "job.disabled"
    audit(user=operator(request), organisation=None, action=action, target=name)
    words = (
        _("%(job)s runs by its schedule again.") if task.enabled else _("%(job)s no longer runs by itself.")
    )
    messages.success(request, words % {"job": row.line.title})
    return _back(request, name)


def health(rows: list[Row], at: datetime) -> list[dict[str, Any]]:
    """What the tiles say: is anything late, failing, switched off, running."""
    day = JobRun.objects.filter(started_at__gte=at - timedelta(days=1), is_dry_run=False)
    failed = day.filter(status=Status.FAILED)
    last = failed.order_by("-started_at").values_list("job__title", flat=True).first()
    off = [row for row in rows if not row.line.is_enabled]
    running = [row for row in rows if row.is_running]
    return [
        {"label": _("Runs, 24 h"), "value": day.count(), "note": _("all jobs"), "tone": "flat"},
        {
            "label": _("Failed runs, 24 h"),
            "value": failed.count(),
            "note": last or _("none"),
            "tone": "poor" if last else "good",
        },
        {
            "label": _("Running now"),
            "value": len(running),
            "note": ", ".join(row.line.title for row in running) or _("idle"),
            "tone": "flat",
        },
        {
            "label": _("Switched off"),
            "value": len(off),
            "note": ", ".join(row.line.title for row in off) or _("every job is on"),
            "tone": "poor" if off else "good",
        },
    ]


def _back(request: HttpRequest, name: str) -> HttpResponse:
    return (
        redirect("console:jobs") if request.POST.get("from") == "list" else redirect("console:job", name=name)
    )


def _rows(at: datetime) -> list[Row]:
    tasks = {task.task: task for task in PeriodicTask.objects.select_related("interval", "crontab")}
    return [_row_of(line, tasks.get(line.name), at) for line in queries.overview()]


def _row(name: str) -> Row:
    for row in _rows(clock.now()):
        if row.line.name == name:
            return row
    raise Http404(name)


def _task(name: str) -> PeriodicTask | None:
    return PeriodicTask.objects.filter(task=name).order_by("id").first()


def _row_of(line: queries.JobLine, task: PeriodicTask | None, at: datetime) -> Row:
    runs = list(
        JobRun.objects.filter(job_id=line.name, is_dry_run=False).order_by("-started_at")[:SHOWN_RUNS]
    )[::-1]
    seconds = [
        run.duration_seconds
        for run in runs
        if run.status == Status.SUCCEEDED and run.duration_seconds is not None
    ]
    p50, p95 = _percentiles(seconds)
    last = line.last_run
    is_running = bool(last and last.status == Status.RUNNING)
    return Row(
        line=line,
        bars="".join(BARS[Status(run.status)] for run in runs),
        p50=p50,
        p95=p95,
        next_at=_next(task, at),
        tone=TONES[Status(last.status)] if last else "paused",
        words=(last.summary or Status(last.status).label) if last else _("Never ran"),
        is_running=is_running,
        progress=round(100 * last.progress_done / last.progress_total)
        if last and is_running and last.progress_total
        else None,
    )


def _percentiles(seconds: list[float]) -> tuple[float | None, float | None]:
    if len(seconds) < 2:
        return (seconds[0], seconds[0]) if seconds else (None, None)
    cuts = quantiles(seconds, n=20, method="inclusive")
    return cuts[9], cuts[18]


def _next(task: PeriodicTask | None, at: datetime) -> datetime | None:
    """When the scheduler will start it; None where nothing will."""
    if task is None or not task.enabled:
        return None
    since = task.last_run_at or task.date_changed or at
    timing = task.schedule
    timing.app = current_app
    wait: timedelta = timing.remaining_estimate(since)
    return at + max(wait, timedelta(0))
