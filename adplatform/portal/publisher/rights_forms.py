"""Forms of what a publisher demands: a block, a floor, competitors, a house ad."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.campaigns.forms import LANGUAGES
from adplatform.core.forms import MoneyField, RadioCards, set_currency
from adplatform.insights.blocked import advertiser_named
from adplatform.inventory import rights
from adplatform.inventory.forms import SIZES
from adplatform.inventory.models import (
    AdFormat,
    BlockRule,
    CreativeAttribute,
    FloorRule,
    HouseAd,
    Site,
)
from adplatform.inventory.queries import slots_of

EVERYWHERE = ""
HOUSE_FORMATS = [("native", gettext_lazy("Native")), *SIZES]
Kind = BlockRule.Kind
ATTRIBUTES = [
    (gettext_lazy("What it has in it"), CreativeAttribute.choices),
    (gettext_lazy("Format"), [(f"format:{value}", label) for value, label in AdFormat.choices]),
    (gettext_lazy("Language"), [(f"language:{value}", label) for value, label in LANGUAGES]),
    (gettext_lazy("Size"), [(f"size:{value}", label) for value, label in SIZES]),
]


def _suggesting(name: str) -> forms.TextInput:
    """A text with a list of what is known to choose from."""
    return forms.TextInput(attrs={"list": name, "autocomplete": "off"})


class PlaceForm(forms.Form):
    """Where it holds: everywhere, on a site, in a slot."""

    place = forms.ChoiceField(label=gettext_lazy("Where"), required=False)
    needs_site = False

    def __init__(self, *args: Any, publisher: Organisation, **options: Any) -> None:
        super().__init__(*args, **options)
        self.publisher = publisher
        self.sites = {f"site:{site.public_id}": site for site in Site.objects.filter(publisher=publisher)}
        self.slots = {f"slot:{slot.public_id}": slot for slot in slots_of(publisher)}
        anywhere = [] if self.needs_site else [(EVERYWHERE, _("All my sites"))]
        sites = [(key, site.name) for key, site in self.sites.items()]
        slots = [(key, str(slot)) for key, slot in self.slots.items()]
        place = cast(forms.ChoiceField, self.fields["place"])
        place.choices = [*anywhere, (_("Sites"), sites), (_("Ad slots"), slots)]

    @property
    def scope(self) -> dict[str, Any]:
        chosen = self.cleaned_data.get("place", EVERYWHERE)
        return {"site": self.sites.get(chosen), "slot": self.slots.get(chosen)}

    def scope_of(self, rule: HouseAd) -> str:
        """The choice that a saved rule stands for."""
        if rule.slot:
            return f"slot:{rule.slot.public_id}"
        return f"site:{rule.site.public_id}" if rule.site else EVERYWHERE


class BlockForm(PlaceForm):
    """What is blocked, and where."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Block ads by"),
        choices=Kind.choices,
        initial=Kind.CATEGORY,
        widget=RadioCards(
            hints={
                Kind.ADVERTISER: gettext_lazy("Everything of one advertiser"),
                Kind.CATEGORY: gettext_lazy("What is advertised, with all that lies below it"),
                Kind.DOMAIN: gettext_lazy("Where a click leads, with its subdomains"),
                Kind.ATTRIBUTE: gettext_lazy("Video, gambling, a language, a size"),
            }
        ),
    )
    advertiser = forms.CharField(
        label=gettext_lazy("Advertiser"),
        required=False,
        max_length=120,
        widget=_suggesting("advertisers"),
        help_text=gettext_lazy("The name that stands in its ads."),
    )
    category = forms.CharField(
        label=gettext_lazy("Category"), required=False, max_length=60, widget=_suggesting("categories")
    )
    domain = forms.CharField(
        label=gettext_lazy("Landing domain"),
        required=False,
        max_length=253,
        help_text=gettext_lazy("Such as shop.example; sub.shop.example is blocked with it."),
    )
    attribute = forms.ChoiceField(label=gettext_lazy("Attribute"), choices=ATTRIBUTES, required=False)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                self.rule()
            except rights.RightsError as error:
                raise ValidationError(str(error)) from error
        return values

    def rule(self) -> BlockRule:
        """The block that the form says, not saved."""
        values = self.cleaned_data
        kind = values["kind"]
        return rights.block(
            publisher=self.publisher,
            kind=kind,
            value="" if kind == Kind.ADVERTISER else values[kind],
            advertiser=advertiser_named(values["advertiser"]) if kind == Kind.ADVERTISER else None,
            **self.scope,
        )

    @property
    def digest(self) -> str:
        """What the shown cost belongs to: another block has another one."""
        said = sorted((name, str(value)) for name, value in self.cleaned_data.items())
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


