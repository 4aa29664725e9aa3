"""The publisher's forms: a site, and an ad slot on it with its floor in the site's currency."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.core.forms import MoneyField, RadioCards, set_currency
from adplatform.inventory import passback as passbacks
from adplatform.inventory.models import AdFormat, AdSlot, Fallback, Site
from adplatform.inventory.rights import DOMAIN

SIZES = [
    ("300x250", "300×250"),
    ("728x90", "728×90"),
    ("160x600", "160×600"),
    ("320x50", "320×50"),
    ("970x250", "970×250"),
]
OTHER = "other"
_KEPT = ("name", "format", "position", "ads_per_advertiser", "fallback", "passback", "is_active")


class AdsPerAdvertiserField(forms.IntegerField):
    """How many ads of one advertiser may stand on a page."""

    def __init__(self, **options: Any) -> None:
        label = gettext_lazy("Most ads of one advertiser on a page")
        super().__init__(label=label, min_value=1, max_value=10, required=False, **options)


class SiteForm(forms.Form):
    """What a site is about: its description stands for visitors without a profile."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    domain = forms.CharField(
        label=gettext_lazy("Domain"),
        max_length=253,
        help_text=gettext_lazy("Such as newsroom.example, without https:// and path"),
    )
    description = forms.CharField(
        label=gettext_lazy("What it is about"),
        max_length=2_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy(
            "Two or three sentences. Ads are matched to this text where a visitor is unknown."
        ),
    )
    category = forms.CharField(
        label=gettext_lazy("Category"),
        max_length=60,
        required=False,
        help_text=gettext_lazy("Such as news, sport or cooking"),
    )
    language = forms.CharField(
        label=gettext_lazy("Language"),
        max_length=8,
        initial="en",
        help_text=gettext_lazy("Two letters, such as en or de"),
    )
    ads_per_advertiser = AdsPerAdvertiserField(help_text=gettext_lazy("1 unless you say more."))
    variety = forms.FloatField(
        label=gettext_lazy("Variety"),
        min_value=0,
        max_value=1,
        required=False,
        widget=forms.NumberInput(attrs={"step": "0.05"}),
        help_text=gettext_lazy(
            "0 to 1: how much less an ad counts whose advertiser or category a visitor saw this week. 0: not at all."
        ),
    )
    separates_categories = forms.BooleanField(
        label=gettext_lazy("Advertisers of one category never stand together"), required=False, initial=True
    )
    is_active = forms.BooleanField(label=gettext_lazy("Ads may be shown on it"), required=False, initial=True)

    def __init__(self, *args: Any, publisher: Organisation, site: Site | None = None, **options: Any) -> None:
        if site is not None:
            options["initial"] = {name: getattr(site, name) for name in self.base_fields}
        super().__init__(*args, **options)
        self.publisher, self.site = publisher, site

    def clean_ads_per_advertiser(self) -> int:
        return self.cleaned_data["ads_per_advertiser"] or 1

    def clean_variety(self) -> float:
        return float(self.cleaned_data["variety"] or 0.0)

    def clean_domain(self) -> str:
        domain: str = self.cleaned_data["domain"].strip().lower()
        domain = domain.removeprefix("https://").removeprefix("http://").removesuffix("/")
        if not DOMAIN.fullmatch(domain):
            raise ValidationError(_("This is not a domain. Write it as in newsroom.example."))
        others = Site.objects.filter(publisher=self.publisher, domain=domain)
        if (others.exclude(pk=self.site.pk) if self.site else others).exists():
            raise ValidationError(_("You already have a site with this domain."))
        return domain


class SlotForm(forms.Form):
    """A place for an ad. Its floor is the least that 1,000 impressions are sold for."""

    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=120, help_text=gettext_lazy("Such as “Article top”")
    )
    format = forms.ChoiceField(
        label=gettext_lazy("Format"),
        choices=AdFormat.choices,
        initial=AdFormat.BANNER,
        widget=RadioCards(
            hints={
                AdFormat.BANNER: gettext_lazy("A box of a fixed size"),
                AdFormat.NATIVE: gettext_lazy("Headline and text in your own style"),
            }
        ),
    )
    size = forms.ChoiceField(
        label=gettext_lazy("Size"), choices=[*SIZES, (OTHER, gettext_lazy("Another size"))], initial="300x250"
    )
    width = forms.IntegerField(
        label=gettext_lazy("Width in pixels"), min_value=20, max_value=4_000, required=False
    )
    height = forms.IntegerField(
        label=gettext_lazy("Height in pixels"), min_value=20, max_value=4_000, required=False
    )
    position = forms.IntegerField(
        label=gettext_lazy("Position"),
        min_value=1,
        max_value=50,
        initial=1,
        help_text=gettext_lazy("1 is the top of the page"),
    )
    floor = MoneyField(
        label=gettext_lazy("Floor"),
        required=False,
        help_text=gettext_lazy(
            "Least price of 1,000 impressions. Empty: any price. A higher floor fills less."
        ),
    )
    ads_per_advertiser = AdsPerAdvertiserField(help_text=gettext_lazy("Empty: as on the site."))
    fallback = forms.ChoiceField(
        label=gettext_lazy("Where no paid ad wins"),
        choices=Fallback.choices,
        initial=Fallback.HOUSE_FIRST,
        required=False,
    )
    passback = forms.CharField(
        label=gettext_lazy("Passback"),
        required=False,
        max_length=passbacks.LONGEST,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "mono"}),
        help_text=gettext_lazy(
            "Another ad server's address (https://…) or HTML. It runs in a frame of its own that cannot reach your page."
        ),
    )
    is_active = forms.BooleanField(label=gettext_lazy("It may be filled"), required=False, initial=True)

    def __init__(self, *args: Any, site: Site, slot: AdSlot | None = None, **options: Any) -> None:
        if slot is not None:
            options["initial"] = _initial(slot)
        super().__init__(*args, **options)
        self.site, self.slot = site, slot
        set_currency(self, site.currency)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        others = self.site.slots.filter(name=name)
        if (others.exclude(pk=self.slot.pk) if self.slot else others).exists():
            raise ValidationError(_("This site already has a slot of this name."))
        return name

    def clean_fallback(self) -> str:
        return self.cleaned_data["fallback"] or Fallback.HOUSE_FIRST

    def clean_passback(self) -> str:
        try:
            return passbacks.checked(self.cleaned_data["passback"])
        except passbacks.PassbackError as error:
            raise ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("size") == OTHER:
            for name in ("width", "height"):
                if not values.get(name) and name not in self.errors:
                    self.add_error(name, _("Say how many pixels."))
        return values

    def fields_of_slot(self) -> dict[str, Any]:
        """What services.save_slot takes, from a valid form."""
        values = self.cleaned_data
        if values["size"] == OTHER:
            width, height = values["width"], values["height"]
        else:
            width, height = map(int, values["size"].split("x"))
        kept = {name: values[name] for name in _KEPT}
        return {**kept, "width": width, "height": height, "floor_micros": values["floor"] or 0}


def _initial(slot: AdSlot) -> dict[str, Any]:
    size = f"{slot.width}x{slot.height}"
    kept = {name: getattr(slot, name) for name in (*_KEPT, "width", "height")}
    return {**kept, "size": size if size in dict(SIZES) else OTHER, "floor": slot.floor_micros or None}
