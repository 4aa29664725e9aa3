"""Hypothesis strategies: small worlds in which every rule refuses now and then.

A world is drawn from one number, which is a hundred times faster than drawing each field on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from adplatform.decision import variety
from adplatform.decision.floors import Floor, ordered
from adplatform.decision.types import (
    ALL_HOURS,
    AdRequest,
    BidStrategy,
    Candidate,
    Cap,
    CapScope,
    Placement,
    Rule,
    Seen,
    Slot,
    Targeting,
)

COUNTRIES, LANGUAGES, DEVICES = ("DE", "FR", "US"), ("de", "fr"), ("desktop", "mobile")
REGIONS, WORDS, CATEGORIES = ("DE-BE", "FR-75"), ("shoes", "news", "golf"), ("sport", "cars")
ATTRIBUTES = ("video", "gambling")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
WINDOWS = (3_600, 86_400)
START = datetime(2026, 1, 1, tzinfo=UTC)


def moment(chance: Random) -> datetime:
    return START + timedelta(minutes=15 * chance.randrange(365 * 24 * 4))


def some_of(chance: Random, values: Sequence[Any], most: int) -> frozenset[Any]:
    return frozenset(chance.choices(values, k=chance.randint(0, most)))


def rule(chance: Random, values: Sequence[Any]) -> Rule:
    if chance.random() < 0.7:
        return Rule()
    include = some_of(chance, values, len(values))
    return Rule(include, some_of(chance, values, 1) - include)


def targeting(chance: Random) -> Targeting:
    return Targeting(
        country=rule(chance, COUNTRIES),
        region=rule(chance, REGIONS),
        language=rule(chance, LANGUAGES),
        device=rule(chance, DEVICES),
        site=rule(chance, (1, 2)),
        category=rule(chance, ("news", "sport")),
        keyword=rule(chance, WORDS),
        segment=rule(chance, (1, 2, 3)),
        daypart=ALL_HOURS if chance.random() < 0.5 else chance.getrandbits(168) | 1,
    )


def cap(chance: Random) -> Cap:
    return Cap(chance.choice(list(CapScope)), chance.randint(0, 3), chance.choice(WINDOWS))


def candidate(chance: Random, id: int) -> Candidate:
    """Ids of 1 to 3 make coincidences (same advertiser, same line item) common."""
    return Candidate(
        creative_id=id,
        line_item_id=chance.randint(1, 3),
        campaign_id=chance.randint(1, 3),
        advertiser_id=chance.randint(1, 3),
        width=chance.choice((300, 300, 300, 728)),
        height=250,
        format=chance.choice(("banner", "banner", "banner", "native")),
        currency=chance.choice(("EUR", "EUR", "EUR", "EUR", "USD")),
        category=chance.choice(("", *CATEGORIES)),
        attributes=some_of(chance, ATTRIBUTES, 2),
        language=chance.choice(("de", "en")),
        landing_domain=chance.choice(("a.example", "b.example")),
        targeting=targeting(chance) if chance.random() < 0.5 else Targeting(),
        bid_strategy=chance.choice(list(BidStrategy)),
        bid_micros=chance.choice((0, 999, chance.randint(0, 5_000_000), 1_000_000)),
        target_roas_bp=chance.randint(1_000, 50_000),
        value_micros=chance.randint(0, 50_000_000),
        pcvr=chance.random() * 0.3,
        pace=chance.choice((1.0, chance.random() * 3)),
        remaining_micros=chance.choice((0, 1_000, 10_000_000, 10_000_000, 10_000_000)),
        start_at=moment(chance) if chance.random() < 0.3 else None,
        end_at=moment(chance) if chance.random() < 0.3 else None,
        is_approved=chance.random() < 0.9,
        is_running=chance.random() < 0.9,
        caps=tuple(cap(chance) for _ in range(chance.choice((0, 0, 1, 2)))),
        time_zone=chance.choice(ZONES),
    )


def floors(chance: Random) -> tuple[tuple[str, str, int], ...]:
    return ordered(
        Floor(
            chance.choice((0, 200_000, 900_000)),
            chance.random() < 0.5,
            chance.choice(("", "DE", "FR")),
            chance.choice(("", "mobile")),
        )
        for _ in range(chance.randint(1, 3))
    )


def slot(chance: Random) -> Slot:
    return Slot(
        id=1,
        public_id="slot_1",
        site_id=chance.randint(1, 2),
        publisher_id=1,
        format=chance.choice(("banner", "banner", "banner", "native")),
        width=300,
        height=250,
        floor_micros=chance.choice((0, 0, 1, 100_000, 1_000_000)),
        currency="EUR",
        categories=some_of(chance, ("News", "sport"), 2),
        blocked_advertisers=some_of(chance, (1, 2, 3), 1) if chance.random() < 0.3 else frozenset(),
        blocked_categories=some_of(chance, CATEGORIES, 1) if chance.random() < 0.3 else frozenset(),
        blocked_domains=frozenset(("b.example",)) if chance.random() < 0.1 else frozenset(),
        blocked_attributes=some_of(chance, (*ATTRIBUTES, "language:de", "size:728x250"), 1)
        if chance.random() < 0.2
        else frozenset(),
        floors=floors(chance) if chance.random() < 0.3 else (),
        per_advertiser=chance.choice((1, 1, 2, 3)),
        separates_categories=chance.random() < 0.7,
        rivals=frozenset({(1, 2), (2, 1)}) if chance.random() < 0.3 else frozenset(),
        variety=chance.choice((0.0, 0.0, 0.5, 1.0)),
    )


def request(chance: Random) -> AdRequest:
    return AdRequest(
        request_id="r",
        at=moment(chance),
        placements=tuple(
            Placement(f"p{number}", slot(chance), chance.randint(1, 3))
            for number in range(chance.randint(1, 3))
        ),
        visitor="v",
        keywords=tuple(chance.choices(("Shoes", " news ", "tennis"), k=chance.randint(0, 2))),
        language=chance.choice(("", "de-AT", "fr", "en")),
        country=chance.choice(("", "DE", "fr", "GB")),
        region=chance.choice(("", "DE-BE")),
        device=chance.choice(("desktop", "mobile", "unknown")),
        segments=some_of(chance, (1, 2, 3, 4), 2),
        explain=chance.random() < 0.5,
    )


def seen(chance: Random) -> Seen:
    scopes = [str(scope) for scope in CapScope]
    met = {("advertiser", chance.randint(1, 3), variety.WINDOW_SECONDS): 3} if chance.random() < 0.5 else {}
    return Seen(
        {
            (chance.choice(scopes), chance.randint(1, 3), chance.choice(WINDOWS)): chance.randint(0, 4)
            for _ in range(chance.randint(0, 5))
        }
        | met,
        hidden_line_items=some_of(chance, (1, 2, 3), 1),
        hidden_advertisers=some_of(chance, (1, 2, 3), 1),
    )


chances = st.integers(0, 2**32).map(Random)
moments = chances.map(moment)
requests = chances.map(request)
seens = chances.map(seen)


def candidate_lists(most: int = 12) -> st.SearchStrategy[list[Candidate]]:
    return st.builds(
        lambda chance, size: [candidate(chance, id) for id in range(1, size + 1)],
        chances,
        st.integers(0, most),
    )
