"""Operator's rules: which hold, a new one with its effect before it is saved, and what it did since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from adplatform.campaigns import rules
from adplatform.campaigns.models import OperatorRule
from adplatform.console.access import operator, operator_page
from adplatform.console.rule_form import RuleForm, known_categories, sentence
from adplatform.core import clock
from adplatform.insights import ruled

PAGE_SIZE = 30
SHOWN_FOR = timedelta(hours=1)  # a shown effect may be saved with its rule for this long


@dataclass(frozen=True, slots=True)
class Line:
    """A rule in the list, with its state as a chip."""

    rule: OperatorRule
    words: str
    state: str
    tone: str


@operator_page
def rule_list(request: HttpRequest) -> HttpResponse:
    found = OperatorRule.objects.select_related("advertiser", "site", "slot__site", "created_by")
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    at = clock.now()
    context = {"section": "rules", "page_obj": page, "lines": [_line(rule, at) for rule in page]}
    return render(request, "console/rules.html", context)


@operator_page
def new_rule(request: HttpRequest) -> HttpResponse:
    """The form; sent once it shows the effect, and sent again unchanged it saves the rule."""
    at = clock.now()
    form = RuleForm(request.POST or None, at=at)
    context: dict[str, Any] = {"section": "rules", "form": form, "categories": known_categories()}
    if form.is_valid():
        shown = _shown_until(request, form, at) if "save" in request.POST else None
        if shown is not None:
            return _save(request, form, shown, at)
        if "save" in request.POST:
            messages.info(
                request, _("You changed the rule, or time passed: look at its effect again, then save it.")
            )
        context |= _shown(form, at)
    return render(request, "console/rule_new.html", context, status=422 if form.errors else 200)


def _shown(form: RuleForm, at: datetime) -> dict[str, Any]:
    """The effect of what the form says, and what binds it to the form."""
    from adplatform.learning import ruling  # numpy: only where it is needed

    rule = form.rule()
    return {
        "words": sentence(rule),
        "effect": in_words(ruling.forecast(rule, until=at)),
        "digest": form.digest,
        "shown_until": at.isoformat(),
    }


def _shown_until(request: HttpRequest, form: RuleForm, at: datetime) -> datetime | None:
    """Up to when the shown effect looked, if it was this rule's and is fresh."""
    shown = parse_datetime(request.POST.get("shown_until", ""))
    is_same = request.POST.get("digest") == form.digest
    is_fresh = shown is not None and shown.tzinfo is not None and at - SHOWN_FOR <= shown <= at
    return shown if is_same and is_fresh else None


def _save(request: HttpRequest, form: RuleForm, shown: datetime, at: datetime) -> HttpResponse:
    from adplatform.learning import ruling  # numpy: only where it is needed

    rule = form.rule()
    saved = rules.create(
        user=operator(request), rule=rule, at=at, forecast=ruling.forecast(rule, until=shown)
    )
    messages.success(request, _("The rule is saved; it reaches the servers within seconds."))
    return redirect("console:rule", saved.public_id)


@operator_page
def rule_page(request: HttpRequest, public_id: UUID) -> HttpResponse:
    from adplatform.learning import ruling  # numpy: only where it is needed

    rule, at = _rule(public_id), clock.now()
    until = min(one for one in (at, rule.stopped_at, rule.end_at) if one is not None)
    replayed = ruling.measured(rule, until=until)
    context = {
        "section": "rules",
        "line": _line(rule, at),
        "effect": in_words(rule.forecast),
        "measured": ruled.measured(rule, at=at),
        "replayed": in_words(replayed) if replayed and replayed["touched"] else None,
    }
    return render(request, "console/rule.html", context)


@operator_page
def rule_chart(_request: HttpRequest, public_id: UUID) -> JsonResponse:
    found = ruled.measured(_rule(public_id), at=clock.now())
    if found is None:
        raise Http404
    return JsonResponse(ruled.share_figure(found))


@require_POST
@operator_page
def switch(request: HttpRequest, public_id: UUID, action: str) -> HttpResponse:
    """Stop a rule, or undo that."""
    change = {"stop": rules.stop, "resume": rules.resume}.get(action)
    if change is None:
        raise Http404(action)
    try:
        rule = change(user=operator(request), rule=_rule(public_id), at=clock.now())
    except rules.RuleError as error:
        messages.error(request, str(error))
    else:
        stopped = _("The rule is stopped; it holds nobody any more within seconds.")
        messages.success(request, stopped if rule.stopped_at else _("The rule holds again within seconds."))
    return redirect("console:rule", public_id)


def in_words(effect: Mapping[str, Any]) -> dict[str, Any]:
    """A forecast as its page reads it: rows of (what, before, after, difference, low, high)."""
    if not effect or effect.get("refusal"):
        return {"refusal": True, "sets": effect.get("sets", 0)}
    clicks, revenue = effect["clicks"], effect["revenue"]
    return {
        "sets": effect["sets"],
        "touched": effect["touched"] / effect["sets"],
        "changed": effect["changed"],
        "unfilled": effect["unfilled"],
        "clicks": None if "refusal" in clicks else clicks,
        "revenue": revenue,
        "currency": effect["currency"],
        "advertisers": effect["advertisers"],
        "since": parse_datetime(effect["since"]),
        "until": parse_datetime(effect["until"]),
    }


def _rule(public_id: UUID) -> OperatorRule:
    rows = OperatorRule.objects.select_related("advertiser", "site", "slot__site", "created_by")
    return get_object_or_404(rows, public_id=public_id)


def _line(rule: OperatorRule, at: datetime) -> Line:
    state, tone = _("In force"), "ok"
    if rule.stopped_at is not None:
        state, tone = _("Stopped"), "paused"
    elif rule.end_at is not None and rule.end_at <= at:
        state, tone = _("Ended"), "paused"
    elif rule.start_at > at:
        state, tone = _("Planned"), "learn"
    return Line(rule, sentence(rule), state, tone)
