"""Forms about organisations, members and keys."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from adplatform.accounts import keys
from adplatform.accounts.models import Membership, Organisation
from adplatform.core.forms import CheckChips, RadioCards

CURRENCIES = (
    "USD",
    "EUR",
    "GBP",
    "CHF",
    "PLN",
    "UAH",
    "SEK",
    "NOK",
    "DKK",
    "CZK",
    "JPY",
    "CNY",
    "INR",
    "KRW",
    "VND",
    "BRL",
    "CAD",
    "AUD",
    "NZD",
    "SGD",
    "ZAR",
    "KWD",
)
EXPIRIES = {"90": _("90 days"), "365": _("One year"), "": _("Never")}


@cache
def time_zones() -> list[tuple[str, str]]:
    """Zones of places, by name; the technical aliases are left out."""
    zones = sorted(
        zone
        for zone in available_timezones()
        if "/" in zone and not zone.startswith(("Etc/", "posix/", "right/"))
    )
    return [("UTC", "UTC"), *((zone, zone.replace("_", " ")) for zone in zones)]


class SettingsForm(forms.Form):
    name = forms.CharField(
        label=_("Name"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"})
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=time_zones,
        help_text=_("Days of budgets and reports begin at midnight here."),
    )


class OrganisationForm(SettingsForm):
    """The first step after signing up."""

    kind = forms.ChoiceField(
        label=_("What do you want to do?"),
        choices=Organisation.Kind.choices,
        initial=Organisation.Kind.ADVERTISER,
        widget=RadioCards(
            hints={
                Organisation.Kind.ADVERTISER: _("Buy: show my ads to people who care about them."),
                Organisation.Kind.PUBLISHER: _("Sell: fill the ad slots of my sites and earn."),
            }
        ),
    )
    currency = forms.ChoiceField(
        label=_("Currency"),
        choices=[(code, code) for code in CURRENCIES],
        help_text=_("All budgets, bids and earnings are in this currency. It cannot be changed later."),
    )
    field_order = ["kind", "name", "currency", "time_zone"]


class MemberForm(forms.Form):
    email = forms.EmailField(label=_("E-mail address"), help_text=_("Of a person who has signed up already."))
    role = forms.ChoiceField(
        label=_("Role"), choices=Membership.Role.choices, initial=Membership.Role.MANAGER
    )


class ApiKeyForm(forms.Form):
    name = forms.CharField(
        label=_("What is it for?"), max_length=80, help_text=_("Such as: nightly report, web shop.")
    )
    scopes = forms.MultipleChoiceField(
        label=_("What may it do?"), choices=list(keys.SCOPES.items()), widget=CheckChips, initial=["read"]
    )
    expires = forms.ChoiceField(
        label=_("Expires after"), choices=list(EXPIRIES.items()), required=False, initial="365"
    )

    def clean_expires(self) -> timedelta | None:
        days: Any = self.cleaned_data["expires"]
        return timedelta(days=int(days)) if days else None
