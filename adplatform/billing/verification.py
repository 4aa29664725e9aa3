"""Are the books sound? Everything the database refuses is looked for again, since its owner could have switched it off.

Postings are read in pages, in the order of the chain; hashes are computed here and not by the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import Max

from adplatform.billing import anchors, invoice_checks, ledger
from adplatform.billing.anchors import Anchor
from adplatform.billing.models import Balance, CreditLimit, Entry, LedgerAccount, Posting
from adplatform.core import roles

_PAGE = 5_000
_MOST_NAMED = 100  # of one kind: a broken chain need not fill a disk


@dataclass(frozen=True, slots=True)
class Violation:
    """Something wrong: which rule, where, and in words."""

    rule: str
    subject: str
    words: str

    def as_dict(self) -> dict[str, str]:
        return {"rule": self.rule, "subject": self.subject, "words": self.words}


@dataclass(slots=True)
class Verified:
    """What was looked at and what was found. `head` is the chain's last hash: write it down elsewhere as an anchor."""

    postings: int = 0
    entries: int = 0
    accounts: int = 0
    anchors: int = 0
    head: str = ledger.GENESIS
    violations: list[Violation] = field(default_factory=list)
    _named: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def found(self, rule: str, subject: object, words: str) -> None:
        self._named[rule] += 1
        if self._named[rule] <= _MOST_NAMED:
            self.violations.append(Violation(rule, str(subject), words))

    def as_dict(self) -> dict[str, Any]:
        return {
            "ok": not self.violations,
            "postings": self.postings,
            "entries": self.entries,
            "accounts": self.accounts,
            "anchors": self.anchors,
            "head": self.head,
            "violations": [violation.as_dict() for violation in self.violations],
        }


# Triggers without which the database would not refuse what it promises to refuse.
GUARDS = (
    *(f"{table}_{rule}" for table in roles.LEDGER for rule in ("is_append_only", "is_not_truncated")),
    "billing_posting_waits_its_turn",
    "billing_posting_continues_the_chain",
    "billing_posting_is_sound",
    "billing_entry_reaches_its_balance",
    "billing_balance_follows_entries",
    "billing_balance_is_not_truncated",
    "billing_balance_is_not_overdrawn",
    "billing_invoice_numbers_have_no_gap",
    "billing_invoice_equals_its_lines",
    "billing_invoiceline_belongs_to_its_sum",
    "billing_refund_does_not_exceed_the_payment",
    *(
        f"events_{fact}_{rule}"
        for fact in ("addecision", "impression", "view", "click", "conversion", "invalidation", "adjustment")
        for rule in ("is_append_only", "is_not_truncated")
    ),
)


def verify() -> Verified:
    """Look at every posting, entry, account, guard, document and anchor."""
    found = Verified()
    marks = _anchors(found)
    accounts = {account.pk: account for account in LedgerAccount.objects.select_related("owner")}
    found.accounts = len(accounts)
    replayed: dict[int, int] = defaultdict(int)
    settled: dict[int, int] = defaultdict(int)
    for posting, entries in _postings():
        _check_posting(posting, entries, accounts, found)
        _check_anchor(marks.pop(posting.pk, None), found)
        for entry in entries:
            replayed[entry.account_id] += entry.micros
            if posting.kind == "settle":
                settled[entry.account_id] += entry.micros
    for anchor in marks.values():
        found.found("anchor_holds", anchor.day, f"it names posting {anchor.last_id}, which does not exist")
    _check_strays(found)
    _check_balances(accounts, replayed, settled, found)
    _check_guards(found)
    _check_documents(found)
    return found


def _anchors(found: Verified) -> dict[int, Anchor]:
    """The anchors by the posting that they stand at; files that are not what they were are named."""
    try:
        marks = anchors.read()
        found.anchors = len(marks)
        for name in anchors.broken_links():
            found.found(
                "anchor_names_the_one_before", name, "a file before it was changed, added or taken out"
            )
    except anchors.AnchorError as error:
        found.found("anchor_is_readable", anchors.folder(), str(error))
        return {}
    return {anchor.last_id: anchor for anchor in marks}


