"""An invoice as PDF, drawn from its stored facts: the same document is the same file every time."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from importlib.metadata import files, version
from pathlib import Path

from django.conf import settings
from fontTools.ttLib import TTFont
from fontTools.varLib.instancer import instantiateVariableFont
from fpdf import FPDF

from adplatform.billing import invoices
from adplatform.billing.models import Invoice, InvoiceLine
from adplatform.core.money import format_micros

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table that it touches
_MARGIN = 18
_WIDTH = 210 - 2 * _MARGIN
_GREY = (90, 96, 105)
_LATIN = [*range(0x20, 0x250), *range(0x370, 0x530), *range(0x2010, 0x2040), *range(0x20A0, 0x20C0), 0x2212]


def render(invoice: Invoice) -> bytes:
    """A4, as many pages as its lines need."""
    pdf = FPDF(format="A4")
    pdf.set_creation_date(invoice.issued_at)
    pdf.set_title(f"{invoice.get_kind_display()} {invoice}")
    pdf.set_margins(_MARGIN, _MARGIN, _MARGIN)
    pdf.set_auto_page_break(auto=True, margin=_MARGIN)
    for style, weight in (("", 400), ("B", 650)):
        pdf.add_font("Inter", style, _font(weight))
    pdf.add_page()
    _heading(pdf, invoice)
    _parties(pdf, invoice)
    _lines(pdf, list(invoice.lines.all()), invoice.currency)
    _sums(pdf, invoice)
    return bytes(pdf.output())


def _font(weight: int) -> Path:
    """Inter of one weight with the letters of European names, cut once out of its wheel's variable font (seconds)."""
    path = settings.VAR / "fonts" / f"inter-{version('fontpkg-inter')}-{weight}.ttf"
    if not path.exists():
        from fontTools import subset

        whole = next(file for file in files("fontpkg-inter") or [] if file.name == "Inter[opsz,wght].ttf")
        font = TTFont(str(whole.locate()))
        chooser = subset.Subsetter(subset.Options(layout_features=["kern"], notdef_outline=True))
        chooser.populate(unicodes=_LATIN)
        chooser.subset(font)
        instantiateVariableFont(font, {"wght": weight, "opsz": 14}, inplace=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        font.save(partial)
        partial.replace(path)
    return Path(path)


def _heading(pdf: FPDF, invoice: Invoice) -> None:
    _text(pdf, 20, f"{invoice.get_kind_display()} {invoice}", bold=True, height=10)
    told = f"{invoice.month:%B %Y} · issued {_day(invoice.issued_at)}"
    _text(pdf, 10, told, grey=True)
    if invoice.corrects is not None:
        _text(pdf, 10, f"Corrects {invoice.corrects} of {_day(invoice.corrects.issued_at)}", grey=True)
    pdf.ln(6)


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _parties(pdf: FPDF, invoice: Invoice) -> None:
    top = pdf.get_y()
    lowest = top
    for left, title, party in ((0, "From", invoice.seller), (_WIDTH / 2, "To", invoice.buyer)):
        pdf.set_xy(_MARGIN + left, top)
        vat = f"VAT id {party['vat_id']}" if party.get("vat_id") else ""
        lines = [party.get("name", ""), *party.get("address", "").splitlines(), party.get("country", ""), vat]
        pdf.set_font("Inter", "B", 9)
        pdf.multi_cell(_WIDTH / 2 - 4, 5, title, new_x="LEFT", new_y="NEXT")
        pdf.set_font("Inter", "", 10)
        pdf.multi_cell(
            _WIDTH / 2 - 4, 5, "\n".join(line for line in lines if line), new_x="LEFT", new_y="NEXT"
        )
        lowest = max(lowest, pdf.get_y())
    pdf.set_xy(_MARGIN, lowest + 8)


def _lines(pdf: FPDF, lines: list[InvoiceLine], currency: str) -> None:
    pdf.set_font("Inter", "", 9)
    with pdf.table(
        col_widths=(70, 30), text_align=("LEFT", "RIGHT"), borders_layout="HORIZONTAL_LINES", line_height=5.5
    ) as table:
        table.row(("What", f"Amount in {currency}"))
        for line in lines:
            table.row((line.words, format_micros(line.micros, currency, digits=6)))
    pdf.ln(4)


def _sums(pdf: FPDF, invoice: Invoice) -> None:
    code = invoice.currency
    rounding = invoice.net_micros - invoice.exact_micros
    rows = [("Rounded to the coin", format_micros(rounding, code, digits=6))] if rounding else []
    rows.append(("Net", format_micros(invoice.net_micros, code)))
    rows.append((f"VAT {invoice.tax_rate_bp / 100:g} %", format_micros(invoice.tax_micros, code)))
    rows.append(("Total", format_micros(invoice.total_micros, code)))
    if invoice.kind == Invoice.Kind.INVOICE:
        paid = invoices.paid_from_balance(invoice)
        rows.append(("Paid from prepaid money", format_micros(paid, code)))
        rows.append(("To be paid", format_micros(invoice.total_micros - paid, code)))
    for label, amount in rows:
        pdf.set_font("Inter", "B" if label in {"Total", "To be paid"} else "", 10)
        pdf.cell(_WIDTH * 0.7, 6, label, align="R")
        pdf.cell(_WIDTH * 0.3, 6, amount, align="R", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(4)
    for words in (invoice.tax_note, invoice.reason):
        if words:
            _text(pdf, 9, words, grey=True)


def _text(
    pdf: FPDF, size: int, words: str, *, bold: bool = False, grey: bool = False, height: int = 6
) -> None:
    pdf.set_font("Inter", "B" if bold else "", size)
    pdf.set_text_color(*(_GREY if grey else (0, 0, 0)))
    pdf.multi_cell(0, height, words, new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(0, 0, 0)
