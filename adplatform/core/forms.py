"""Form fields that the portal and the console share: money in micros, lists of words, choices as cards or chips."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from adplatform.core import money

FINE_DIGITS = 4  # of a bid: a hundredth of a cent


class RadioCards(forms.RadioSelect):
    """One choice of few, each with a sentence; `hints` maps a value to it."""

    hints: Mapping[str, Any]

    def __init__(self, *, hints: Mapping[str, Any], attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs)
        self.hints = hints

    def render(
        self,
        name: str,
        value: Any,
        attrs: dict[str, Any] | None = None,
        renderer: Any = None,  # noqa: ARG002 - Django hands it over
    ) -> SafeString:
        options = [
            {"value": key, "label": label, "hint": self.hints.get(key, ""), "checked": str(key) == str(value)}
            for key, label in self.choices
            if key
        ]
        context = {"name": name, "options": options, "attrs": attrs or {}, "required": self.is_required}
        return mark_safe(render_to_string("components/radio_cards.html", context))  # noqa: S308 - a template


class CheckChips(forms.CheckboxSelectMultiple):
    """Any of few choices."""

    def render(
        self,
        name: str,
        value: Any,
        attrs: dict[str, Any] | None = None,
        renderer: Any = None,  # noqa: ARG002 - Django hands it over
    ) -> SafeString:
        chosen = {str(item) for item in value or []}
        options = [
            {"value": key, "label": label, "checked": str(key) in chosen} for key, label in self.choices
        ]
        context = {"name": name, "options": options, "attrs": attrs or {}}
        return mark_safe(render_to_string("components/check_chips.html", context))  # noqa: S308 - a template


class MoneyField(forms.Field):
    """An amount of the organisation's currency, as micros. Set `currency` before use (see `set_currency`)."""

    currency = "USD"

    def __init__(self, *, fine: bool = False, **options: Any) -> None:
        attrs = {"inputmode": "decimal", "autocomplete": "off", "class": "num"}
        super().__init__(widget=forms.TextInput(attrs=attrs), **options)
        self.digits = FINE_DIGITS if fine else None

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values:
            return None
        try:
            micros = money.parse_micros(str(value), self.currency, digits=self.digits)
        except money.MoneyError as error:
            raise ValidationError(str(error)) from error
        if micros <= 0:
            raise ValidationError(_("Write an amount above zero."))
        if micros > 10**9 * money.MICROS:
            raise ValidationError(_("This is more than a billion: check the amount."))
        return micros

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        fine = self.digits is not None and value % (money.MICROS // 100) != 0
        return money.format_plain(value, self.currency, digits=self.digits if fine else None)


class WordsField(forms.CharField):
    """Words or codes between commas or on lines of their own, as a list without repetitions."""

    def __init__(self, *, lines: int = 0, placeholder: str = "", **options: Any) -> None:
        attrs = {"placeholder": placeholder, "autocomplete": "off"}
        widget = forms.Textarea(attrs={**attrs, "rows": lines}) if lines else forms.TextInput(attrs=attrs)
        super().__init__(widget=widget, required=False, max_length=4_000, **options)

    def to_python(self, value: Any) -> Any:
        words = (word.strip() for word in re.split(r"[,;\n]", str(value or "")))
        return list(dict.fromkeys(word for word in words if word))

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def run_validators(self, value: Any) -> None:
        if len(", ".join(value)) > (self.max_length or 0):
            raise ValidationError(_("These are too many words."))


class DateField(forms.DateField):
    """A calendar day, with the browser's own picker."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), **options)

    def prepare_value(self, value: Any) -> Any:
        return value.date() if isinstance(value, datetime) else value


MOMENT = "%Y-%m-%dT%H:%M"


class MomentField(forms.DateTimeField):
    """A moment, in UTC, with the browser's own picker."""

    def __init__(self, **options: Any) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=MOMENT)
        super().__init__(widget=widget, input_formats=[MOMENT, f"{MOMENT}:%S"], **options)


def set_currency(form: forms.BaseForm, currency: str) -> None:
    """Every amount of the form is of this currency."""
    for field in form.fields.values():
        if isinstance(field, MoneyField):
            field.currency = currency