def _check_anchor(anchor: Anchor | None, found: Verified) -> None:
    if anchor is not None and (anchor.head, anchor.postings) != (found.head, found.postings):
        found.found(
            "anchor_holds",
            anchor.day,
            f"the chain ended that day with {anchor.head[:12]}… after {anchor.postings} postings; now it is"
            f" {found.head[:12]}… after {found.postings}: the books of that day or before were rewritten",
        )


def _check_documents(found: Verified) -> None:
    for rule, subject, words in invoice_checks.violations():
        found.found(rule, subject, words)


def _postings() -> Iterator[tuple[Posting, list[Entry]]]:
    last = 0
    while page := list(Posting.objects.filter(pk__gt=last).order_by("pk")[:_PAGE]):
        by_posting: dict[int, list[Entry]] = defaultdict(list)
        for entry in Entry.objects.filter(posting_id__gte=page[0].pk, posting_id__lte=page[-1].pk).order_by(
            "pk"
        ):
            by_posting[entry.posting_id].append(entry)
        for posting in page:
            yield posting, by_posting[posting.pk]
        last = page[-1].pk


def _check_posting(
    posting: Posting, entries: Sequence[Entry], accounts: dict[int, LedgerAccount], found: Verified
) -> None:
    found.postings += 1
    found.entries += len(entries)
    if len(entries) < 2:
        found.found("posting_has_two_entries", posting.key, f"it has {len(entries)}")
    sums: dict[str, int] = defaultdict(int)
    for entry in entries:
        sums[entry.currency] += entry.micros
        if accounts[entry.account_id].currency != entry.currency:
            found.found(
                "entry_has_the_currency_of_its_account",
                posting.key,
                f"entry {entry.pk} is in {entry.currency}",
            )
    for currency, total in sums.items():
        if total:
            found.found("posting_is_balanced", posting.key, f"it adds up to {total} micros of {currency}")
    if posting.previous_sha256 != found.head:
        found.found(
            "posting_continues_the_chain",
            posting.key,
            "it does not name the hash of the posting before: one was removed, added or changed",
        )
    lines = [(entry.account_id, entry.currency, entry.micros) for entry in entries]
    if ledger.row_hash(posting, lines) != posting.row_sha256:
        found.found(
            "posting_carries_its_hash", posting.key, "it, or its entries, were changed after it was written"
        )
    found.head = posting.row_sha256


def _check_strays(found: Verified) -> None:
    """Entries without their posting: foreign keys forbid them, a tampering superuser does not ask."""
    for entry in Entry.objects.exclude(posting_id__in=Posting.objects.values("pk"))[:_MOST_NAMED]:
        found.found(
            "entry_belongs_to_a_posting", f"entry {entry.pk}", f"posting {entry.posting_id} does not exist"
        )


def _check_balances(
    accounts: dict[int, LedgerAccount], replayed: dict[int, int], settled: dict[int, int], found: Verified
) -> None:
    held = {row.account_id: row for row in Balance.objects.all()}
    most = CreditLimit.objects.values_list("organisation_id").annotate(micros=Max("micros"))
    credit: dict[int | None, int] = dict(most)
    for pk, account in accounts.items():
        row = held.get(pk)
        micros, part = (row.micros, row.settled_micros) if row else (0, 0)
        if micros != replayed[pk]:
            found.found(
                "balance_follows_entries", account, f"it says {micros} micros, its entries say {replayed[pk]}"
            )
        if part != settled[pk]:
            found.found(
                "balance_follows_entries",
                account,
                f"it says {part} micros were settled, its entries say {settled[pk]}",
            )
        # A credit limit that was lowered leaves the debt that it once allowed.
        if account.kind == LedgerAccount.Kind.PREPAID and replayed[pk] < -credit.get(account.owner_id, 0):
            found.found("prepaid_is_not_overdrawn", account, f"it holds {replayed[pk]} micros")


def _check_guards(found: Verified) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgname = ANY(%s)",
            [list(GUARDS)],
        )
        present = {row[0] for row in cursor.fetchall()}
    for name in sorted(set(GUARDS) - present):
        found.found("guard_is_on", name, "the trigger is missing or switched off")
