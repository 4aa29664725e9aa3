"""Frequency caps as people say them: how often one person may see an ad, at each of the four levels that can limit it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.campaigns.models import AdvertiserCap, Capped

DAY = 86_400
WINDOWS: list[tuple[int, str | Promise]] = [
    (3_600, gettext_lazy("an hour")),
    (DAY, gettext_lazy("a day")),
    (7 * DAY, gettext_lazy("a week")),
    (30 * DAY, gettext_lazy("30 days")),
]
FIELDS = ("cap_impressions", "cap_window_seconds")


class CapFields(forms.Form):
    """The fields of a cap, for the form of whatever is capped."""

    cap_impressions = forms.IntegerField(
        label=gettext_lazy("Most impressions per person"),
        required=False,
        min_value=1,
        max_value=1_000,
        help_text=gettext_lazy("Empty: no limit. Needs the visitor's consent."),
    )
    cap_window_seconds = forms.TypedChoiceField(
        label=gettext_lazy("within"),
        choices=WINDOWS,
        coerce=int,
        initial=DAY,
        required=False,
    )

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        present, field = self.initial.get("cap_window_seconds"), self.fields["cap_window_seconds"]
        if present and present not in dict(WINDOWS) and isinstance(field, forms.ChoiceField):
            field.choices = [*WINDOWS, (present, _seconds(present))]

    def clean_cap_window_seconds(self) -> int:
        return self.cleaned_data["cap_window_seconds"] or DAY

    def fields_of_cap(self) -> dict[str, Any]:
        """What the services take."""
        return {name: self.cleaned_data[name] for name in FIELDS}


def initial_of(capped: Capped | None) -> dict[str, int | None]:
    """What the form shows of a cap that is there."""
    return {} if capped is None else {name: getattr(capped, name) for name in FIELDS}


def words(capped: Capped | None) -> str:
    """The cap in a sentence, '' where there is none."""
    if capped is None or capped.cap_impressions is None:
        return ""
    window = dict(WINDOWS).get(capped.cap_window_seconds, _seconds(capped.cap_window_seconds))
    return _("At most %(n)d impressions per person in %(window)s") % {
        "n": capped.cap_impressions,
        "window": window,
    }


def of_advertiser(organisation: Organisation) -> AdvertiserCap | None:
    """The cap over everything that an advertiser shows, if it ever set one."""
    return AdvertiserCap.objects.filter(organisation=organisation).first()


def _seconds(seconds: int) -> str:
    return f"{seconds} s"
