"""The only writer of the books. Double entry, appended, sealed by a hash chain; the database checks all of it again.

A posting is named by its business key: posting it again changes nothing, and the same key with other entries is a
conflict. An entry's sign is in models.py: positive raises what the account's owner is owed. All writers wait for one
another (the chain has one end), so accounts need no locks of their own; post many at once where speed matters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from adplatform.accounts.models import Organisation
from adplatform.billing.models import LedgerAccount, Posting
from adplatform.core import clock

LOCK = 7_236_454  # advisory lock of the chain's end; the database's triggers take the same
GENESIS = "0" * 64
_SEPARATOR = "\x1f"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Kind = LedgerAccount.Kind


class LedgerError(ValueError):
    """A posting that the books refuse."""


class LedgerConflictError(LedgerError):
    """The key is taken by a posting with other entries."""


class OverdraftError(LedgerError):
    """The posting would take more from a prepaid account than it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A posting to be written; `entries` add up to zero in each currency."""

    key: str
    kind: str
    entries: Mapping[LedgerAccount, int]
    effective_at: datetime
    memo: str = ""
    reverses: Posting | None = None


def post(
    *,
    key: str,
    kind: str,
    entries: Mapping[LedgerAccount, int],
    effective_at: datetime,
    memo: str = "",
    reverses: Posting | None = None,
) -> Posting:
    """Write one posting, or return the one that the key already names."""
    draft = Draft(
        key=key, kind=kind, entries=entries, effective_at=effective_at, memo=memo, reverses=reverses
    )
    return post_many([draft])[0]


def post_many(drafts: Sequence[Draft]) -> list[Posting]:
    """Write all of them in one transaction, or none; returned in the order of the drafts."""
    for draft in drafts:
        _check(draft)
    with transaction.atomic():
        lock_chain()
        known = {
            posting.key: posting
            for posting in Posting.objects.filter(key__in=[draft.key for draft in drafts])
        }
        fresh = _new_drafts(drafts, known)
        for posting in _append(list(fresh.values())):
            known[posting.key] = posting
        _refuse_overdraft(list(fresh.values()))
    return [known[draft.key] for draft in drafts]


def reverse(posting: Posting, *, effective_at: datetime, memo: str = "") -> Posting:
    """Take a posting back by its mirror image; a posting is reversed once, and again changes nothing."""
    entries = {entry.account: -entry.micros for entry in posting.entries.select_related("account")}
    return post(
        key=f"reverse:{posting.key}",
        kind="reversal",
        entries=entries,
        effective_at=effective_at,
        memo=memo or f"Reversal of: {posting.memo or posting.key}"[:200],
        reverses=posting,
    )


def prepaid(organisation: Organisation) -> LedgerAccount:
    """An advertiser's money with us."""
    return _account(organisation, Kind.PREPAID, organisation.currency)


def earned(organisation: Organisation) -> LedgerAccount:
    """What we owe a publisher."""
    return _account(organisation, Kind.EARNED, organisation.currency)


def revenue(currency: str) -> LedgerAccount:
    """The platform's own part."""
    return _account(None, Kind.REVENUE, currency)


def cash(currency: str) -> LedgerAccount:
    """Our money at the bank: minus what we hold, since entries count what is owed."""
    return _account(None, Kind.CASH, currency)


def held(organisation: Organisation) -> LedgerAccount:
    """An advertiser's money that is set aside."""
    return _account(organisation, Kind.HELD, organisation.currency)


def due(organisation: Organisation) -> LedgerAccount:
    """What an advertiser owes of invoices: negative until it is paid."""
    return _account(organisation, Kind.DUE, organisation.currency)


def tax(currency: str) -> LedgerAccount:
    """VAT that is not ours."""
    return _account(None, Kind.TAX, currency)


def rounding(currency: str) -> LedgerAccount:
    """What rounding invoices to coins gained or cost us."""
    return _account(None, Kind.ROUNDING, currency)


def transit(currency: str) -> LedgerAccount:
    """Payouts that left the publishers' accounts and not yet ours."""
    return _account(None, Kind.TRANSIT, currency)


