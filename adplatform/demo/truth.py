"""The seeded truth of the invented market: who likes what, and when a click or a conversion happens.

Nothing here reaches a model. Models read texts and logged facts; the tastes, the quality of an ad and the
effects of position, fatigue, hour and device stand only in this file, so that a policy can be judged against an
oracle that knows them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adplatform.demo.catalogue import MarketPlan, Offer

BASE_LOGIT = -4.4
TASTE_WEIGHT = 3.4
SECOND_TOPIC_WEIGHT = 0.45
QUALITY_LOGIT = 0.35
POSITION_LOGIT = {1: 0.35, 2: 0.0, 3: -0.35}
FATIGUE_LOGIT = -0.22
FATIGUE_MOST = 8
HOUR_LOGIT = 0.25
EVENING_HOUR = 20.5
DEVICE_LOGIT = {"desktop": 0.0, "mobile": 0.12, "tablet": -0.1}
CONVERSION_TASTE_LOGIT = 1.2


@dataclass(frozen=True, slots=True)
class Person:
    """One visitor. `pages_a_day` is a mean; `agreed` is the answer to the consent question."""

    key: str
    taste: NDArray[np.float64]  # (topics,), 0 to 1
    agreed: bool
    device: str
    country: str
    pages_a_day: float
    home_site: int


@dataclass(frozen=True, slots=True)
class Truth:
    """Tastes of all people and the quality of each offer (logit, by headline)."""

    topics: tuple[str, ...]
    people: tuple[Person, ...]
    quality: dict[str, float]

    def affinity(self, person: Person, offer: Offer) -> float:
        first = float(person.taste[self.topics.index(offer.topic)])
        if not offer.second_topic:
            return first
        return first + SECOND_TOPIC_WEIGHT * float(person.taste[self.topics.index(offer.second_topic)])

    def click_probability(
        self, person: Person, offer: Offer, *, position: int, seen: int, hour: int
    ) -> float:
        """`seen`: how often this person has seen this offer before; `hour`: local hour of the day."""
        logit = (
            BASE_LOGIT
            + TASTE_WEIGHT * self.affinity(person, offer)
            + self.quality[offer.headline]
            + POSITION_LOGIT.get(position, -0.35)
            + FATIGUE_LOGIT * min(seen, FATIGUE_MOST)
            + HOUR_LOGIT * math.cos((hour - EVENING_HOUR) / 24 * 2 * math.pi)
            + DEVICE_LOGIT[person.device]
        )
        return 1 / (1 + math.exp(-logit))

    def conversion_probability(self, person: Person, offer: Offer, *, base_rate: float) -> float:
        """Chance that a click leads to an order: the campaign's rate, moved by taste."""
        logit = math.log(base_rate / (1 - base_rate)) + CONVERSION_TASTE_LOGIT * (
            self.affinity(person, offer) - 0.5
        )
        return 1 / (1 + math.exp(-logit))


def _person(index: int, plan: MarketPlan, rng: np.random.Generator, sites: list[tuple[str, ...]]) -> Person:
    topics = plan.topics
    taste = rng.beta(0.35, 2.4, len(topics))
    loved = rng.choice(len(topics), size=int(rng.integers(1, 4)), replace=False)
    taste[loved] = rng.uniform(0.55, 1.0, len(loved))
    fit = np.array([taste[[topics.index(topic) for topic in site]].mean() for site in sites])
    return Person(
        key=f"demo-visitor-{index}",
        taste=taste,
        agreed=bool(rng.random() < 0.72),
        device=str(rng.choice(["desktop", "mobile", "tablet"], p=[0.42, 0.5, 0.08])),
        country=str(rng.choice(["DE", "GB", "US", "FR"], p=[0.3, 0.25, 0.35, 0.1])),
        pages_a_day=float(rng.gamma(1.6, 1.8)),
        home_site=int(rng.choice(len(sites), p=fit**3 / (fit**3).sum())),
    )


def generate(plan: MarketPlan, *, people: int, seed: int) -> Truth:
    """The same seed makes the same market."""
    rng = np.random.default_rng(seed)
    sites = [site.topics for publisher in plan.publishers for site in publisher.sites]
    offers = [
        offer
        for advertiser in plan.advertisers
        for campaign in advertiser.campaigns
        for offer in campaign.offers
    ]
    quality = {offer.headline: float(rng.normal(0, QUALITY_LOGIT)) for offer in offers}
    return Truth(plan.topics, tuple(_person(i, plan, rng, sites) for i in range(people)), quality)
