"""Payouts: what publishers earned before the hold, taken out of their earnings once, seen by two people, sent, booked.

Preparing a batch moves the money to the transit account under the ledger's lock: a second run, or five at the same
time, find nothing left to prepare. Refusing gives it back by reversal; paying takes it from our bank account.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from adplatform.accounts.models import Organisation, User
from adplatform.accounts.services import audit
from adplatform.billing import ledger, papers
from adplatform.billing.models import LedgerAccount, Payee, Payout, PayoutBatch
from adplatform.core.encrypted import next_key
from adplatform.core.money import MICROS, digits_of, format_micros
from adplatform.core.tenants import tenant


class PayoutError(ledger.LedgerError):
    """A step that is not this person's or not this batch's turn, in a sentence a person can act on."""


@dataclass(frozen=True, slots=True)
class Payable:
    """What a publisher could get now, in whole coins; `without_details`: it has not said where to."""

    organisation_id: int
    currency: str
    micros: int
    without_details: bool


# Earnings count once their hold is over; what was taken back or paid out counts at once, and so does a payout that
# was refused.
_MATURE = """
    SELECT a.owner_id, a.currency, least(sum(e.micros), coalesce(sum(e.micros)
        FILTER (WHERE p.effective_at < %(before)s OR e.micros < 0 OR p.key LIKE 'reverse:payout:%%'), 0))::bigint
    FROM billing_entry e JOIN billing_posting p ON p.id = e.posting_id JOIN billing_ledgeraccount a ON a.id = e.account_id
    WHERE a.kind = 'earned' AND (%(owner)s::bigint IS NULL OR a.owner_id = %(owner)s)
    GROUP BY a.owner_id, a.currency ORDER BY a.currency, a.owner_id
"""


def hold_ends(at: datetime) -> datetime:
    """Earnings of hours before this moment have passed the hold for invalid traffic."""
    return at - timedelta(days=settings.PAYOUT_HOLD_DAYS)


def payable(at: datetime, organisation: Organisation | None = None) -> list[Payable]:
    """What could be paid out now, by publisher, whatever its size."""
    values = {"before": hold_ends(at), "owner": organisation.pk if organisation else None}
    with connection.cursor() as cursor:
        cursor.execute(_MATURE, values)
        rows = cursor.fetchall()
    known = set(Payee.objects.values_list("organisation_id", flat=True))
    return [
        Payable(owner, currency, _whole_coins(micros or 0, currency), owner not in known)
        for owner, currency, micros in rows
    ]


def is_enough(item: Payable) -> bool:
    return not item.without_details and item.micros >= max(1, settings.PAYOUT_MINIMUM_UNITS * MICROS)


@transaction.atomic
def prepare(*, at: datetime, by: User | None = None, dry_run: bool = False) -> list[PayoutBatch]:
    """One batch per currency of all that is payable; `by`, an operator who prepares it, is its first approval."""
    if not dry_run:
        ledger.lock_chain()
    by_currency: dict[str, list[Payable]] = {}
    for item in payable(at):
        if is_enough(item):
            by_currency.setdefault(item.currency, []).append(item)
    batches = []
    for currency, items in by_currency.items():
        batch = PayoutBatch(
            currency=currency,
            micros=sum(item.micros for item in items),
            prepared_at=at,
            earned_before=hold_ends(at),
            first_by=by,
        )
        if not dry_run:
            batch.save()
            _fill(batch, items, at)
            _note("payouts.prepared", batch, by)
        batches.append(batch)
    return batches


@transaction.atomic
def approve(batch: PayoutBatch, *, by: User, at: datetime) -> PayoutBatch:
    """The first look, or the second by another person, after which the batch can go to the bank."""
    batch = _locked(batch, PayoutBatch.State.PREPARED)
    if batch.first_by_id is None:
        batch.first_by = by
    elif batch.first_by_id == by.pk:
        raise PayoutError("You have approved this batch: a second operator has to, too.")
    else:
        batch.second_by, batch.approved_at, batch.state = by, at, PayoutBatch.State.APPROVED
    batch.save(update_fields=["first_by", "second_by", "approved_at", "state"])
    _note("payouts.approved", batch, by)
    return batch


@transaction.atomic
def refuse(batch: PayoutBatch, *, by: User, at: datetime) -> PayoutBatch:
    """Every publisher gets its money back into its earnings; the next batch offers it again."""
    batch = _locked(batch, PayoutBatch.State.PREPARED, PayoutBatch.State.APPROVED)
    for payout in batch.payouts.select_related("posting"):
        ledger.reverse(payout.posting, effective_at=at, memo=f"Payout {payout.reference} was not sent")
    _end(batch, PayoutBatch.State.REFUSED, at)
    _note("payouts.refused", batch, by)
    return batch


@transaction.atomic
def mark_paid(batch: PayoutBatch, *, by: User, at: datetime) -> PayoutBatch:
    """The bank carried the batch out: the money left our account."""
    batch = _locked(batch, PayoutBatch.State.APPROVED)
    ledger.post_many(
        [
            ledger.Draft(
                key=f"paid:{payout.reference}",
                kind="paid",
                entries={
                    ledger.transit(batch.currency): -payout.micros,
                    ledger.cash(batch.currency): payout.micros,
                },
                effective_at=at,
                memo=f"Payout {payout.reference} was sent",
            )
            for payout in batch.payouts.all()
        ]
    )
    _end(batch, PayoutBatch.State.PAID, at)
    _note("payouts.paid", batch, by)
    return batch


def _fill(batch: PayoutBatch, items: list[Payable], at: datetime) -> None:
    owners = Organisation.objects.in_bulk([item.organisation_id for item in items])
    for item in items:
        owner = owners[item.organisation_id]
        reference = f"PO-{batch.pk}-{owner.pk}"
        account = LedgerAccount.objects.get(
            owner=owner, kind=LedgerAccount.Kind.EARNED, currency=batch.currency
        )
        posting = ledger.post(
            key=f"payout:{reference}",
            kind="payout",
            entries={account: -item.micros, ledger.transit(batch.currency): item.micros},
            effective_at=at,
            memo=f"Payout {reference}",
        )
        with tenant(owner):  # another's account cannot get here
            payee = Payee.objects.get(organisation=owner)
        words = {"holder": payee.holder, "iban": payee.iban, "bic": payee.bic}
        sealed_account, account_sha256 = papers.closed(words)
        Payout.objects.create(
            pk=next_key(Payout),
            batch=batch,
            organisation=owner,
            micros=item.micros,
            reference=reference,
            sealed_account=sealed_account,
            account_sha256=account_sha256,
            posting=posting,
        )


def _locked(batch: PayoutBatch, *states: str) -> PayoutBatch:
    batch = PayoutBatch.objects.select_for_update().get(pk=batch.pk)
    if batch.state not in states:
        raise PayoutError(f"This batch is in another state: {batch.get_state_display().lower()}.")
    return batch


def _end(batch: PayoutBatch, state: str, at: datetime) -> None:
    batch.state, batch.ended_at = state, at
    batch.save(update_fields=["state", "ended_at"])


def _note(action: str, batch: PayoutBatch, by: User | None) -> None:
    detail = {"amount": format_micros(batch.micros, batch.currency)}
    audit(user=by, organisation=None, action=action, target=str(batch), detail=detail)


def _whole_coins(micros: int, currency: str) -> int:
    """Rounded down: a fraction of a coin stays in the earnings."""
    coin: int = 10 ** (6 - digits_of(currency))
    return max(0, micros) // coin * coin
