"""A batch of payouts as the bank reads it: SEPA credit transfers (ISO 20022 pain.001.001.09) or a table (CSV)."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from xml.etree import ElementTree

from adplatform.billing.models import Payout, PayoutBatch
from adplatform.core.money import digits_of, format_plain

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
_ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-?:().,'+ ")
# Letters that do not fall apart into one of ours and an accent.
_WRITTEN_OUT = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "&": "+"}
)


class BankFileError(ValueError):
    """A batch that cannot be written in this form, in a sentence a person can act on."""


def is_iban(text: str) -> bool:
    """ISO 13616: two letters, two check digits, and the whole is 1 modulo 97."""
    if not (15 <= len(text) <= 34 and text.isascii() and text.isalnum() and text[:2].isalpha()):
        return False
    if not text[2:4].isdigit() or text != text.upper():
        return False
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97 == 1


def sepa(batch: PayoutBatch, *, seller: Mapping[str, str], at: datetime) -> bytes:
    """The batch as a pain.001.001.09 message; the same batch gives the same message id, which banks refuse twice."""
    if batch.currency != "EUR":
        raise BankFileError("SEPA carries euros only: use the table (CSV) for this batch.")
    if not is_iban(seller["iban"]):
        raise BankFileError("Say in PLATFORM_IBAN which account pays, and in PLATFORM_NAME whose it is.")
    payouts = list(batch.payouts.all())
    root = ElementTree.Element("Document", xmlns=NAMESPACE)
    message = ElementTree.SubElement(root, "CstmrCdtTrfInitn")
    sums = {
        "NbOfTxs": str(len(payouts)),
        "CtrlSum": format_plain(sum(payout.micros for payout in payouts), "EUR"),
    }
    header = _add(
        message, "GrpHdr", {"MsgId": f"PO-{batch.pk}", "CreDtTm": f"{at:%Y-%m-%dT%H:%M:%S}", **sums}
    )
    _add(header, "InitgPty", {"Nm": plain(seller["name"])})
    info = _add(
        message, "PmtInf", {"PmtInfId": f"PO-{batch.pk}", "PmtMtd": "TRF", "BtchBookg": "true", **sums}
    )
    _add(_add(info, "PmtTpInf"), "SvcLvl", {"Cd": "SEPA"})
    _add(info, "ReqdExctnDt", {"Dt": f"{at:%Y-%m-%d}"})
    _add(info, "Dbtr", {"Nm": plain(seller["name"])})
    _add(_add(info, "DbtrAcct"), "Id", {"IBAN": seller["iban"]})
    _agent(info, "DbtrAgt", seller["bic"])
    _add(info, text={"ChrgBr": "SLEV"})
    for payout in payouts:
        _transfer(info, payout)
    body: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode()


def table(batch: PayoutBatch) -> str:
    """The batch as CSV for banks that read no pain.001; a cell that a spreadsheet would calculate is defused."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["reference", "publisher", "holder", "iban", "bic", "amount", "currency"])
    for payout in batch.payouts.select_related("organisation"):
        amount = format_plain(payout.micros, batch.currency, digits=digits_of(batch.currency))
        account = payout.account
        words = [
            payout.reference,
            payout.organisation.name,
            *(account[part] for part in ("holder", "iban", "bic")),
        ]
        rows.writerow([*(_defused(word) for word in words), amount, batch.currency])
    return out.getvalue()


def plain(text: str) -> str:
    """The letters that every SEPA bank takes (EPC217-08), at most 70."""
    apart = unicodedata.normalize("NFKD", text.translate(_WRITTEN_OUT))
    return "".join(letter if letter in _ALLOWED else "" for letter in apart).strip()[:70] or "-"


def _transfer(info: ElementTree.Element, payout: Payout) -> None:
    transfer, account = _add(info, "CdtTrfTxInf"), payout.account
    _add(transfer, "PmtId", {"EndToEndId": payout.reference})
    amount = ElementTree.SubElement(_add(transfer, "Amt"), "InstdAmt", Ccy="EUR")
    amount.text = format_plain(payout.micros, "EUR")
    if account["bic"]:
        _agent(transfer, "CdtrAgt", account["bic"])
    _add(transfer, "Cdtr", {"Nm": plain(account["holder"])})
    _add(_add(transfer, "CdtrAcct"), "Id", {"IBAN": account["iban"]})
    _add(transfer, "RmtInf", {"Ustrd": f"Advertising earnings {payout.reference}"})


def _agent(parent: ElementTree.Element, name: str, bic: str) -> None:
    bank = _add(_add(parent, name), "FinInstnId")
    if bic:
        _add(bank, text={"BICFI": bic})
    else:
        _add(bank, "Othr", {"Id": "NOTPROVIDED"})


def _add(
    parent: ElementTree.Element, name: str = "", text: Mapping[str, str] | None = None
) -> ElementTree.Element:
    """A child of that name holding one child per text; without a name the texts go into the parent."""
    child = ElementTree.SubElement(parent, name) if name else parent
    for tag, words in (text or {}).items():
        ElementTree.SubElement(child, tag).text = words
    return child


def _defused(word: str) -> str:
    return f"'{word}" if word[:1] in {"=", "+", "-", "@", "\t", "\r"} else word
