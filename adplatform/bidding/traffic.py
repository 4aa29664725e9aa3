"""When ad requests come: a weight per hour of the week, learned from the requests of the last four weeks.

Pacing needs no forecast but this shape. A cell (Monday 9 to 10 o'clock, say) leans on the same hour of all days, so
that one odd day does not bend the week. Hours are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from django.db.models import Sum

from adplatform.events.models import FillStat

WEEK_HOURS = 168
LEARNED_FROM = timedelta(weeks=4)
STRENGTH = 2.0  # occurrences that the mean of the hour over all days weighs as much as
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_SOURCES = ("live", "demo")

Floats = npt.NDArray[np.float64]


class Traffic:
    """Weights by hour of the week (Monday 0:00 first), and how much traffic lies between two moments."""

    def __init__(self, weights: Floats) -> None:
        self.weights = weights
        self._before = np.concatenate([[0.0], np.cumsum(weights)])

    def between(self, start: datetime, end: datetime) -> float:
        """Traffic from start to end, in the weights' unit; 0 where end is not later."""
        return max(0.0, self._until(end) - self._until(start))

    def _until(self, moment: datetime) -> float:
        hours = (moment - _MONDAY) / _HOUR
        weeks, hour_of_week = divmod(hours, WEEK_HOURS)
        hour = int(hour_of_week)
        return float(
            weeks * self._before[-1] + self._before[hour] + (hour_of_week - hour) * self.weights[hour]
        )


def learn(at: datetime) -> Traffic:
    """The shape of the four weeks before `at`; even where nothing is known."""
    end = at.replace(minute=0, second=0, microsecond=0)
    rows = FillStat.objects.filter(hour__gte=end - LEARNED_FROM, hour__lt=end, source__in=_SOURCES)
    by_hour = dict(rows.values_list("hour").annotate(total=Sum("requests")))
    if not by_hour:
        return Traffic(np.ones(WEEK_HOURS))
    return Traffic(smoothed(*_cells(by_hour, end)))


def smoothed(requests: Floats, occurrences: Floats) -> Floats:
    """Weights with mean 1 out of sums per hour of the week and how often each hour was seen."""
    daily_requests, daily_seen = requests.reshape(7, 24).sum(axis=0), occurrences.reshape(7, 24).sum(axis=0)
    overall = requests.sum() / max(occurrences.sum(), 1.0)
    if overall == 0:
        return np.ones(WEEK_HOURS)
    of_day = (daily_requests + STRENGTH * overall) / (daily_seen + STRENGTH)
    weights = (requests + STRENGTH * np.tile(of_day, 7)) / (occurrences + STRENGTH)
    return np.asarray(weights / weights.mean(), np.float64)


def _cells(by_hour: dict[datetime, int], end: datetime) -> tuple[Floats, Floats]:
    """Requests and occurrences per hour of the week, from the first hour with a request on: an hour without any since
    then was seen, and was empty."""
    requests, occurrences = np.zeros(WEEK_HOURS), np.zeros(WEEK_HOURS)
    first = min(by_hour)
    for number in range((end - first) // _HOUR):
        moment = first + number * _HOUR
        cell = (moment - _MONDAY) // _HOUR % WEEK_HOURS
        requests[cell] += by_hour.get(moment, 0)
        occurrences[cell] += 1
    return requests, occurrences
