"""All invoices and credit notes, and each as PDF."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.http import urlencode

from adplatform.billing import pdf
from adplatform.billing.models import Invoice
from adplatform.console.access import operator_page
from adplatform.console.money_tabs import tabs

PAGE_SIZE = 50


@operator_page
def invoices(request: HttpRequest) -> HttpResponse:
    search = request.GET.get("q", "").strip()
    found = Invoice.objects.select_related("organisation", "corrects")
    if search:
        found = found.filter(organisation__name__icontains=search)
    context = {
        "search": search,
        "keep": "&" + urlencode({"q": search}),
        "page_obj": Paginator(found, PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return render(request, "console/invoices.html", context | tabs("invoices"))


@operator_page
def document(_request: HttpRequest, public_id: str) -> HttpResponse:
    return as_file(get_object_or_404(Invoice.objects.select_related("corrects"), public_id=public_id))


def as_file(invoice: Invoice) -> HttpResponse:
    answer = HttpResponse(pdf.render(invoice), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="{invoice}.pdf"'
    answer["Cache-Control"] = "private, no-store"
    return answer
