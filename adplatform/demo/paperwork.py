"""What the demo's offices do besides ads: transfers, a credit note, credit, a refund, payouts that two people approve.

All of it goes through the services of the pages, and each step happens once however often the demo is started.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from adplatform.accounts.models import Organisation, User
from adplatform.billing import approvals, payments, payouts
from adplatform.billing.models import BillingProfile, Invoice, Payee, Payment, PayoutBatch, Proposal, Refund
from adplatform.core.money import MICROS, format_micros, round_half_even
from adplatform.demo.catalogue import BuyerPlan, PayeePlan

BANK = Payment.Gateway.BANK
CREDITED, TOPS_UP, REFUNDED = "Fleetfoot Sports", "Northbound Travel", "Greenhand Garden"
LENT_TO, ASKS_FOR_CREDIT = "Woolbridge Clothing", "Plainmoney Bank"


def address_invoices(organisation: Organisation, plan: BuyerPlan) -> None:
    BillingProfile.objects.create(
        organisation=organisation,
        legal_name=plan.legal_name,
        address=plan.address,
        country=plan.country,
        vat_id=plan.vat_id,
    )


def say_where_to_pay(publisher: Organisation, plan: PayeePlan) -> None:
    Payee.objects.create(organisation=publisher, holder=plan.holder, iban=plan.iban, bic=plan.bic)


def transfer(organisation: Organisation, micros: int, *, at: datetime) -> Payment:
    """Money that an advertiser announced and its bank sent."""
    asked = payments.ask(organisation, micros, gateway=BANK, key=_key("first transfer", organisation))
    return payments.arrive(asked, micros, external_id=f"demo-{organisation.pk}", at=at)


def finish(*, operator: User, second: User, at: datetime) -> None:
    """What is on people's desks when the month is over."""
    _pay_out(operator, second, at)
    _credit(operator)
    _refund(operator, at)
    _lend(operator, second, at)
    payments.ask(_named(TOPS_UP), 250 * MICROS, gateway=BANK, key=_key("second transfer", _named(TOPS_UP)))


def _pay_out(operator: User, second: User, at: datetime) -> None:
    """Batches of the month are approved and paid; what has become payable since waits for a second look."""
    for batch in PayoutBatch.objects.filter(state=PayoutBatch.State.PREPARED, prepared_at__lt=at):
        looked = batch if batch.first_by_id else payouts.approve(batch, by=operator, at=batch.prepared_at)
        payouts.approve(looked, by=second, at=batch.prepared_at + timedelta(hours=4))
        payouts.mark_paid(batch, by=operator, at=batch.prepared_at + timedelta(days=1))
    if not PayoutBatch.objects.filter(state=PayoutBatch.State.PREPARED).exists():
        payouts.prepare(at=at, by=operator)


def _credit(operator: User) -> None:
    """A tenth of an invoice, for a complaint that was right."""
    invoices = Invoice.objects.filter(
        organisation=_named(CREDITED), kind=Invoice.Kind.INVOICE, net_micros__gt=0
    )
    invoice = invoices.order_by("pk").first()
    micros = round_half_even(invoice.net_micros // 10, invoice.currency) if invoice else 0
    if invoice is None or not micros or invoice.corrections.exists():
        return
    reason = "Ads stood beside a broken page"
    approvals.ask(
        kind=Proposal.Kind.CREDIT_NOTE,
        organisation=invoice.organisation,
        micros=micros,
        words=f"Credit of {format_micros(micros, invoice.currency)} on {invoice}: {reason}",
        detail={"invoice": invoice.pk, "reason": reason},
        key=_key("credit note", invoice.organisation),
        by=operator,
        at=invoice.issued_at + timedelta(days=3),
    )


def _refund(operator: User, at: datetime) -> None:
    """Asked for, and still to be sent by hand."""
    organisation = _named(REFUNDED)
    payment = Payment.objects.filter(organisation=organisation, status=Payment.Status.ARRIVED).first()
    micros = 20 * MICROS
    if payment is None or Refund.objects.exists() or payments.refundable(payment) < micros:
        return
    reason = "Paid twice by mistake"
    approvals.ask(
        kind=Proposal.Kind.REFUND,
        organisation=organisation,
        micros=micros,
        words=f"Refund of {format_micros(micros, organisation.currency)}: {reason}",
        detail={"payment": payment.pk, "reason": reason},
        key=_key("refund", organisation),
        by=operator,
        at=at,
    )


def _lend(operator: User, second: User, at: datetime) -> None:
    """One credit limit that two people agreed on, one that waits for the second."""
    for name, micros in ((LENT_TO, 150 * MICROS), (ASKS_FOR_CREDIT, 500 * MICROS)):
        organisation = _named(name)
        proposal = approvals.ask(
            kind=Proposal.Kind.CREDIT_LIMIT,
            organisation=organisation,
            micros=micros,
            words=f"Credit limit of {format_micros(micros, organisation.currency)}",
            detail={},
            key=_key("credit limit", organisation),
            by=operator,
            at=at,
        )
        if name == LENT_TO and proposal is not None and proposal.state == Proposal.State.WAITING:
            approvals.approve(proposal, by=second, at=at + timedelta(hours=2))


def _named(name: str) -> Organisation:
    return Organisation.objects.get(name=name, is_synthetic=True)


def _key(what: str, organisation: Organisation) -> uuid.UUID:
    """The same for the same step of this organisation."""
    return uuid.uuid5(organisation.public_id, what)
