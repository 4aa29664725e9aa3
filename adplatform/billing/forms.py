"""What advertisers and publishers fill in about their money."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import Organisation
from adplatform.billing import payments, tax
from adplatform.billing.bank_files import is_iban
from adplatform.billing.models import BillingProfile, Payee, Payment
from adplatform.core.forms import MoneyField, RadioCards, set_currency

_HINTS: dict[str, Any] = {
    Payment.Gateway.BANK: gettext_lazy("One to three days; write the reference that the next page shows."),
    Payment.Gateway.STRIPE: gettext_lazy("At once; you enter the card on Stripe's page, not here."),
}


class DepositForm(forms.Form):
    """How much, and how. `key` of the form: sent twice, asked once."""

    micros = MoneyField(label=gettext_lazy("Amount"))
    gateway = forms.ChoiceField(label=gettext_lazy("How"), widget=RadioCards(hints=_HINTS))
    key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, organisation: Organisation, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        labels = dict(Payment.Gateway.choices)
        choice = self.fields["gateway"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [(name, labels[Payment.Gateway(name)]) for name in payments.offered()]
        set_currency(self, organisation.currency)


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """Whom invoices are addressed to. They keep what it was on the day of issue."""

    class Meta:
        model = BillingProfile
        fields = ("legal_name", "address", "country", "vat_id")
        labels = {
            "legal_name": gettext_lazy("Legal name"),
            "address": gettext_lazy("Address"),
            "country": gettext_lazy("Country"),
            "vat_id": gettext_lazy("VAT id"),
        }
        help_texts = {
            "country": gettext_lazy("Two letters, such as DE"),
            "vat_id": gettext_lazy("With it, invoices inside the European Union are without VAT"),
        }
        widgets = {
            "legal_name": forms.TextInput(),
            "address": forms.Textarea(attrs={"rows": 3}),
            "vat_id": forms.TextInput(),
        }

    def clean_country(self) -> str:
        country = str(self.cleaned_data["country"]).upper()
        if not (len(country) == 2 and country.isascii() and country.isalpha()):
            raise ValidationError(_("Write the country as two letters, such as DE."))
        return country

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        vat_id = str(values.get("vat_id", "")).replace(" ", "").upper()
        country = values.get("country", "")
        if vat_id and country in tax.EU and not tax.is_vat_id(vat_id, country):
            self.add_error("vat_id", _("This is no VAT id of that country: it begins with its letters."))
        return values | {"vat_id": vat_id}


class PayeeForm(forms.ModelForm):  # type: ignore[type-arg]
    """Where payouts go."""

    class Meta:
        model = Payee
        fields = ("holder", "iban", "bic")
        labels = {
            "holder": gettext_lazy("Account holder"),
            "iban": gettext_lazy("IBAN"),
            "bic": gettext_lazy("BIC"),
        }
        widgets = {
            "holder": forms.TextInput(),
            "iban": forms.TextInput(attrs={"autocomplete": "off"}),
            "bic": forms.TextInput(),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        iban = self.fields["iban"]
        assert isinstance(iban, forms.CharField)
        iban.max_length = 42  # people write it in groups of four
        iban.widget.attrs["maxlength"] = "42"
        iban.validators = []

    def clean_iban(self) -> str:
        iban = "".join(str(self.cleaned_data["iban"]).split()).upper()
        if not is_iban(iban):
            raise ValidationError(_("This IBAN has a mistake: compare it digit by digit."))
        return iban

    def clean_bic(self) -> str:
        bic = str(self.cleaned_data["bic"]).strip().upper()
        if bic and not (len(bic) in {8, 11} and bic.isascii() and bic.isalnum() and bic[:6].isalpha()):
            raise ValidationError(_("A BIC has 8 or 11 letters and digits; leave it empty inside SEPA."))
        return bic
