"""The form of an operator's rule, and the sentence that says what a rule does."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.campaigns import rules
from adplatform.campaigns.models import OperatorRule
from adplatform.core.forms import MOMENT, MomentField
from adplatform.decision.rules import LEAST_FACTOR, MOST_FACTOR
from adplatform.inventory.models import AdSlot, Category, Site

Action = OperatorRule.Action


class CategoryInput(forms.TextInput):
    """A name with the graph's categories to choose from; any other name may be typed."""

    def __init__(self) -> None:
        super().__init__(attrs={"list": "categories", "autocomplete": "off"})


class RuleForm(forms.Form):
    """What a rule does with which ads in which places, from when to when, and why."""

    action = forms.ChoiceField(label=gettext_lazy("Action"), choices=Action.choices)
    factor = forms.FloatField(
        label=gettext_lazy("Factor"),
        required=False,
        min_value=LEAST_FACTOR,
        max_value=MOST_FACTOR,
        widget=forms.NumberInput(attrs={"step": "0.05"}),
        help_text=gettext_lazy("From 0.1 to 3. It orders ads; nobody pays more because of it."),
    )
    share = forms.FloatField(
        label=gettext_lazy("Share of the decisions, %"),
        required=False,
        min_value=0,
        max_value=100,
        help_text=gettext_lazy("In how many of 100 decisions there these ads may take part."),
    )
    advertiser = forms.ModelChoiceField(
        label=gettext_lazy("Advertiser"),
        queryset=Organisation.objects.filter(kind=Organisation.Kind.ADVERTISER),
        required=False,
        empty_label=gettext_lazy("Any advertiser"),
    )
    category = forms.CharField(
        label=gettext_lazy("Category of the ads"),
        required=False,
        max_length=60,
        widget=CategoryInput(),
        help_text=gettext_lazy("With all categories that lie below it."),
    )
    words = forms.CharField(
        label=gettext_lazy("Words in the ads"),
        required=False,
        max_length=300,
        help_text=gettext_lazy("Whole words or phrases, divided by commas; one of them is enough."),
    )
    site = forms.ModelChoiceField(
        label=gettext_lazy("Site"),
        queryset=Site.objects.all(),
        required=False,
        empty_label=gettext_lazy("Any site"),
    )
    slot = forms.CharField(
        label=gettext_lazy("Ad slot"),
        required=False,
        max_length=20,
        help_text=gettext_lazy("Its public id, as in the tag of the page."),
    )
    topic = forms.CharField(
        label=gettext_lazy("Category of the site"),
        required=False,
        max_length=60,
        widget=CategoryInput(),
        help_text=gettext_lazy("With all categories that lie below it."),
    )
    least_related = forms.FloatField(
        label=gettext_lazy("Also related categories, from weight"),
        required=False,
        min_value=0.01,
        max_value=1,
        widget=forms.NumberInput(attrs={"step": "0.05"}),
        help_text=gettext_lazy("Empty: only the categories named and what lies below them."),
    )
    start_at = MomentField(label=gettext_lazy("From (UTC)"))
    end_at = MomentField(label=gettext_lazy("Until (UTC)"), required=False)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("For the audit log; advertisers do not see it."),
    )

    def __init__(self, *args: Any, at: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        self.at = at
        self.fields["start_at"].initial = at.strftime(MOMENT)

    def clean_slot(self) -> AdSlot | None:
        public_id = self.cleaned_data["slot"].strip()
        if not public_id:
            return None
        found = AdSlot.objects.select_related("site").filter(public_id=public_id).first()
        if found is None:
            raise ValidationError(_("There is no ad slot with this public id."))
        return found

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        wanted = {Action.MULTIPLY: "factor", Action.LIMIT: "share"}.get(values.get("action", ""))
        if wanted and values.get(wanted) is None and wanted not in self.errors:
            self.add_error(wanted, _("This is needed."))
        if not self.errors:
            try:
                rules.check(self.rule(), at=self.at)
            except rules.RuleError as error:
                raise ValidationError(str(error)) from error
        return values

    def rule(self) -> OperatorRule:
        """The rule that the form says, not saved."""
        values = self.cleaned_data
        action = Action(values["action"])
        names = (
            "advertiser",
            "category",
            "words",
            "site",
            "slot",
            "topic",
            "least_related",
            "end_at",
            "reason",
        )
        return OperatorRule(
            action=action,
            factor=values["factor"] if action == Action.MULTIPLY else 1.0,
            share_bp=round(values["share"] * 100) if action == Action.LIMIT else 0,
            start_at=values["start_at"].astimezone(UTC),
            **{name: values[name] for name in names},
        )

    @property
    def digest(self) -> str:
        """What the shown effect belongs to: another rule has another one."""
        said = sorted((name, str(value)) for name, value in self.cleaned_data.items())
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def known_categories() -> list[str]:
    return list(Category.objects.values_list("name", flat=True))


def sentence(rule: OperatorRule) -> str:
    """The whole rule in one sentence."""
    return f"{_doing(rule)} {_ads(rule)}{_places(rule)}."


def _doing(rule: OperatorRule) -> str:
    if rule.action == Action.FORBID:
        return _("Forbid")
    if rule.action == Action.LIMIT:
        return _("Let into at most %(share)s %% of the decisions") % {"share": f"{rule.share_bp / 100:g}"}
    return _("Count %(factor)s times the worth of") % {"factor": f"{rule.factor:g}"}


def _ads(rule: OperatorRule) -> str:
    parts = []
    if rule.category:
        parts.append(_("of the category “%s”") % rule.category)
    if rule.advertiser:
        parts.append(_("by %s") % rule.advertiser)
    if rule.words:
        parts.append(_("with the words “%s”") % "”, “".join(rules.words_of(rule)))
    return " ".join([_("ads"), *parts]) if parts else _("all ads")


def _places(rule: OperatorRule) -> str:
    if rule.slot:
        return " " + _("in the slot %s") % rule.slot
    if rule.site:
        return " " + _("on %s") % rule.site
    return " " + _("on sites of the category “%s”") % rule.topic if rule.topic else ""
