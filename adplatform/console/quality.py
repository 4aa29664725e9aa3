"""The state of the data that training reads: the newest report as traffic lights, drift by feature, refusals before."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from adplatform.console.access import operator_page
from adplatform.insights import model_charts
from adplatform.learning.models import DataReport

TONES = {"ok": "ok", "warn": "warn", "alarm": "bad", "refuse": "bad"}
WORST_FIRST = ("refuse", "alarm", "warn", "ok")
SHOWN_REPORTS = 30
DRIFT = "drift"


@operator_page
def quality(request: HttpRequest) -> HttpResponse:
    newest = DataReport.objects.first()
    findings = _findings(newest) if newest else []
    context = {
        "section": "quality",
        "newest": newest,
        "tone": TONES[newest.severity] if newest else "",
        "loud": [row for row in findings if row["severity"] != "ok"],
        "quiet": [row for row in findings if row["severity"] == "ok"],
        "has_drift": any(row["check"] == DRIFT for row in findings),
        "history": [(report, TONES[report.severity]) for report in DataReport.objects.all()[:SHOWN_REPORTS]],
        "refused": DataReport.objects.filter(severity="refuse").count(),
    }
    return render(request, "console/quality.html", context)


@operator_page
def drift_chart(request: HttpRequest) -> JsonResponse:  # noqa: ARG001 - a view takes its request
    newest = DataReport.objects.first()
    if newest is None:
        raise Http404
    features = [
        (row["subject"], row["details"]["psi"], row["severity"])
        for row in newest.report["findings"]
        if row["check"] == DRIFT and row["details"]["judged"]
    ]
    return JsonResponse(model_charts.drift_figure(features))


def _findings(report: DataReport) -> list[dict[str, Any]]:
    """The report's findings with the tone of their chip, the worst first."""
    rows = [{**row, "tone": TONES[row["severity"]]} for row in report.report["findings"]]
    return sorted(rows, key=lambda row: WORST_FIRST.index(row["severity"]))
