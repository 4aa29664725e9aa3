"""What the demo has to say for itself when it is built: in lines for people, and the same as one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.db.models import Sum

from adplatform.billing.models import Invoice, Payout, PayoutBatch
from adplatform.billing.reconciliation import reconcile
from adplatform.billing.verification import verify
from adplatform.core import money
from adplatform.demo.build import CURRENCY
from adplatform.demo.compare import Standing
from adplatform.demo.info import Info
from adplatform.demo.tally import Tally
from adplatform.events.models import HourlyStat
from adplatform.jobs.models import JobRun
from adplatform.learning.models import Pick, TrainingRun

QUALITY = (("ne", "NE"), ("auc", "AUC"), ("calibration", "calibration"))


@dataclass(frozen=True)
class Summary:
    """Measured in this run: nothing here is a constant."""

    month: Tally
    training: TrainingRun | None
    scoring: JobRun | None
    standings: Sequence[Standing]
    info: Info
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "history": asdict(self.month),
            "training": self.training.metrics if self.training else None,
            "verdict": self.training.verdict if self.training else None,
            "scoring": self.scoring.counts if self.scoring else None,
            "policies": [asdict(one) for one in self.standings],
            "seconds": round(self.seconds, 1),
            **self.info.as_dict(),
        }

    def lines(self) -> Iterator[str]:
        yield from self._history()
        yield from self._models()
        yield from self._policies()
        yield from self._books()
        yield from self._doors()

    def _history(self) -> Iterator[str]:
        month = self.month
        yield "Synthetic market: every organisation, visitor and click is invented; the services that carried them are not."
        yield (
            f"  30 days: {month.requests:,} ad requests, {month.ads:,} ads shown, {month.clicks:,} clicks "
            f"({month.clicks / max(month.ads, 1):.2%}), {month.orders:,} orders"
        )
        sums = HourlyStat.objects.filter(source="demo").aggregate(
            spend=Sum("spend_micros"), revenue=Sum("revenue_micros")
        )
        spend, revenue = sums["spend"] or 0, sums["revenue"] or 0
        yield (
            f"  advertisers spent {money.format_micros(spend, CURRENCY)} and earned "
            f"{money.format_micros(revenue, CURRENCY)} with it: ROAS {revenue / max(spend, 1):.2f}"
        )
        if self.scoring:
            visitors = Pick.objects.values("visitor").distinct().count()
            yield f"  picked per visitor: {visitors:,} visitors. {self.scoring.summary}"

    def _models(self) -> Iterator[str]:
        if self.training is None:
            return
        measured = self.training.metrics
        rows = {
            "what serves now": measured.get("challenger"),
            "the champion before": measured.get("champion"),
            **{name: row for name, row in (measured.get("compared") or {}).items() if name != "prior"},
            "prior": measured.get("prior"),
        }
        yield "Click models on the newest day, which none of them has seen:"
        yield f"  {'model':24}" + "".join(f"{title:>13}" for _, title in QUALITY)
        for name, row in rows.items():
            if row:
                yield f"  {name:24}" + "".join(f"{row.get(key, float('nan')):13.4f}" for key, _ in QUALITY)
        yield f"  gate: {self.training.verdict}"

    def _policies(self) -> Iterator[str]:
        if not self.standings:
            return
        yield "The same page views, one ad each, judged by the truth that no model can read:"
        yield f"  {'policy':18}{'clicks per 1,000 ads':>22}{'95 % interval':>20}{'of the oracle’s gain':>24}"
        for one in self.standings:
            interval = f"{one.low:.1f} – {one.high:.1f}"
            yield f"  {one.policy:18}{one.clicks_per_mille:22.1f}{interval:>20}{one.share_of_oracle_gain:24.0%}"

    def _books(self) -> Iterator[str]:
        books, money_seen = verify(), reconcile()
        yield "Books:"
        sound = "sound" if not books.violations else f"{len(books.violations)} violations"
        yield f"  ledger: {books.postings:,} postings, {books.entries:,} entries, {sound}"
        for currency, sums in money_seen.totals.items():
            amounts = ", ".join(
                f"{name.replace('_', ' ')} {money.format_micros(micros, currency)}"
                for name, micros in sums.items()
            )
            yield f"  reconciled to the micro: {amounts}"
        issued = Counter(Invoice.objects.values_list("kind", flat=True))
        paid = Payout.objects.filter(batch__state=PayoutBatch.State.PAID).count()
        yield (
            f"  papers: {issued[Invoice.Kind.INVOICE]} invoices, {issued[Invoice.Kind.CREDIT_NOTE]} credit notes,"
            f" {paid} payouts made, {Payout.objects.count() - paid} on their way"
        )
        for violation in (*books.violations, *money_seen.violations):
            yield f"  VIOLATION {violation.rule} {violation.subject}: {violation.words}"

    def _doors(self) -> Iterator[str]:
        yield f"Open {settings.BASE_URL} and sign in (password for all: {self.info.password}):"
        for role, email in self.info.logins.items():
            yield f"  {role:12} {email}"
        yield f"Built in {self.seconds:.0f} s."
