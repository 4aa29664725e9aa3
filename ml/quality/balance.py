"""Are there enough clicks, does their rate hold, and how much of the traffic can the models read?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml.quality.bounds import binomial_bounds, independent
from ml.quality.report import Finding, Severity, Thresholds, graded, share
from ml.schema import ImpressionLog, Mask


def class_balance(log: ImpressionLog, limits: Thresholds) -> list[Finding]:
    """Clicks and their share; a log of one class teaches nothing."""
    clicks, rows = int(log.clicked.sum()), len(log)
    low, high = binomial_bounds(np.array([clicks]), np.array([rows]), alpha=0.05)
    words = f"{clicks:,} of {rows:,} impressions were clicked: {share(clicks, rows):.3%}"
    words += f" ({low[0]:.3%} to {high[0]:.3%})."
    severity, mark = Severity.OK, float(limits.fewest_clicks_warn)
    if rows and clicks in {0, rows}:
        severity = Severity.REFUSE
        words += " Both clicked and unclicked impressions are needed; look at the click address of the tags."
    elif clicks < limits.fewest_clicks_warn:
        severity = Severity.WARN
        words += (
            f" Fewer than {limits.fewest_clicks_warn:,} clicks teach little: wait before trusting a model."
        )
    return [Finding("class balance", "clicks", severity, float(clicks), mark, words)]


def rate_change(log: ImpressionLog, newest: Mask, reference: Mask, limits: Thresholds) -> list[Finding]:
    """The newest day's click rate against the window before it. Visitors, not rows, say how sure it is."""
    clicks, shown = log.clicked[newest].sum(), int(newest.sum())
    before = share(log.clicked[reference].sum(), reference.sum())
    if not before or not shown:
        return []
    now = share(clicks, shown)
    # Rows of one visitor are alike: the interval is that of as many rows as there are visitors.
    shrink = min(1.0, independent(log, newest) / shown)
    low, high = binomial_bounds(np.array([clicks * shrink]), np.array([shown * shrink]), alpha=0.001)
    sure = max(low[0] / before, before / high[0], 1.0)
    severity, mark = graded(sure, warn=limits.rate_change_warn, alarm=limits.rate_change_alarm)
    words = f"Click rate of the newest day {now:.3%}, of the window before {before:.3%}"
    words += f" ({low[0] / before:.2f} to {high[0] / before:.2f} times)."
    if severity is not Severity.OK:
        words += (
            " Look for a broken click address, a new placement or automatic clicks before trusting the day."
        )
    return [Finding("class balance", "newest day", severity, now / before, mark, words)]


def coverage(
    log: ImpressionLog, covered: Mapping[str, Mask], newest: Mask, limits: Thresholds
) -> list[Finding]:
    """Shares of impressions with what the models read, and of the newest day's with a creative that is known."""
    found = [_covered(name, mask, limits) for name, mask in covered.items()]
    known = np.isin(log.creative[newest].astype(str), np.unique(log.creative[~newest].astype(str)))
    if not newest.any() or newest.all():
        return found
    figure = share((~known).sum(), len(known))
    severity, mark = graded(figure, warn=limits.unseen_warn)
    words = f"{figure:.1%} of the newest day's impressions show a creative that no earlier day knows."
    if severity is not Severity.OK:
        words += " The counters know nothing of them: their text decides, so see that they have a vector."
    return [*found, Finding("coverage", "new creatives", severity, figure, mark, words)]


def _covered(name: str, mask: Mask, limits: Thresholds) -> Finding:
    figure = share(mask.sum(), len(mask))
    is_low = len(mask) > 0 and figure < limits.coverage_warn
    words = f"{name}: {figure:.1%} of impressions."
    if is_low:
        words += " Where it is missing ads are ranked without their text; see the job “embed_creatives”."
    return Finding(
        "coverage", name, Severity.WARN if is_low else Severity.OK, figure, limits.coverage_warn, words
    )
