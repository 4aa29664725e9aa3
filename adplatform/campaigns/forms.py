"""Forms of campaigns, line items and creatives. They read people's units and give the services micros and UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.audience.models import Segment
from adplatform.campaigns import caps
from adplatform.campaigns.caps import CapFields
from adplatform.campaigns.models import BidStrategy, Campaign, Creative, LineItem
from adplatform.core.forms import CheckChips, DateField, MoneyField, RadioCards, WordsField, set_currency
from adplatform.core.money import BASIS_POINTS
from adplatform.decision import targeting
from adplatform.inventory.models import AdFormat, CreativeAttribute

GOALS: dict[str, str | Promise] = {
    BidStrategy.MANUAL_CPC: gettext_lazy("You pay for clicks, at most your bid for each."),
    BidStrategy.MANUAL_CPM: gettext_lazy("You pay for impressions, at most your bid for 1,000."),
    BidStrategy.MAXIMISE_CLICKS: gettext_lazy("As many clicks as the budget buys."),
    BidStrategy.MAXIMISE_CONVERSIONS: gettext_lazy("As many conversions as the budget buys."),
    BidStrategy.TARGET_CPA: gettext_lazy("Conversions at the mean cost that you name."),
    BidStrategy.TARGET_ROAS: gettext_lazy("Revenue of so many times the spend."),
}
BID_LABELS: dict[str, Any] = {
    BidStrategy.MANUAL_CPC: gettext_lazy("Most for a click"),
    BidStrategy.MANUAL_CPM: gettext_lazy("Most for 1,000 impressions"),
    BidStrategy.MAXIMISE_CLICKS: gettext_lazy("Most a click may cost"),
    BidStrategy.MAXIMISE_CONVERSIONS: gettext_lazy("What a conversion is worth to you"),
    BidStrategy.TARGET_CPA: gettext_lazy("Wanted cost of a conversion"),
    BidStrategy.TARGET_ROAS: gettext_lazy("What a conversion is worth to you"),
}
DEVICES: list[tuple[str, str | Promise]] = [
    ("desktop", gettext_lazy("Computers")),
    ("mobile", gettext_lazy("Phones")),
    ("tablet", gettext_lazy("Tablets")),
]
SIZES: list[tuple[str, str | Promise]] = [
    ("native", gettext_lazy("Native: headline and text in the page's own look")),
    ("300x250", gettext_lazy("Banner 300 × 250, medium rectangle")),
    ("728x90", gettext_lazy("Banner 728 × 90, leaderboard")),
    ("300x600", gettext_lazy("Banner 300 × 600, half page")),
    ("160x600", gettext_lazy("Banner 160 × 600, skyscraper")),
    ("970x250", gettext_lazy("Banner 970 × 250, billboard")),
    ("320x50", gettext_lazy("Banner 320 × 50, phone")),
]
LANGUAGES: list[tuple[str, str | Promise]] = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("es", "Español"),
    ("fr", "Français"),
    ("it", "Italiano"),
    ("nl", "Nederlands"),
    ("pl", "Polski"),
    ("pt", "Português"),
    ("uk", "Українська"),
    ("zh", "中文"),
    ("ja", "日本語"),
]


class CampaignForm(CapFields):
    """Name, goal, budgets and flight. Days are whole days in the organisation's zone, both included."""

    name = forms.CharField(label=gettext_lazy("Campaign name"), max_length=120)
    bid_strategy = forms.ChoiceField(
        label=gettext_lazy("Goal"),
        choices=BidStrategy.choices,
        initial=BidStrategy.MANUAL_CPC,
        widget=RadioCards(hints=GOALS),
    )
    target_roas = forms.DecimalField(
        label=gettext_lazy("Wanted return on ad spend"),
        required=False,
        min_value=Decimal("0.1"),
        max_value=Decimal(100),
        decimal_places=2,
        help_text=gettext_lazy("3 means revenue of three times the spend."),
    )
    daily_budget_micros = MoneyField(
        label=gettext_lazy("Daily budget"),
        required=False,
        help_text=gettext_lazy("Never more than this in a day."),
    )
    flight_budget_micros = MoneyField(
        label=gettext_lazy("Total budget"),
        required=False,
        help_text=gettext_lazy("Never more than this over the whole flight."),
    )
    start_date = DateField(label=gettext_lazy("First day"))
    end_date = DateField(
        label=gettext_lazy("Last day"), required=False, help_text=gettext_lazy("Empty: until you pause it.")
    )
    category = forms.CharField(
        label=gettext_lazy("What do you advertise?"),
        max_length=60,
        required=False,
        help_text=gettext_lazy("Competitors of one category are not shown together."),
    )

    def __init__(
        self, data: Any = None, *, organisation: Organisation, at: datetime, campaign: Campaign | None = None
    ) -> None:
        self.zone, self.at, self.campaign = ZoneInfo(organisation.time_zone), at, campaign
        super().__init__(data, initial=self._initial())
        set_currency(self, organisation.currency)

    def _initial(self) -> dict[str, Any]:
        campaign = self.campaign
        if campaign is None:
            return {"start_date": self.at.astimezone(self.zone).date()}
        names = ("name", "bid_strategy", "daily_budget_micros", "flight_budget_micros", "category")
        last = campaign.end_at - timedelta(seconds=1) if campaign.end_at else None
        roas = campaign.target_roas_bp
        return (
            {name: getattr(campaign, name) for name in names}
            | caps.initial_of(campaign)
            | {
                "start_date": campaign.start_at.astimezone(self.zone).date(),
                "end_date": last.astimezone(self.zone).date() if last else None,
                "target_roas": Decimal(roas) / BASIS_POINTS if roas else None,
            }
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        self._check_days(cleaned.get("start_date"), cleaned.get("end_date"))
        if cleaned.get("bid_strategy") == BidStrategy.TARGET_ROAS and cleaned.get("target_roas") is None:
            self.add_error("target_roas", _("Say which return you want."))
        self._check_budgets(cleaned)
        return cleaned

    def _check_days(self, start: date | None, end: date | None) -> None:
        today = self.at.astimezone(self.zone).date()
        if start and end and end < start:
            self.add_error("end_date", _("The last day is before the first one."))
        elif end and end < today and "end_date" in self.changed_data:
            self.add_error("end_date", _("This day is over."))
        if start and start < today and "start_date" in self.changed_data:
            self.add_error("start_date", _("Choose today or a later day."))

    def _check_budgets(self, cleaned: dict[str, Any]) -> None:
        if {"daily_budget_micros", "flight_budget_micros"} & self.errors.keys():
            return
        daily, flight = cleaned.get("daily_budget_micros"), cleaned.get("flight_budget_micros")
        if daily is None and flight is None:
            self.add_error("daily_budget_micros", _("Set a daily budget, a total budget, or both."))
        elif daily is not None and flight is not None and daily > flight:
            self.add_error("daily_budget_micros", _("A day's budget cannot exceed the total budget."))
        elif daily is None and cleaned.get("end_date") is None and "end_date" not in self.errors:
            self.add_error(
                "end_date", _("A total budget without a daily one needs a last day to be spread over.")
            )

    def fields_of_campaign(self) -> dict[str, Any]:
        """What the services take."""
        cleaned = self.cleaned_data
        roas = cleaned["target_roas"] if cleaned["bid_strategy"] == BidStrategy.TARGET_ROAS else None
        names = ("name", "bid_strategy", "daily_budget_micros", "flight_budget_micros", "category")
        return (
            {name: cleaned[name] for name in names}
            | self.fields_of_cap()
            | {
                "target_roas_bp": None if roas is None else round(roas * BASIS_POINTS),
                "start_at": self._start_at(cleaned["start_date"]),
                "end_at": self._end_at(cleaned["end_date"]),
            }
        )

    def _start_at(self, day: date) -> datetime:
        """Midnight of the day; a start that stands is not moved."""
        if self.campaign and self.campaign.start_at.astimezone(self.zone).date() == day:
            return self.campaign.start_at
        return self._midnight(day)

    def _end_at(self, day: date | None) -> datetime | None:
        """The midnight after the last day."""
        return self._midnight(day + timedelta(days=1)) if day else None

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, tzinfo=self.zone)

    def raised_budgets(self) -> list[tuple[str, int | None, int | None]]:
        """(field, before, after) of budgets that let more be spent than before, for which people are asked again."""
        if self.campaign is None:
            return []
        raised = []
        for name in ("daily_budget_micros", "flight_budget_micros"):
            before, after = getattr(self.campaign, name), self.cleaned_data[name]
            if before is not None and (after is None or after > before):
                raised.append((name, before, after))
        return raised


