"""Try a request: an operator sees what an ad request would get now, and why, without any effect."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.campaigns.models import LineItem
from adplatform.console.access import operator_page
from adplatform.core import clock
from adplatform.core.forms import MomentField
from adplatform.decision.types import DEVICES, Candidate, TableRow
from adplatform.insights.delivery import short_words
from adplatform.insights.traffic import no_ad_words
from adplatform.inventory.models import AdSlot

if TYPE_CHECKING:
    from adplatform.serving.trial import Trials, Tried

SHOWN = 100  # lines of a candidate table: the scored come first
_STAGES = {
    "snapshot": gettext_lazy("Load snapshot and statistics"),
    "parse": gettext_lazy("Read the request"),
    "visitor": gettext_lazy("Look the visitor up"),
    "decide": gettext_lazy("Decide, with the whole table"),
}


class TrialForm(forms.Form):
    """A request as fields; a pasted body of POST /v1/decisions goes first."""

    slot = forms.CharField(
        label=gettext_lazy("Ad slot"), required=False, widget=forms.TextInput(attrs={"list": "slots"}),
        help_text=gettext_lazy("Its public id, as in the tag of the page."), max_length=64,
    )  # fmt: skip
    country = forms.RegexField(
        r"^[A-Za-z]{2}$", label=gettext_lazy("Country"), required=False, help_text="DE"
    )
    device = forms.ChoiceField(
        label=gettext_lazy("Device"), choices=[(name, name.capitalize()) for name in DEVICES], required=False
    )
    language = forms.CharField(label=gettext_lazy("Language"), required=False, max_length=35, help_text="en")
    keywords = forms.CharField(
        label=gettext_lazy("Keywords"),
        required=False,
        max_length=400,
        help_text=gettext_lazy("Divided by commas."),
    )
    visitor = forms.CharField(
        label=gettext_lazy("Visitor"),
        required=False,
        max_length=200,
        help_text=gettext_lazy("The site's own id of a visitor who agreed; empty: nobody is known."),
    )
    moment = MomentField(
        label=gettext_lazy("Moment (UTC)"), required=False, help_text=gettext_lazy("Empty: now.")
    )
    body = forms.CharField(
        label=gettext_lazy("Or a request as JSON"),
        required=False,
        max_length=65_536,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        help_text=gettext_lazy(
            "The body of POST /v1/decisions. Where it is given, the fields above are not read."
        ),
    )
    line_item = forms.CharField(
        label=gettext_lazy("Line item to look at"),
        required=False,
        max_length=64,
        help_text=gettext_lazy("Its public id: what every rule says of its ads."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("body") and not cleaned.get("slot"):
            self.add_error("slot", _("Name an ad slot, or paste a request."))
        return cleaned

    @property
    def request_body(self) -> bytes:
        given = self.cleaned_data
        if given["body"]:
            return str(given["body"]).encode()
        from adplatform.serving import consent

        context = {
            "country": given["country"].upper(),
            "device": given["device"],
            "language": given["language"],
        }
        body: dict[str, Any] = {
            "placements": [{"id": "trial", "slot": given["slot"]}],
            "context": {name: value for name, value in context.items() if value},
        }
        body["context"]["keywords"] = [word.strip() for word in given["keywords"].split(",") if word.strip()]
        if given["visitor"]:
            body["user"] = {"id": given["visitor"], "consent": {"tcf": consent.encode({1, 3, 4})}}
        return json.dumps(body).encode()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the candidate table."""

    row: TableRow
    line_item: str
    words: str


@dataclass(frozen=True)
class Shown:
    """One placement of the answer as its page shows it."""

    id: str
    slot: Any
    floor_micros: int
    picks: list[tuple[Any, str]]
    no_ad: str
    reasons: list[tuple[str, int, float]]
    lines: list[Line]
    hidden: int
    verdicts: list[tuple[Candidate, str, list[tuple[str, bool]]]]


@operator_page
def trial(request: HttpRequest) -> HttpResponse:
    form = TrialForm(_said(request) if request.method == "POST" else None)
    context: dict[str, Any] = {"section": "trial", "form": form, "slots": _slots()}
    if form.is_valid():
        context |= _tried(form, clock.now())
    return render(request, "console/trial.html", context, status=422 if form.errors else 200)


def _said(request: HttpRequest) -> QueryDict:
    """The fields; a line item that was pressed in the table goes before the one in its field."""
    said = request.POST.copy()
    if "look" in said:
        said["line_item"] = request.POST.get("look", "")
    return said


def _tried(form: TrialForm, now: datetime) -> dict[str, Any]:
    from adplatform.serving.parse import MalformedError
    from adplatform.serving.trial import NothingPublishedError

    try:
        tried = _trials().attempt(form.request_body, at=form.cleaned_data["moment"] or now)
    except MalformedError as error:
        form.add_error("body" if form.cleaned_data["body"] else "slot", error.detail)
        return {}
    except NothingPublishedError:
        form.add_error(
            None, _("No snapshot is published yet: start the publisher, or run the job “snapshot”.")
        )
        return {}
    decision = tried.answer.decision
    return {
        "tried": tried,
        "seed": decision.seed if decision else None,
        "stages": [(str(_STAGES[name]), spent) for name, spent in tried.stages.items()],
        "placements": [
            _shown(tried, filled, form.cleaned_data["line_item"]) for filled in tried.answer.filled
        ],
    }


@lru_cache(maxsize=1)
def _trials() -> Trials:
    from adplatform.serving.trial import Trials  # numpy and the models' code: only where it is needed

    return Trials()


def _shown(tried: Tried, filled: Any, line_item: str) -> Shown:
    slot, table = filled.placement.slot, tried.table(filled.placement.id)
    names = _names([row.candidate.line_item_id for row in table[:SHOWN]])
    lines = [Line(row, _name(names, row.candidate), _outcome(row)) for row in table[:SHOWN]]
    looked_at = [row for row in table if row.candidate.line_item_public_id == line_item]
    counts = Counter(row.reason.value for row in table if row.reason is not None)
    return Shown(
        id=filled.placement.id,
        slot=slot,
        floor_micros=slot.floor_micros if slot else 0,
        picks=[(shown.pick, _name(names, shown.pick.candidate)) for shown in filled.shown],
        no_ad=no_ad_words(filled.no_ad) if filled.no_ad else "",
        reasons=[(no_ad_words(reason), n, n / len(table)) for reason, n in counts.most_common()],
        lines=lines,
        hidden=max(0, len(table) - SHOWN),
        verdicts=[
            (
                row.candidate,
                _outcome(row),
                [(no_ad_words(one.reason), one.refuses) for one in tried.verdicts(slot, row.candidate)],
            )
            for row in looked_at[:10]
        ],
    )


def _outcome(row: TableRow) -> str:
    return short_words(row.reason.value) if row.reason is not None else _("Won")


def _names(ids: list[int]) -> dict[int, str]:
    found = LineItem.objects.filter(pk__in=set(ids)).select_related("campaign")
    return {item.pk: f"{item.campaign} · {item}" for item in found}


def _name(names: dict[int, str], candidate: Candidate) -> str:
    return names.get(candidate.line_item_id, candidate.line_item_public_id)


def _slots() -> list[tuple[str, str]]:
    rows = AdSlot.objects.filter(is_active=True).select_related("site").order_by("site__name", "name")[:500]
    return [(row.public_id, str(row)) for row in rows]
