"""Four eyes: what one operator asks for, another allows. The database refuses an approval by the one who asked."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.services import audit
from adplatform.billing import credit, credit_notes, ledger, payments, services
from adplatform.billing.models import Invoice, Payment, Proposal
from adplatform.core.money import MICROS, format_micros


class ApprovalError(ledger.LedgerError):
    """A decision that is not this person's, or was made before."""


def needs_second(kind: str, micros: int) -> bool:
    """Credit limits always; the rest above FOUR_EYES_UNITS of the currency."""
    return kind == Proposal.Kind.CREDIT_LIMIT or micros > settings.FOUR_EYES_UNITS * MICROS


def ask(
    *,
    kind: str,
    organisation: Organisation,
    micros: int,
    words: str,
    detail: Mapping[str, Any],
    key: uuid.UUID,
    by: User,
    at: datetime,
) -> Proposal | None:
    """Do it, or, where a second person has to agree, note it and return the proposal."""
    if needs_second(kind, micros):
        given = {
            "kind": kind,
            "organisation": organisation,
            "micros": micros,
            "currency": organisation.currency,
            "words": words,
            "detail": dict(detail),
            "proposed_by": by,
            "proposed_at": at,
        }
        proposal, is_new = Proposal.objects.get_or_create(key=key, defaults=given)
        if is_new:
            _note("money.proposed", proposal, by)
        return proposal
    proposal = Proposal(
        key=key,
        kind=kind,
        organisation=organisation,
        micros=micros,
        currency=organisation.currency,
        words=words,
        detail=dict(detail),
        proposed_by=by,
        proposed_at=at,
    )
    if _ACTIONS[kind](proposal, by, at):
        _note(_WORDS[kind], proposal, by)
    return None


def approve(proposal: Proposal, *, by: User, at: datetime) -> Proposal:
    """Another operator agrees: it happens now. Twice, or by two at once, it happens once."""
    with transaction.atomic():
        proposal = _waiting(proposal)
        if proposal.proposed_by_id == by.pk:
            raise ApprovalError("You asked for this yourself: another operator has to approve it.")
        proposal.state, proposal.decided_by, proposal.decided_at = Proposal.State.APPROVED, by, at
        proposal.save(update_fields=["state", "decided_by", "decided_at"])
        _ACTIONS[proposal.kind](proposal, by, at)
        _note(_WORDS[proposal.kind], proposal, by)
    return proposal


@transaction.atomic
def refuse(proposal: Proposal, *, by: User, at: datetime) -> Proposal:
    """Nothing happens; also whoever asked may take it back."""
    proposal = _waiting(proposal)
    proposal.state, proposal.decided_by, proposal.decided_at = Proposal.State.REFUSED, by, at
    proposal.save(update_fields=["state", "decided_by", "decided_at"])
    _note("money.refused", proposal, by)
    return proposal


def _waiting(proposal: Proposal) -> Proposal:
    proposal = Proposal.objects.select_for_update(of=("self",)).get(pk=proposal.pk)
    if proposal.state != Proposal.State.WAITING:
        raise ApprovalError(f"This was {proposal.get_state_display().lower()} before.")
    return proposal


def _note(action: str, proposal: Proposal, by: User) -> None:
    detail = {"amount": format_micros(proposal.micros, proposal.currency), "what": proposal.words}
    detail |= {"reference": proposal.detail["reference"]} if "reference" in proposal.detail else {}
    audit(
        user=by,
        organisation=proposal.organisation,
        action=action,
        target=proposal.organisation.name,
        detail=detail,
    )


# Each returns whether it did something now (and not before).
def _deposit(proposal: Proposal, _by: User, at: datetime) -> bool:
    detail = proposal.detail
    if "payment" in detail:
        payment = Payment.objects.get(pk=detail["payment"])
        was_there = payment.status == Payment.Status.ARRIVED
        payments.arrive(payment, proposal.micros, external_id="", at=at)
        return not was_there
    was_there = services.was_deposited(str(proposal.key))
    memo = f"Bank transfer: {detail['reference']}"
    services.deposit(proposal.organisation, proposal.micros, key=str(proposal.key), at=at, memo=memo)
    return not was_there


def _refund(proposal: Proposal, by: User, at: datetime) -> bool:
    payment = Payment.objects.get(pk=proposal.detail["payment"])
    reason = proposal.detail["reason"]
    payments.refund(payment, proposal.micros, key=proposal.key, reason=reason, by=by, at=at)
    return True


def _credit_limit(proposal: Proposal, by: User, at: datetime) -> bool:
    credit.set_limit(
        proposal.organisation, proposal.micros, proposed_by=proposal.proposed_by, approved_by=by, at=at
    )
    return True


def _credit_note(proposal: Proposal, _by: User, at: datetime) -> bool:
    invoice = Invoice.objects.get(pk=proposal.detail["invoice"])
    credit_notes.issue(
        invoice, proposal.micros, key=str(proposal.key), reason=proposal.detail["reason"], at=at
    )
    return True


_ACTIONS: dict[str, Callable[[Proposal, User, datetime], bool]] = {
    Proposal.Kind.DEPOSIT: _deposit,
    Proposal.Kind.REFUND: _refund,
    Proposal.Kind.CREDIT_LIMIT: _credit_limit,
    Proposal.Kind.CREDIT_NOTE: _credit_note,
}
_WORDS: dict[str, str] = {
    Proposal.Kind.DEPOSIT: "money.deposited",
    Proposal.Kind.REFUND: "money.refunded",
    Proposal.Kind.CREDIT_LIMIT: "money.credit_limit_set",
    Proposal.Kind.CREDIT_NOTE: "money.credited",
}