class LineItemForm(CapFields):
    """Who should see it, what it bids, and how often one person may see it."""

    name = forms.CharField(label=gettext_lazy("Line item name"), max_length=120)
    bid_micros = MoneyField(label=gettext_lazy("Bid"), fine=True)
    pacing = forms.ChoiceField(
        label=gettext_lazy("Pacing"),
        choices=LineItem.Pacing.choices,
        initial=LineItem.Pacing.EVEN,
        widget=RadioCards(
            hints={
                LineItem.Pacing.EVEN: gettext_lazy(
                    "Follows the traffic, so that the budget lasts the whole day."
                ),
                LineItem.Pacing.ASAP: gettext_lazy("Every chance is taken until the budget is spent."),
            }
        ),
    )
    country = WordsField(
        label=gettext_lazy("Countries"),
        placeholder="DE, AT, CH",
        help_text=gettext_lazy("Codes of two letters. Empty: all."),
    )
    language = WordsField(
        label=gettext_lazy("Languages of the page"),
        placeholder="en, de",
        help_text=gettext_lazy("Empty: all."),
    )
    device = forms.MultipleChoiceField(
        label=gettext_lazy("Devices"),
        choices=DEVICES,
        required=False,
        widget=CheckChips,
        help_text=gettext_lazy("None chosen: all."),
    )
    category = WordsField(
        label=gettext_lazy("Categories of the site"),
        placeholder="sport, news",
        help_text=gettext_lazy("Empty: all."),
    )
    keyword = WordsField(
        label=gettext_lazy("Keywords of the page"),
        lines=2,
        help_text=gettext_lazy("Shown only where the page has one of them. Empty: everywhere."),
    )
    keyword_exclude = WordsField(
        label=gettext_lazy("Never beside these keywords"),
        lines=2,
        help_text=gettext_lazy("Pages with any of them are left out."),
    )
    segment = forms.MultipleChoiceField(
        label=gettext_lazy("Segments of visitors"),
        required=False,
        widget=CheckChips,
        help_text=gettext_lazy("None chosen: everyone."),
    )
    INCLUDED = ("country", "language", "device", "category", "keyword", "segment")

    def __init__(self, data: Any = None, *, campaign: Campaign, line_item: LineItem | None = None) -> None:
        self.campaign, self.line_item = campaign, line_item
        super().__init__(data, initial=self._initial())
        set_currency(self, campaign.currency)
        self.fields["bid_micros"].label = BID_LABELS[campaign.bid_strategy]
        segments = Segment.objects.filter(organisation=campaign.organisation).order_by("name")
        choices = [(str(segment.pk), segment.name) for segment in segments]
        if choices:
            cast(forms.MultipleChoiceField, self.fields["segment"]).choices = choices
        else:
            del self.fields["segment"]

    def _initial(self) -> dict[str, Any]:
        if self.line_item is None:
            return {"name": _("Everyone")}
        names = ("name", "bid_micros", "pacing", *caps.FIELDS)
        stored = _stored_rules(self.line_item)
        chosen = {name: stored.get(name, {}).get("include", []) for name in self.INCLUDED}
        excluded = stored.get("keyword", {}).get("exclude", [])
        return (
            {name: getattr(self.line_item, name) for name in names} | chosen | {"keyword_exclude": excluded}
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            cleaned["targeting"] = targeting.as_dict(targeting.parse(self._rules(cleaned)))
        except targeting.TargetingError as error:
            for name, message in error.errors.items():
                self.add_error(name if name in self.fields else None, message)
        return cleaned

    def _rules(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """The stored rules with what the form shows laid over; what it does not show stays as it is."""
        rules = _stored_rules(self.line_item)
        for name in self.INCLUDED:
            if name in self.fields:
                rules[name] = {**rules.get(name, {}), "include": cleaned.get(name) or []}
        rules["keyword"]["exclude"] = cleaned.get("keyword_exclude") or []
        return rules

    def fields_of_line_item(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("name", "bid_micros", "pacing", "targeting")} | (
            self.fields_of_cap()
        )


def _stored_rules(line_item: LineItem | None) -> dict[str, Any]:
    """Its rules with both sides written out, whichever short form they are stored in."""
    return targeting.as_dict(targeting.parse(line_item.targeting)) if line_item else {}


class CreativeForm(CapFields):
    """The ad itself, as it will be reviewed."""

    headline = forms.CharField(
        label=gettext_lazy("Headline"),
        max_length=90,
        widget=forms.TextInput(attrs={"data-mirror": "#preview-headline"}),
    )
    body = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=200,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "data-mirror": "#preview-body"}),
    )
    call_to_action = forms.CharField(
        label=gettext_lazy("Words on the button"),
        max_length=40,
        required=False,
        widget=forms.TextInput(
            attrs={"data-mirror": "#preview-action", "placeholder": gettext_lazy("Learn more")}
        ),
    )
    landing_url = forms.URLField(
        label=gettext_lazy("Landing page"),
        max_length=2_000,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"placeholder": "https://…"}),
        help_text=gettext_lazy("Where a click leads. It must open without a redirect to another site."),
    )
    size = forms.ChoiceField(label=gettext_lazy("Format"), choices=SIZES, initial="300x250")
    language = forms.ChoiceField(label=gettext_lazy("Language of the text"), choices=LANGUAGES, initial="en")
    attributes = forms.MultipleChoiceField(
        label=gettext_lazy("What it has in it"),
        choices=CreativeAttribute.choices,
        required=False,
        widget=CheckChips,
        help_text=gettext_lazy(
            "Some publishers do not take every kind of ad. Reviewers check what you say here."
        ),
    )

    def __init__(self, data: Any = None, *, creative: Creative | None = None) -> None:
        super().__init__(data, initial=self._initial_of(creative))
        self._offer_present("size", SIZES)
        self._offer_present("language", LANGUAGES)

    def _offer_present(self, name: str, choices: Sequence[tuple[str, str | Promise]]) -> None:
        """What an import or the API chose stays a choice."""
        field, present = self.fields[name], self.initial.get(name)
        if present and present not in dict(choices) and isinstance(field, forms.ChoiceField):
            field.choices = [*choices, (present, present)]

    @staticmethod
    def _initial_of(creative: Creative | None) -> dict[str, Any]:
        if creative is None:
            return {}
        names = ("headline", "body", "call_to_action", "landing_url", "language", "attributes")
        native = creative.format == AdFormat.NATIVE
        size = "native" if native else f"{creative.width}x{creative.height}"
        return {name: getattr(creative, name) for name in names} | caps.initial_of(creative) | {"size": size}

    def clean_landing_url(self) -> str:
        url: str = self.cleaned_data["landing_url"]
        if urlsplit(url).scheme not in {"https", "http"}:
            raise ValidationError(_("A landing page begins with https:// or http://."))
        return url

    def fields_of_creative(self) -> dict[str, Any]:
        names = ("headline", "body", "call_to_action", "landing_url", "language")
        size = self.cleaned_data["size"]
        width, height = (300, 250) if size == "native" else map(int, size.split("x"))
        return (
            {name: self.cleaned_data[name] for name in names}
            | self.fields_of_cap()
            | {
                "attributes": sorted(self.cleaned_data["attributes"]),
                "name": self.cleaned_data["headline"],
                "format": AdFormat.NATIVE if size == "native" else AdFormat.BANNER,
                "width": width,
                "height": height,
            }
        )
