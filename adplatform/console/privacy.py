"""What the law asks of an operator: hand out what is held of somebody, forget a visitor, see that nothing is overdue.

The id is never kept: the audit log gets the hash that the log of erasures holds.
"""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adplatform.accounts.services import audit
from adplatform.audience import erasures
from adplatform.audience.models import Erasure, Visitor
from adplatform.console.access import operator, operator_page
from adplatform.core import clock
from adplatform.core.pseudonym import pseudonym
from adplatform.privacy import erasure, retention
from adplatform.privacy.export import export

SHOWN = 20


class SubjectForm(forms.Form):
    """Whom it is about, as the publisher's site knows him."""

    subject = forms.CharField(
        label=gettext_lazy("Id of the visitor"),
        max_length=200,
        strip=True,
        help_text=gettext_lazy(
            "As the publisher sends it. An e-mail address also hands out what is held of that account here."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off", "class": "inp"}),
    )


@operator_page
def privacy(request: HttpRequest) -> HttpResponse:
    return _page(request, SubjectForm())


@require_POST
@operator_page
def hand_out(request: HttpRequest) -> HttpResponse:
    """All that is held, as a file."""
    form = SubjectForm(request.POST)
    if not form.is_valid():
        return _page(request, form)
    subject = form.cleaned_data["subject"]
    _note(request, "subject.exported", subject)
    answer = JsonResponse(
        export(subject, at=clock.now()), encoder=DjangoJSONEncoder, json_dumps_params={"indent": 2}
    )
    answer["Content-Disposition"] = 'attachment; filename="subject.json"'
    answer["Cache-Control"] = "no-store"
    return answer


@require_POST
@operator_page
def forget(request: HttpRequest) -> HttpResponse:
    """Ask first, then forget."""
    form = SubjectForm(request.POST)
    if not form.is_valid():
        return _page(request, form)
    subject = form.cleaned_data["subject"]
    if "confirmed" not in request.POST:
        is_known = Visitor.objects.filter(pseudonym=pseudonym(subject)).exists()
        context = {"section": "privacy", "form": form, "subject": subject, "is_known": is_known}
        return render(request, "console/privacy_confirm.html", context)
    done = erasure.erase(subject, at=clock.now())
    _note(request, "subject.erased", subject, done.counts)
    said = (
        _("Forgotten: %s rows held this visitor.") % f"{done.total:,}" if done.total else _("Nothing held.")
    )
    messages.success(request, said)
    return redirect("console:privacy")


def _page(request: HttpRequest, form: SubjectForm) -> HttpResponse:
    overdue = retention.overdue(at=clock.now())
    late = {one.rule: one.rows for one in overdue}
    kept = [(rule.words, rule.days, late.get(rule.name, 0)) for rule in retention.rules() if rule.days]
    kept += [(one.words, 0, one.rows) for one in overdue if not one.days]
    context = {
        "section": "privacy",
        "form": form,
        "is_overdue": bool(overdue),
        "kept": kept,
        "erasures": Erasure.objects.order_by("-at")[:SHOWN],
    }
    return render(request, "console/privacy.html", context, status=422 if form.errors else 200)


def _note(request: HttpRequest, action: str, subject: str, detail: dict[str, int] | None = None) -> None:
    hashed = erasures.subject_of(pseudonym(subject))
    audit(user=operator(request), organisation=None, action=action, target=hashed, detail=detail)
