"""The books for other programs: a beancount file that must balance there, too.

Our entries are positive where somebody is owed; beancount's liabilities and income are then negative. So each amount
changes its sign, and the file ends with the balance that we believe in, which beancount checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from decimal import Decimal

from adplatform.billing.models import Balance, Entry, LedgerAccount, Posting
from adplatform.core.money import MICROS

_PAGE = 2_000
_NAMES = {
    LedgerAccount.Kind.CASH: "Assets:Cash",
    LedgerAccount.Kind.PREPAID: "Liabilities:Prepaid",
    LedgerAccount.Kind.EARNED: "Liabilities:Earned",
    LedgerAccount.Kind.REVENUE: "Income:Revenue",
    LedgerAccount.Kind.HELD: "Liabilities:Held",
    LedgerAccount.Kind.DUE: "Assets:Due",
    LedgerAccount.Kind.TAX: "Liabilities:Tax",
    LedgerAccount.Kind.ROUNDING: "Income:Rounding",
    LedgerAccount.Kind.TRANSIT: "Liabilities:Transit",
}


def beancount() -> Iterator[str]:
    """The file, line by line."""
    accounts = {row.pk: row for row in LedgerAccount.objects.select_related("owner").order_by("pk")}
    names = {pk: _name(account) for pk, account in accounts.items()}
    first = Posting.objects.order_by("effective_at").values_list("effective_at", flat=True).first()
    last = Posting.objects.order_by("-effective_at").values_list("effective_at", flat=True).first()
    yield 'option "title" "AdPlatform"'
    for currency in sorted({account.currency for account in accounts.values()}):
        yield f'option "operating_currency" "{currency}"'
    if first is None or last is None:
        return
    opened = first.astimezone(UTC).date()
    for pk, account in accounts.items():
        yield f"{opened} open {names[pk]} {account.currency}"
        yield f"  owner: {_quoted(str(account.owner or 'Platform'))}"
    yield from _transactions(names)
    yield from _assertions(accounts, names, last.astimezone(UTC).date() + timedelta(days=1))


def _transactions(names: dict[int, str]) -> Iterator[str]:
    last = 0
    while page := list(Posting.objects.filter(pk__gt=last).order_by("pk")[:_PAGE]):
        entries: dict[int, list[Entry]] = {}
        for entry in Entry.objects.filter(posting__in=page).order_by("pk"):
            entries.setdefault(entry.posting_id, []).append(entry)
        for posting in page:
            yield ""
            yield f"{posting.effective_at.astimezone(UTC).date()} * {_quoted(posting.kind)} {_quoted(posting.memo)}"
            yield f"  key: {_quoted(posting.key)}"
            yield f"  sha256: {_quoted(posting.row_sha256)}"
            for entry in entries.get(posting.pk, []):
                yield f"  {names[entry.account_id]}  {_amount(-entry.micros)} {entry.currency}"
        last = page[-1].pk


def _assertions(accounts: dict[int, LedgerAccount], names: dict[int, str], day: date) -> Iterator[str]:
    held = dict(Balance.objects.values_list("account_id", "micros"))
    yield ""
    for pk, account in accounts.items():
        yield f"{day} balance {names[pk]}  {_amount(-held.get(pk, 0))} ~ 0.0000001 {account.currency}"


def _name(account: LedgerAccount) -> str:
    owner = f":Organisation{account.owner_id}" if account.owner_id else ""
    return f"{_NAMES[LedgerAccount.Kind(account.kind)]}{owner}:{account.currency}"


def _amount(micros: int) -> str:
    return f"{Decimal(micros) / MICROS:.6f}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
