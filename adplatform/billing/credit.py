"""What an advertiser may spend beyond its prepaid money, and taking prepaid money for anything but ads.

Taking money locks the purse first (ingest charges under the same lock), then the books: in that order everywhere.
"""

from __future__ import annotations

from datetime import datetime

from adplatform.accounts.models import Organisation, User
from adplatform.billing import ledger, queries
from adplatform.billing.models import CreditLimit, Hold, Posting
from adplatform.campaigns.models import Purse
from adplatform.core.money import format_micros


class CreditError(ledger.LedgerError):
    """Money that cannot be taken, in a sentence a person can act on."""


def set_limit(
    organisation: Organisation, micros: int, *, proposed_by: User, approved_by: User, at: datetime
) -> CreditLimit:
    """How far below zero prepaid money may go from now on. Called by an approval (four eyes)."""
    lock_purse(organisation)
    return CreditLimit.objects.create(
        organisation=organisation,
        micros=micros,
        proposed_by=proposed_by,
        approved_by=approved_by,
        approved_at=at,
    )


def lock_purse(organisation: Organisation) -> None:
    """Nothing is charged to the advertiser until the transaction ends; the next charge reads the books again."""
    Purse.objects.get_or_create(organisation=organisation)
    purse = Purse.objects.select_for_update(no_key=True).get(organisation=organisation)
    purse.granted_at = None
    purse.save(update_fields=["granted_at"])


def own_money(organisation: Organisation) -> int:
    """What could be paid back now: prepaid money that is neither spent nor lent."""
    return max(0, queries.prepaid_balance(organisation) - queries.unsettled_spend(organisation))


def hold(
    organisation: Organisation, micros: int, *, key: str, reason: str, by: User | None, at: datetime
) -> Hold:
    """Set prepaid money aside. Inside a transaction; `key` names what it is for."""
    lock_purse(organisation)
    ledger.lock_chain()
    if (known := Hold.objects.filter(posting__key=f"hold:{key}").first()) is not None:
        return known
    free = own_money(organisation)
    if not 0 < micros <= free:
        amount = format_micros(free, organisation.currency)
        raise CreditError(f"{organisation} has {amount} that is not spent: choose an amount up to that.")
    posting = ledger.post(
        key=f"hold:{key}",
        kind="hold",
        entries={ledger.prepaid(organisation): -micros, ledger.held(organisation): micros},
        effective_at=at,
        memo=f"On hold: {reason}"[:200],
    )
    return Hold.objects.create(
        organisation=organisation,
        micros=micros,
        currency=organisation.currency,
        reason=reason,
        placed_by=by,
        placed_at=at,
        posting=posting,
    )


def release(held: Hold, *, at: datetime) -> Posting:
    """Give set-aside money back to the purse; again changes nothing."""
    _end(held, Hold.State.RELEASED, at)
    return ledger.reverse(held.posting, effective_at=at, memo=f"Released: {held.reason}"[:200])


def take(held: Hold, *, at: datetime, memo: str) -> Posting:
    """Set-aside money left us; again changes nothing."""
    _end(held, Hold.State.TAKEN, at)
    entries = {ledger.held(held.organisation): -held.micros, ledger.cash(held.currency): held.micros}
    return ledger.post(
        key=f"taken:{held.posting.key}", kind="refund", entries=entries, effective_at=at, memo=memo
    )


def _end(held: Hold, state: str, at: datetime) -> None:
    """Open → ended, once; whoever comes second with another ending is refused."""
    lock_purse(held.organisation)
    held.refresh_from_db()
    if held.state == Hold.State.OPEN:
        held.state, held.ended_at = state, at
        held.save(update_fields=["state", "ended_at"])
    elif held.state != state:
        raise CreditError(f"This money is no longer on hold: it was {held.get_state_display().lower()}.")