def lock_chain() -> None:
    """Be the only writer until the transaction ends; what is read afterwards stays true."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def row_hash(posting: Posting, lines: Sequence[tuple[int, str, int]]) -> str:
    """SHA-256 over the posting before, this posting and its entries (account, currency, micros); the database computes
    the same from its rows when the transaction commits."""
    parts = (
        posting.previous_sha256,
        posting.key,
        posting.kind,
        posting.request_sha256,
        posting.memo,
        str(posting.reverses_id or ""),
        str(_epoch_micros(posting.posted_at)),
        str(_epoch_micros(posting.effective_at)),
        ",".join(
            f"{account}:{currency}:{micros}"
            for account, currency, micros in sorted(lines, key=lambda line: (line[0], line[2]))
        ),
    )
    return hashlib.sha256(_SEPARATOR.join(parts).encode()).hexdigest()


def request_hash(draft: Draft) -> str:
    """What a key stands for: the same key may be posted again only with the same kind, entries and reversal."""
    entries = sorted((account.pk, micros) for account, micros in draft.entries.items())
    content = [draft.kind, entries, draft.reverses.pk if draft.reverses else None]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _account(owner: Organisation | None, kind: str, currency: str) -> LedgerAccount:
    account, _ = LedgerAccount.objects.get_or_create(owner=owner, kind=kind, currency=currency)
    return account


def _check(draft: Draft) -> None:
    if len(draft.entries) < 2:
        raise LedgerError(f"{draft.key}: a posting has at least two entries.")
    if 0 in draft.entries.values():
        raise LedgerError(f"{draft.key}: an entry moves something.")
    sums: dict[str, int] = {}
    for account, micros in draft.entries.items():
        sums[account.currency] = sums.get(account.currency, 0) + micros
    for currency, total in sums.items():
        if total:
            raise LedgerError(
                f"{draft.key}: the entries add up to {total} micros of {currency}, not to zero."
            )
    if _SEPARATOR in draft.key + draft.kind + draft.memo:
        raise LedgerError(f"{draft.key!r}: no control characters in a posting.")


def _new_drafts(drafts: Sequence[Draft], known: Mapping[str, Posting]) -> dict[str, Draft]:
    """Those not yet written, once each; a key that means something else is a conflict."""
    fresh: dict[str, Draft] = {}
    for draft in drafts:
        twin = fresh.get(draft.key)
        taken_by = (
            known[draft.key].request_sha256 if draft.key in known else request_hash(twin) if twin else None
        )
        if taken_by is None:
            fresh[draft.key] = draft
        elif taken_by != request_hash(draft):
            raise LedgerConflictError(f"{draft.key}: already posted with other entries.")
    return fresh


def _append(drafts: Sequence[Draft]) -> list[Posting]:
    if not drafts:
        return []
    last = Posting.objects.order_by("-id").values_list("row_sha256", flat=True).first()
    previous, posted_at = last or GENESIS, clock.now()
    postings = []
    for draft in drafts:
        posting = _posting(draft, previous, posted_at)
        previous = posting.row_sha256
        postings.append(posting)
    _insert_postings(postings)
    _insert_entries(postings, drafts)
    return postings


# Arrays, not one parameter per value: a month of hourly settlements is a hundred thousand postings.
_INSERT_POSTINGS = """
    INSERT INTO billing_posting (key, kind, request_sha256, memo, reverses_id, posted_at, effective_at, previous_sha256, row_sha256)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::text[])
    RETURNING id, key
"""
_POSTING_FIELDS = (
    "key",
    "kind",
    "request_sha256",
    "memo",
    "reverses_id",
    "posted_at",
    "effective_at",
    "previous_sha256",
    "row_sha256",
)
_INSERT_ENTRIES = """
    INSERT INTO billing_entry (posting_id, account_id, currency, micros)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[])
"""


def _insert_postings(postings: Sequence[Posting]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT_POSTINGS, [[getattr(posting, name) for posting in postings] for name in _POSTING_FIELDS]
        )
        ids = {key: pk for pk, key in cursor.fetchall()}
    for posting in postings:
        posting.pk = ids[posting.key]
        posting._state.adding = False


def _insert_entries(postings: Sequence[Posting], drafts: Sequence[Draft]) -> None:
    rows = [
        (posting.pk, account.pk, account.currency, micros)
        for posting, draft in zip(postings, drafts, strict=True)
        for account, micros in draft.entries.items()
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_ENTRIES, [list(column) for column in zip(*rows, strict=True)])


def _posting(draft: Draft, previous: str, posted_at: datetime) -> Posting:
    posting = Posting(
        key=draft.key,
        kind=draft.kind,
        request_sha256=request_hash(draft),
        memo=draft.memo,
        reverses=draft.reverses,
        posted_at=posted_at,
        effective_at=draft.effective_at,
        previous_sha256=previous,
    )
    posting.row_sha256 = row_hash(
        posting, [(account.pk, account.currency, micros) for account, micros in draft.entries.items()]
    )
    return posting


# The newest credit limit of the account's owner is how far below zero it may go.
_SHORT = """
    SELECT o.name, -b.micros - coalesce(c.micros, 0), a.currency
    FROM billing_balance b JOIN billing_ledgeraccount a ON a.id = b.account_id
    JOIN accounts_organisation o ON o.id = a.owner_id
    LEFT JOIN LATERAL (SELECT micros FROM billing_creditlimit WHERE organisation_id = o.id ORDER BY id DESC LIMIT 1) c ON true
    WHERE b.account_id = ANY(%s) AND b.micros < -coalesce(c.micros, 0) LIMIT 1
"""


def _refuse_overdraft(drafts: Sequence[Draft]) -> None:
    """The database refuses it too, at commit; here the caller still learns which account it was."""
    lowered = {
        account.pk
        for draft in drafts
        for account, micros in draft.entries.items()
        if account.kind == Kind.PREPAID and micros < 0
    }
    if not lowered:
        return
    with connection.cursor() as cursor:
        cursor.execute(_SHORT, [list(lowered)])
        short = cursor.fetchone()
    if short is not None:
        owner, micros, currency = short
        raise OverdraftError(f"{owner} has {micros} micros of {currency} too little.")


def _epoch_micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
