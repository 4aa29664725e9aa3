"""What every way of paying can do. Money is in the books only after `payments.arrive`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from adplatform.billing.models import Payment, Refund


class GatewayError(Exception):
    """A gateway that refuses or does not answer, in a sentence a person can act on."""


@dataclass(frozen=True, slots=True)
class Started:
    """Where the payer goes next; empty when the page itself says what to do (a transfer)."""

    redirect_url: str = ""


class Gateway(Protocol):
    def start(self, payment: Payment, *, return_url: str) -> Started:
        """Ask the payer for the money."""
        ...

    def refund(self, refund: Refund) -> str:
        """Send money back to its source; the gateway's id of it, or "" where a person has to send it.
        Asked again for the same refund it sends nothing twice."""
        ...
