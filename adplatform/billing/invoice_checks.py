"""Are the documents sound? Numbers, sums, and what the books hold of each; `verification` runs this."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection

from adplatform.billing import papers
from adplatform.billing.models import Invoice, Payout
from adplatform.core.sealing import UnreadableError

# (rule, query that gives subject and words of each violation)
_CHECKS = (
    (
        "invoice_numbers_have_no_gap",
        """SELECT series, 'it has ' || count(*) || ' documents and reaches number ' || max(number)
        FROM billing_invoice GROUP BY series HAVING count(*) <> max(number)""",
    ),
    (
        "invoice_equals_its_lines",
        """SELECT i.series || '-' || lpad(i.number::text, 6, '0'), 'it says ' || i.exact_micros || ' micros in '
            || i.line_count || ' lines, it has ' || coalesce(sum(l.micros), 0) || ' in ' || count(l.id)
        FROM billing_invoice i LEFT JOIN billing_invoiceline l ON l.invoice_id = i.id
        GROUP BY i.id HAVING i.exact_micros <> coalesce(sum(l.micros), 0) OR i.line_count <> count(l.id)""",
    ),
    (
        "invoice_vat_is_in_the_books",
        """SELECT i.series || '-' || lpad(i.number::text, 6, '0'), 'its VAT is ' || i.tax_micros || ' micros, its posting holds '
            || coalesce(sum(e.micros) FILTER (WHERE a.kind = 'tax'), 0)
        FROM billing_invoice i LEFT JOIN billing_entry e ON e.posting_id = i.posting_id
        LEFT JOIN billing_ledgeraccount a ON a.id = e.account_id
        GROUP BY i.id HAVING i.tax_micros <> coalesce(sum(e.micros) FILTER (WHERE a.kind = 'tax'), 0)""",
    ),
    (
        "invoice_posting_has_its_invoice",
        """SELECT p.key, 'no document belongs to it' FROM billing_posting p
        WHERE p.kind IN ('invoice', 'credit') AND NOT EXISTS (SELECT 1 FROM billing_invoice i WHERE i.posting_id = p.id)""",
    ),
    (
        "payout_equals_its_posting",
        """SELECT o.reference, 'it pays ' || o.micros || ' micros, its posting moves ' || coalesce(sum(e.micros), 0)
        FROM billing_payout o LEFT JOIN billing_entry e ON e.posting_id = o.posting_id AND e.micros > 0
        GROUP BY o.id HAVING o.micros <> coalesce(sum(e.micros), 0)""",
    ),
    (
        "payout_belongs_to_its_batch",
        """SELECT 'batch ' || b.id, 'it says ' || b.micros || ' micros, its payouts say ' || coalesce(sum(o.micros), 0)
        FROM billing_payoutbatch b LEFT JOIN billing_payout o ON o.batch_id = b.id
        GROUP BY b.id HAVING b.micros <> coalesce(sum(o.micros), 0)""",
    ),
    (
        "transit_holds_open_payouts",
        """SELECT a.currency, 'the transit account holds ' || coalesce(b.micros, 0) || ' micros, open payouts are ' || open.micros
        FROM billing_ledgeraccount a LEFT JOIN billing_balance b ON b.account_id = a.id
        CROSS JOIN LATERAL (SELECT coalesce(sum(o.micros), 0) AS micros FROM billing_payout o JOIN billing_payoutbatch t
            ON t.id = o.batch_id WHERE t.currency = a.currency AND t.state IN ('prepared', 'approved')) AS open
        WHERE a.kind = 'transit' AND coalesce(b.micros, 0) <> open.micros""",
    ),
    (
        "holds_equal_the_held_money",
        """SELECT o.name, 'its account holds ' || coalesce(b.micros, 0) || ' micros, open holds are ' || open.micros
        FROM billing_ledgeraccount a JOIN accounts_organisation o ON o.id = a.owner_id
        LEFT JOIN billing_balance b ON b.account_id = a.id
        CROSS JOIN LATERAL (SELECT coalesce(sum(h.micros), 0) AS micros FROM billing_hold h
            WHERE h.organisation_id = a.owner_id AND h.currency = a.currency AND h.state = 'open') AS open
        WHERE a.kind = 'held' AND coalesce(b.micros, 0) <> open.micros""",
    ),
)


def violations() -> Iterator[tuple[str, str, str]]:
    """(rule, subject, words) of everything that does not match."""
    with connection.cursor() as cursor:
        for rule, query in _CHECKS:
            cursor.execute(query)
            for subject, words in cursor.fetchall():
                yield rule, str(subject), str(words)
    yield from _changed_papers()


def _changed_papers() -> Iterator[tuple[str, str, str]]:
    """Papers whose sealed words are not those that were issued, or cannot be opened."""
    for paper, column, kept in (
        *((one, "sealed_buyer", one.buyer_sha256) for one in Invoice.objects.iterator()),
        *((one, "sealed_account", one.account_sha256) for one in Payout.objects.iterator()),
    ):
        try:
            if papers.digest(getattr(paper, column)) != kept:
                yield "paper_says_what_was_issued", str(paper), f"its {column} was replaced"
        except UnreadableError as error:
            yield "paper_can_be_opened", str(paper), str(error)
