"""Who opens which page when: one day of page views, the same for the same seed and date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from adplatform.demo.catalogue import MarketPlan
from adplatform.demo.truth import Person, Truth

# Share of a day's page views by local hour: quiet nights, a morning, a long evening.
HOURS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 7, 6, 6, 6, 7, 7, 6, 6, 6, 7, 8, 10, 11, 11, 8, 4], float)
WEEKDAYS = (1.0, 1.02, 1.04, 1.0, 0.96, 0.86, 0.9)
HOME_SITE_SHARE = 0.55


@dataclass(frozen=True, slots=True)
class Visit:
    """One page view. `hour` is local to the site."""

    at: datetime
    person: int
    site: int
    title: str
    topic: str
    hour: int


def page_text(title: str, topic: str) -> tuple[str, ...]:
    """The keywords that the page sends along: its title and its section."""
    return (title, topic)


def day_of_visits(truth: Truth, plan: MarketPlan, day: date, *, seed: int, scale: float = 1.0) -> list[Visit]:
    """All page views of one UTC day in order of time; `scale` multiplies everybody's activity."""
    rng = np.random.default_rng([seed, day.toordinal()])
    weight = WEEKDAYS[day.weekday()] * scale
    counts = rng.poisson([person.pages_a_day * weight for person in truth.people])
    visits = [
        _visit(rng, truth.people[index], index, day=day, plan=plan)
        for index in np.flatnonzero(counts).tolist()
        for _ in range(int(counts[index]))
    ]
    return sorted(visits, key=lambda visit: visit.at)


def _visit(rng: np.random.Generator, person: Person, index: int, *, day: date, plan: MarketPlan) -> Visit:
    sites = plan.sites
    stays_home = rng.random() < HOME_SITE_SHARE
    number = person.home_site if stays_home else int(rng.integers(len(sites)))
    site = sites[number]
    taste = np.array([person.taste[plan.topics.index(topic)] for topic in site.topics]) + 0.05
    topic = site.topics[int(rng.choice(len(site.topics), p=taste / taste.sum()))]
    titles = plan.pages[topic]
    local_hour = int(rng.choice(24, p=HOURS / HOURS.sum()))
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(
        seconds=float(rng.uniform(0, 3600))
    )
    shift = moment.astimezone(ZoneInfo(site.time_zone)).utcoffset() or timedelta()
    hour = (local_hour - int(shift.total_seconds() // 3600)) % 24
    return Visit(
        moment + timedelta(hours=hour),
        index,
        number,
        titles[int(rng.integers(len(titles)))],
        topic,
        local_hour,
    )
