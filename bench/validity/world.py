"""A day of a market's traffic: what visitors of every kind ask for, people first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from bench.validity.lists import Lists, browser, home

DAY = 20 * 3_600  # seconds over which the traffic is spread
SLOTS, PUBLISHER_SLOTS, CAMPAIGNS, CREATIVES = 60, 3, 20, 400
CLICK_RATE = 0.08  # of an ordinary place: high, so that ten thousand clicks need no million impressions
VIEWED = 0.96  # of clicks on what stood in view for a second: the tag's report of the others gets lost
NEWCOMERS = 0.2  # of genuine clicks: by people who see one ad in the whole day and click on it


@dataclass(slots=True)
class Ask:
    """One request for an event, and of which kind of visitor it is."""

    who: str
    kind: str
    place: int  # number of the served ad
    seconds: float  # after NIGHT
    served_seconds: float
    agent: str
    address: str
    visitor: bytes = b""
    seen: str = ""
    slot: int = 1
    campaign: int = 0


class World:
    """Draws visitors; `asks` is what they ask for.

    Slots differ in how often they are shown and clicked, and again in how often newcomers click there: a landing page that
    a search leads to is no fraud.
    """

    def __init__(self, rng: Random, lists: Lists) -> None:
        self.rng, self.lists, self.asks, self._places = rng, lists, list[Ask](), 0
        self.slots = range(1, SLOTS + 1)
        self.shown = [rng.lognormvariate(0, 0.7) for _ in self.slots]
        self.lift = [rng.lognormvariate(0, 0.5) for _ in self.slots]
        self.newcomers_lift = [rng.lognormvariate(0, 0.4) for _ in self.slots]

    def browser(self) -> str:
        return browser(self.rng)

    def home(self) -> str:
        return home(self.rng)

    def dwell(self) -> float:
        """From seeing an ad to clicking on it: log-normal around four seconds."""
        return 0.6 + self.rng.lognormvariate(math.log(3.5), 0.9)

    def slot(self) -> int:
        return self.rng.choices(self.slots, self.shown)[0]

    def show(
        self,
        who: str,
        at: float,
        agent: str,
        address: str,
        visitor: bytes = b"",
        seen: str = "yes",
        *,
        slot: int | None = None,
        campaign: int | None = None,
    ) -> Ask:
        shown = self.ask(
            who, "impression", at + self.rng.uniform(0.15, 1.5), at, agent, address, slot, campaign
        )
        shown.visitor, shown.seen = visitor, seen
        return shown

    def ask(
        self,
        who: str,
        kind: str,
        at: float,
        served_at: float,
        agent: str,
        address: str,
        slot: int | None = None,
        campaign: int | None = None,
    ) -> Ask:
        """The first event of an ad that is served for it."""
        self._places += 1
        where = self.slot() if slot is None else slot
        whose = self.rng.randrange(CAMPAIGNS) if campaign is None else campaign
        asked = Ask(who, kind, self._places, at, served_at, agent, address, slot=where, campaign=whose)
        self.asks.append(asked)
        return asked

    def click(self, shown: Ask, after: float, *, is_viewed: bool = True) -> None:
        """A click so long after rendering, and before it the view that the tag reports."""
        if is_viewed and after >= 1.1 and self.rng.random() < VIEWED:
            self.asks.append(
                replace(
                    shown,
                    kind="view",
                    seconds=shown.seconds + self.rng.uniform(1.0, after - 0.05),
                    seen="display50",
                )
            )
        self.asks.append(replace(shown, kind="click", seconds=shown.seconds + after, seen=""))

    def visit(
        self,
        who: str,
        at: float,
        agent: str,
        address: str,
        *,
        visitor: bytes = b"",
        after: float | None = None,
        seen: str = "yes",
        slot: int | None = None,
        campaign: int | None = None,
        is_viewed: bool = True,
    ) -> None:
        """One impression and a click on it."""
        shown = self.show(who, at, agent, address, visitor, seen, slot=slot, campaign=campaign)
        self.click(shown, self.dwell() if after is None else after, is_viewed=is_viewed)

    # --- people -------------------------------------------------------------------------------------------------------

    def people(self, clicks: int) -> None:
        self.newcomers(int(clicks * NEWCOMERS))
        offices = [self.home() for _ in range(20)]
        carriers = [self.home() for _ in range(12)]
        done = int(clicks * NEWCOMERS)
        while done < clicks:
            draw = self.rng.random()
            who, address = ("at home", self.home())
            if draw < 0.2:
                who, address = "on a carrier's shared address", self.rng.choice(carriers)
            elif draw < 0.3:
                who, address = "in an office", self.rng.choice(offices)
            agent = self.browser()
            if self.rng.random() < 0.05:
                who, agent = "with a rare browser (isbot)", self.rng.choice(self.lists.browsers)
            done += self._person(f"person {who}", agent, address, most=clicks - done)

    def newcomers(self, clicks: int) -> None:
        """People who see one ad in the whole day; some click on it."""
        done = 0
        while done < clicks:
            slot = self.slot()
            lift = self.lift[slot - 1] * self.newcomers_lift[slot - 1]
            visitor = self.rng.randbytes(16) if self.rng.random() < 0.6 else b""
            at, address = self.rng.uniform(0, DAY), self.home()
            shown = self.show("person who comes once", at, self.browser(), address, visitor, slot=slot)
            if self.rng.random() < min(0.9, CLICK_RATE * lift):
                self.click(shown, self.dwell())
                done += 1

    def _person(self, who: str, agent: str, address: str, *, most: int) -> int:
        """A day of a person: some pages, now and then a click; one in a hundred clicks a lot."""
        visitor = self.rng.randbytes(16) if self.rng.random() < 0.6 else b""
        wanted = (
            self.rng.randint(4, 7) if self.rng.random() < 0.01 else min(1 + int(self.rng.expovariate(1.6)), 4)
        )
        wanted = min(wanted, most)
        start = self.rng.uniform(0, DAY)
        pages = [start + self.rng.expovariate(1 / 400) * n for n in range(wanted * self.rng.randint(8, 16))]
        shown = [self.show(who, min(at, DAY + 3_000), agent, address, visitor) for at in pages]
        # Of all that it sees it clicks rather in the places where people click.
        tempting = sorted(shown, key=lambda one: self.rng.expovariate(self.lift[one.slot - 1]))
        for one in tempting[:wanted]:
            self.click(one, self.dwell())
        return wanted
