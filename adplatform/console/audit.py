"""Who did what, newest first, across all organisations."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode

from adplatform.accounts.models import AuditEntry
from adplatform.console.access import operator_page

PAGE_SIZE = 50


@operator_page
def audit(request: HttpRequest) -> HttpResponse:
    search, kind = request.GET.get("q", "").strip(), request.GET.get("kind", "")
    kinds = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
    context = {
        "section": "audit",
        "page_obj": Paginator(_entries(search, kind), PAGE_SIZE).get_page(request.GET.get("page")),
        "search": search,
        "kind": kind,
        "kinds": list(kinds),
        "keep": "&" + urlencode({"q": search, "kind": kind}),
    }
    return render(request, "console/audit.html", context)


def _entries(search: str, kind: str) -> QuerySet[AuditEntry]:
    entries = AuditEntry.objects.select_related("user", "organisation").order_by("-at", "-pk")
    if kind:
        entries = entries.filter(action=kind)
    if search:
        entries = entries.filter(
            Q(target__icontains=search)
            | Q(user__email__icontains=search)
            | Q(organisation__name__icontains=search)
        )
    return entries
