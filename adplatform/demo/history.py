"""Thirty days of the invented market, lived through the services that serve real visitors, with time passed in.

Each page view is an ad request to the serving code; its tokens become impressions, views and clicks on the stream;
ingest stores and charges them; jobs settle, pace, embed and train at their hours. Nothing inserts a fact, a sum or a
posting by itself. Page views are seeded, so that a day that was interrupted is lived again with the same decision ids:
ingest counts them once, and what was decided before the interruption gets no second ending.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from django.conf import settings

from adplatform.accounts.models import Organisation
from adplatform.core import pseudonym
from adplatform.decision.types import AdRequest, Placement, Slot
from adplatform.demo.build import ORDER, Ad, Market, micros
from adplatform.demo.catalogue import MarketPlan
from adplatform.demo.truth import Person, Truth
from adplatform.demo.visits import Visit, day_of_visits, page_text
from adplatform.events.models import AdDecision, Impression
from adplatform.events.records import Served, TokenEvent, pack
from adplatform.events.services import Report, record_conversions
from adplatform.events.spool import Spool
from adplatform.events.stream import EventStream, connect
from adplatform.learning import live
from adplatform.serving import consent, pipeline
from adplatform.serving.decide import Shown
from adplatform.serving.parse import Asked
from adplatform.serving.publish import publish
from adplatform.serving.server import Server
from adplatform.serving.snapshot import SnapshotHolder

SOURCE = "demo"
ROUND = timedelta(hours=4)  # how often the books, paces and snapshot are brought up to date in the past
STREAM_SECONDS = 10.0  # a bulk append may wait for the disk
RENDERED = 0.98
VIEWABLE = {1: 0.82, 2: 0.64, 3: 0.48}
CLICK_DELAY_SECONDS = (1.5, 45.0)
ORDER_DELAY_MINUTES = 25.0


@dataclass
class _Round:
    """What visitors did within one round, before it is sent."""

    events: list[bytes] = field(default_factory=list)
    impressions: list[tuple[Served, datetime]] = field(default_factory=list)
    orders: dict[int, list[Report]] = field(default_factory=dict)


class History:
    """Lives one day after the other. `seen` is what the truth remembers of fatigue, per person and headline."""

    def __init__(self, *, plan: MarketPlan, truth: Truth, market: Market, seed: int, scale: float) -> None:
        self._plan = plan
        self._truth = truth
        self._market = market
        self._seed = seed
        self._scale = scale
        self._evidence = consent.encode(range(1, 11))
        self._pseudonyms = [pseudonym.pseudonym(person.key) for person in truth.people]
        self._advertisers = Organisation.objects.in_bulk(list(market.actions))
        self._decided: frozenset[str] = frozenset()
        self.seen = self._remembered()
        self._events = connect(settings.EVENTS_URL, timeout_seconds=STREAM_SECONDS)
        self._hot = live.connect()

    def live(self, day: date, *, after_round: Callable[[datetime], object]) -> None:
        """One UTC day, round by round; `after_round` runs what the scheduler would have run by then."""
        rng = Random()
        server = self.server(rng)
        self._decided = _decided_on(day)
        for until, chunk in rounds(day, self.visits(day)):
            publish(at=until - ROUND)
            server.refresh()
            lived = _Round()
            for visit in chunk:
                # Each page view has its own luck, whatever came of those before it: that keeps the decision ids.
                rng.seed(self._luck(visit))
                self._visit(visit, server, rng, lived)
            self._send(lived, server, at=until)
            after_round(until)

    def visits(self, day: date) -> list[Visit]:
        return day_of_visits(self._truth, self._plan, day, seed=self._seed, scale=self._scale)

    def asked(self, day: date) -> dict[str, Visit]:
        """The page views of a day by the request id that each has, whenever the day is lived."""
        return {_request_id(Random(self._luck(visit))): visit for visit in self.visits(day)}

    def _luck(self, visit: Visit) -> str:
        return f"{self._seed}:{visit.person}:{visit.at}"

    def server(self, rng: Random) -> Server:
        """A serving process of this history: patient, since nobody waits for a page of the past."""
        return Server(
            snapshots=SnapshotHolder(settings.SNAPSHOT_DIR),
            stream=EventStream(self._events, Spool(settings.VAR / "spool")),
            hot=self._hot,
            hot_background=self._hot,
            rng=rng,
            draw=rng.randbytes,
        )

    # --- a page view --------------------------------------------------------------------------------------------------

    def _visit(self, visit: Visit, server: Server, rng: Random, lived: _Round) -> None:
        person = self._truth.people[visit.person]
        answered = server.decide(
            Asked(self._request(visit, person, server, rng), self._proof(person), SOURCE)
        )
        for shown in answered.shown:
            if rng.random() < RENDERED and shown.decision_id not in self._decided:
                self._impression(shown, visit, rng, lived)

    def _request(self, visit: Visit, person: Person, server: Server, rng: Random) -> AdRequest:
        places = self._market.sites[visit.site]
        slots = [self._slot(server, place.slot.public_id) for place in places]
        return AdRequest(
            request_id=_request_id(rng),
            at=visit.at,
            placements=tuple(Placement(str(number), slot) for number, slot in enumerate(slots)),
            visitor=self._pseudonyms[visit.person] if person.agreed else None,
            url=f"https://{places[0].site.domain}/{visit.topic}",
            keywords=page_text(visit.title, visit.topic),
            language="en",
            country=person.country,
            device=person.device,
        )

    def _slot(self, server: Server, public_id: str) -> Slot | None:
        return server.snapshot.slots.get(public_id) if server.snapshot else None

    def _proof(self, person: Person) -> str:
        return self._evidence if person.agreed else ""

    def _impression(self, shown: Shown, visit: Visit, rng: Random, lived: _Round) -> None:
        served, ad = shown.served, self._market.ads.get(shown.served.creative_id)
        if ad is None:  # a campaign that somebody added to the demo: nobody is known to like it
            return
        person = self._truth.people[visit.person]
        position = self._position(visit, served.slot_id)
        rendered_at = visit.at + timedelta(seconds=0.4 + rng.random())
        lived.impressions.append((served, rendered_at))
        lived.events.append(pack(TokenEvent("impression", served, rendered_at)))
        if rng.random() < VIEWABLE[position]:
            lived.events.append(pack(TokenEvent("view", served, rendered_at + timedelta(seconds=1.2))))
        memory = (visit.person, ad.offer.headline)
        p = self._truth.click_probability(
            person, ad.offer, position=position, seen=self.seen[memory], hour=visit.hour
        )
        self.seen[memory] += 1
        if rng.random() < p:
            clicked_at = rendered_at + timedelta(seconds=rng.uniform(*CLICK_DELAY_SECONDS))
            lived.events.append(pack(TokenEvent("click", served, clicked_at)))
            if order := self._order(ad, person, served, clicked_at=clicked_at, rng=rng):
                lived.orders.setdefault(ad.advertiser_id, []).append(order)

    def _position(self, visit: Visit, slot_id: int) -> int:
        return next(
            place.slot.position for place in self._market.sites[visit.site] if place.slot.pk == slot_id
        )

    def _order(
        self, ad: Ad, person: Person, served: Served, *, clicked_at: datetime, rng: Random
    ) -> Report | None:
        """The order that a click may lead to, as the advertiser's shop reports it."""
        p = self._truth.conversion_probability(person, ad.offer, base_rate=ad.campaign.conversion_rate)
        if rng.random() >= p:
            return None
        return Report(
            event_id=served.decision_id.hex(),
            action=ORDER,
            occurred_at=clicked_at + timedelta(minutes=rng.expovariate(1 / ORDER_DELAY_MINUTES)),
            value_micros=micros(ad.campaign.order_value * rng.lognormvariate(0, 0.35)),
            click=served,
        )

    # --- the end of a round -------------------------------------------------------------------------------------------

    def _send(self, lived: _Round, server: Server, *, at: datetime) -> None:
        """Decisions, then events, to the stream; from there to the books; orders last, as advertisers report them."""
        server.flush()
        server.stream.append_many(lived.events)
        for served, moment in lived.impressions:
            server.note("impression", served, at=moment)
        server.flush()
        pipeline.drain_all(self._events, self._hot, at=at)
        for advertiser_id, reports in lived.orders.items():
            latest = max(report.occurred_at for report in reports)
            record_conversions(
                advertiser=self._advertisers[advertiser_id],
                reports=reports,
                at=max(at, latest),
                source=SOURCE,
            )

    def _remembered(self) -> Counter[tuple[int, str]]:
        """Fatigue as the facts tell it, for a history that goes on after an interruption."""
        people = {name: index for index, name in enumerate(self._pseudonyms)}
        rows = (
            Impression.objects.filter(source=SOURCE).exclude(visitor="").values_list("visitor", "creative_id")
        )
        return Counter(
            (people[visitor], self._market.ads[creative].offer.headline)
            for visitor, creative in rows.iterator()
            if visitor in people and creative in self._market.ads
        )


def _request_id(rng: Random) -> str:
    """The first that a page view draws."""
    return str(uuid.UUID(bytes=rng.randbytes(16), version=4))


def _decided_on(day: date) -> frozenset[str]:
    """Decisions of a day that an interrupted run has stored already."""
    start = datetime.combine(day, time(), UTC)
    rows = AdDecision.objects.filter(
        source=SOURCE, served_at__gte=start, served_at__lt=start + timedelta(days=1)
    )
    return frozenset(decision_id.hex for decision_id in rows.values_list("decision_id", flat=True))


def rounds(day: date, visits: Sequence[Visit]) -> Iterator[tuple[datetime, list[Visit]]]:
    """(end, visits) of each round of a UTC day."""
    start = datetime.combine(day, time(), UTC)
    for number in range(int(timedelta(days=1) / ROUND)):
        begin, end = start + number * ROUND, start + (number + 1) * ROUND
        yield end, [visit for visit in visits if begin <= visit.at < end]
