"""Transfers to the platform's account. People move this money: an operator says when it arrived, and sends refunds."""

from __future__ import annotations

from adplatform.billing.gateways.base import Started
from adplatform.billing.models import Payment, Refund


class BankTransfer:
    def start(self, payment: Payment, *, return_url: str) -> Started:  # noqa: ARG002 - the payer's bank knows neither
        return Started()

    def refund(self, refund: Refund) -> str:  # noqa: ARG002 - a person sends it
        return ""
