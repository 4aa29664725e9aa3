"""Money moving: deposits, and settling what was served. All of it goes through billing.ledger."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from adplatform.accounts.models import Organisation
from adplatform.billing import ledger, queries, settlement
from adplatform.billing.models import Posting
from adplatform.billing.settlement import Settled

# An event counts up to a day after it was served; ingest that was away for longer is caught up with once a day.
LOOK_BACK = timedelta(days=3)


class DepositError(ledger.LedgerError):
    """A deposit that makes no sense."""


def deposit(
    organisation: Organisation, micros: int, *, key: str, at: datetime, memo: str = "Deposit"
) -> Posting:
    """Book money that arrived for an advertiser: what it owes of invoices is paid first, the rest is prepaid.
    `key` is the payment's own id: booking it again changes nothing."""
    if organisation.kind != Organisation.Kind.ADVERTISER:
        raise DepositError(f"{organisation} is no advertiser: it cannot deposit.")
    if micros <= 0:
        raise DepositError("A deposit is more than nothing.")
    with transaction.atomic():
        ledger.lock_chain()
        if (known := Posting.objects.filter(key=f"deposit:{key}").first()) is not None:
            return _same(known, organisation, micros)
        entries = {ledger.cash(organisation.currency): -micros}
        owed = max(0, -queries.due_balance(organisation))
        if pays := min(owed, micros):
            entries[ledger.due(organisation)] = pays
        if micros > pays:
            entries[ledger.prepaid(organisation)] = micros - pays
        return ledger.post(key=f"deposit:{key}", kind="deposit", entries=entries, effective_at=at, memo=memo)


def was_deposited(key: str) -> bool:
    return Posting.objects.filter(key=f"deposit:{key}").exists()


def _same(known: Posting, organisation: Organisation, micros: int) -> Posting:
    """The same deposit again: what it paid off depends on when it came, so owner and sum are compared."""
    entries = list(known.entries.select_related("account"))
    cash = sum(-entry.micros for entry in entries if entry.account.owner_id is None)
    if cash != micros or {entry.account.owner_id for entry in entries} != {None, organisation.pk}:
        raise ledger.LedgerConflictError(f"{known.key}: already posted with other entries.")
    return known


def settle(*, at: datetime, dry_run: bool = False, everything: bool = False) -> Settled:
    """Bring the books up to the billable events of all hours that have ended by `at`: three days back, or everything."""
    before = at.replace(minute=0, second=0, microsecond=0)
    return settlement.settle_hours(
        first=None if everything else before - LOOK_BACK, before=before, dry_run=dry_run
    )