class FloorForm(PlaceForm):
    """A floor in one place, for a country, a device or both."""

    country = forms.CharField(
        label=gettext_lazy("Country"),
        required=False,
        max_length=2,
        help_text=gettext_lazy("Two letters, such as DE. Empty: any."),
    )
    device = forms.ChoiceField(
        label=gettext_lazy("Device"),
        required=False,
        choices=[("", gettext_lazy("Any device")), *FloorRule.Device.choices],
    )
    floor = MoneyField(label=gettext_lazy("Floor of 1,000 impressions"))
    needs_site = True
    field_order = ("place", "country", "device", "floor")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        set_currency(self, self.publisher.currency)

    def clean_country(self) -> str:
        return str(self.cleaned_data["country"]).strip().upper()

    def clean_place(self) -> str:
        chosen = str(self.cleaned_data["place"])
        if not chosen:
            raise ValidationError(_("Choose a site or a slot."))
        return chosen

    def fields_of_floor(self) -> dict[str, Any]:
        """What rights.save_floor takes."""
        site, slot = self.scope["site"], self.scope["slot"]
        values = self.cleaned_data
        return {
            "site": site or (slot.site if slot else None),
            "slot": slot,
            "country": values["country"],
            "device": values["device"],
            "floor_micros": values["floor"],
        }


class PairForm(forms.Form):
    """Two advertisers that shall never stand together."""

    one = forms.CharField(label=gettext_lazy("Advertiser"), max_length=120, widget=_suggesting("advertisers"))
    other = forms.CharField(
        label=gettext_lazy("never beside"), max_length=120, widget=_suggesting("advertisers")
    )

    def clean_one(self) -> Organisation:
        return _found(self.cleaned_data["one"])

    def clean_other(self) -> Organisation:
        return _found(self.cleaned_data["other"])


class HouseAdForm(PlaceForm):
    """An ad of the publisher's own."""

    headline = forms.CharField(label=gettext_lazy("Headline"), max_length=90)
    body = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=300,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    call_to_action = forms.CharField(label=gettext_lazy("Words on the button"), max_length=40, required=False)
    landing_url = forms.URLField(
        label=gettext_lazy("Leads to"),
        max_length=2_000,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"placeholder": "https://…"}),
    )
    size = forms.ChoiceField(
        label=gettext_lazy("Format"),
        choices=HOUSE_FORMATS,
        initial="300x250",
        help_text=gettext_lazy("It is shown in slots of this format and size alone."),
    )
    is_active = forms.BooleanField(label=gettext_lazy("It may be shown"), required=False, initial=True)

    def __init__(
        self, *args: Any, publisher: Organisation, ad: HouseAd | None = None, **options: Any
    ) -> None:
        super().__init__(*args, publisher=publisher, **options)
        if ad is None:
            return
        size = "native" if ad.format == AdFormat.NATIVE else f"{ad.width}x{ad.height}"
        names = ("headline", "body", "call_to_action", "landing_url", "is_active")
        self.initial = {name: getattr(ad, name) for name in names}
        self.initial |= {"place": self.scope_of(ad), "size": size}
        if size not in dict(HOUSE_FORMATS):
            cast(forms.ChoiceField, self.fields["size"]).choices = [*HOUSE_FORMATS, (size, size)]

    def fields_of_ad(self) -> dict[str, Any]:
        """What rights.save_house_ad takes."""
        values = self.cleaned_data
        names = ("headline", "body", "call_to_action", "landing_url", "is_active")
        is_native = values["size"] == "native"
        width, height = (300, 250) if is_native else map(int, values["size"].split("x"))
        return {name: values[name] for name in names} | {
            "name": values["headline"],
            "format": AdFormat.NATIVE if is_native else AdFormat.BANNER,
            "width": width,
            "height": height,
            **self.scope,
        }


def _found(name: str) -> Organisation:
    found = advertiser_named(name)
    if found is None:
        raise ValidationError(_("There is no advertiser of this name. Write it as it stands in its ads."))
    return found
