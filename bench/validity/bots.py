"""Visitors that are no people: declared ones, machines in data centres, and those that only what they do gives away."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

from bench.validity.world import DAY, PUBLISHER_SLOTS, SLOTS, World


class Bots(World):
    """Draws people and bots."""

    def declared(self, clicks: int) -> None:
        for _ in range(clicks):
            self.visit(
                "bot that says so (isbot)",
                self.rng.uniform(0, DAY),
                self.rng.choice(self.lists.bots),
                self.home(),
            )

    def boxes(self, who: str, clicks: int, address: Callable[[], str]) -> None:
        """Machines in a data centre with a browser's agent: one to twenty clicks each within some hours."""
        while clicks > 0:
            many, start, box, agent = (
                min(self.rng.randint(1, 20), clicks),
                self.rng.uniform(0, DAY),
                address(),
                self.browser(),
            )
            for _ in range(many):
                self.visit(who, start + self.rng.uniform(0, 7_200), agent, box)
            clicks -= many

    def behaving(self) -> None:
        for _ in range(10):  # farms: a device with an identity of its own
            self._session(
                "bot: clicks all the time",
                15,
                lambda n: n * 200 + self.rng.uniform(0, 150),
                visitor=self.rng.randbytes(16),
            )
        for _ in range(12):
            gap = self.rng.uniform(400, 1_500)
            self._session(
                "bot: clicks by the clock", 10, lambda n, gap=gap: n * gap + self.rng.gauss(0, gap / 100)
            )
        for _ in range(100):
            self._session("bot: clicks at once", 1, float, after=lambda: self.rng.uniform(0.02, 0.18))
        for _ in range(50):
            self._session("bot: clicks on hidden ads", 1, float, seen="hidden")
            self._session("bot: clicks on stacked ads", 1, float, seen="stacked")
        for _ in range(8):  # a script on many lines of one network that waits always the same
            network, wait = ip_network(self.home() + "/24", strict=False), self.rng.uniform(2, 6)
            for _ in range(10):
                self._session(
                    "bot: waits always the same",
                    1,
                    float,
                    address=str(network[self.rng.randrange(1, 255)]),
                    after=lambda wait=wait: wait + self.rng.gauss(0, 0.05),
                )
        for _ in range(10):
            self._session("bot: clicks on everything", 7, lambda n: n * 3_000 + self.rng.uniform(0, 2_500))
        for _ in range(100):
            at, agent, address = self.rng.uniform(0, DAY), self.browser(), self.home()
            self.ask("bot: clicks on what never rendered", "click", at + self.dwell(), at, agent, address)
        self.strangers()

    def strangers(self) -> None:
        """Each click from another home, by a program that lets the tag measure nothing: on all that there is, on one
        campaign, on one publisher's slots. And by a whole browser, which leaves no trace that a person does not."""
        for n in range(50):
            self._session("bot: new home, no view", 1, float, is_viewed=False)
            self._session("bot: new home, no view, one campaign", 1, float, campaign=7, is_viewed=False)
            slot = SLOTS - n % PUBLISHER_SLOTS
            self._session("bot: new home, no view, one publisher", 1, float, slot=slot, is_viewed=False)
            self._session("bot: new home, whole browser", 1, float)

    def _session(
        self,
        who: str,
        clicks: int,
        when: Callable[[int], float],
        *,
        visitor: bytes = b"",
        address: str = "",
        after: Callable[[], float] | None = None,
        seen: str = "yes",
        slot: int | None = None,
        campaign: int | None = None,
        is_viewed: bool = True,
    ) -> None:
        start, agent, home = self.rng.uniform(0, DAY / 2), self.browser(), address or self.home()
        for n in range(clicks):
            self.visit(
                who,
                start + when(n),
                agent,
                home,
                visitor=visitor,
                after=after() if after else None,
                seen=seen,
                slot=slot,
                campaign=campaign,
                is_viewed=is_viewed,
            )
