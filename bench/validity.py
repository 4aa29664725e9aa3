"""How much invalid traffic goes unbilled, and how much genuine: python -m bench.validity [--seed N]

10,000 genuine and 2,000 bot clicks with their impressions go the way of all events: the ads role's judgement of who asks,
ingest's transaction, the hourly back filter. Bots' agents and addresses come from lists that the detector does not load
(isbot's fixtures, ipcat, X4BNet; folder invalid_traffic of ADPLATFORM_DATA); of agents only the half that was not looked
at while the rules were written. 700 bots have browsers' agents and home addresses and give themselves away by what they
do, or, the last kind, by nothing. A database of its own is made and dropped on the server of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any

NIGHT = datetime(2026, 6, 15, tzinfo=UTC)
DAY = 20 * 3_600  # seconds over which the traffic is spread
# Blocks of access providers of eight countries, where people live.
HOMES = (
    *(
        "73.0.0.0/9",
        "98.192.0.0/11",
        "71.192.0.0/12",
        "79.192.0.0/11",
        "87.128.0.0/11",
        "86.128.0.0/11",
        "90.0.0.0/10",
    ),
    *(
        "82.224.0.0/12",
        "83.32.0.0/12",
        "84.112.0.0/13",
        "49.32.0.0/12",
        "1.128.0.0/12",
        "78.160.0.0/12",
        "189.128.0.0/11",
    ),
)
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E{} Safari/604.1",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.{} Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{0}.0.0.0 Safari/537.36 Edg/{0}.0.0.0",
    "Mozilla/5.0 (Linux; Android 15; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/{}.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/530.0;]",
)


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


class World:
    """Draws visitors of every kind; `asks` is what they ask for."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng, self.asks, self._places = rng, list[Ask](), 0
        self.bots = [agent for agent in _bot_agents(folder) if _is_unseen(agent)]
        self.browsers = [agent for agent in _browser_agents(folder) if _is_unseen(agent)]
        self.ipcat = [(row[0], row[1]) for row in csv.reader((folder / "ipcat_datacenters.csv").open())]
        self.centres = _networks(folder / "x4bnet_datacenter_ipv4.txt")
        self.vpns = _networks(folder / "x4bnet_vpn_ipv4.txt")

    def browser(self) -> str:
        return self.rng.choice(BROWSERS).format(self.rng.randint(128, 144))

    def home(self) -> str:
        network = ip_network(self.rng.choice(HOMES))
        return str(network[self.rng.randrange(1, network.num_addresses - 1)])

    def dwell(self) -> float:
        """From seeing an ad to clicking on it: log-normal around four seconds."""
        return 0.6 + self.rng.lognormvariate(math.log(3.5), 0.9)

    def show(
        self, who: str, at: float, agent: str, address: str, visitor: bytes = b"", seen: str = "yes"
    ) -> Ask:
        self._places += 1
        shown = Ask(
            who,
            "impression",
            self._places,
            at + self.rng.uniform(0.15, 1.5),
            at,
            agent,
            address,
            visitor,
            seen,
        )
        self.asks.append(shown)
        return shown

    def click(self, shown: Ask, after: float) -> None:
        self.asks.append(
            Ask(
                shown.who,
                "click",
                shown.place,
                shown.seconds + after,
                shown.served_seconds,
                shown.agent,
                shown.address,
                shown.visitor,
            )
        )

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
    ) -> None:
        """One impression and a click on it."""
        self.click(
            self.show(who, at, agent, address, visitor, seen), self.dwell() if after is None else after
        )

    # --- people -------------------------------------------------------------------------------------------------------

    def people(self, clicks: int) -> None:
        offices = [self.home() for _ in range(20)]
        carriers = [self.home() for _ in range(12)]
        done = 0
        while done < clicks:
            draw = self.rng.random()
            who, address = ("at home", self.home())
            if draw < 0.2:
                who, address = "on a carrier's shared address", self.rng.choice(carriers)
            elif draw < 0.3:
                who, address = "in an office", self.rng.choice(offices)
            agent = self.browser()
            if self.rng.random() < 0.05:
                who, agent = "with a rare browser (isbot)", self.rng.choice(self.browsers)
            done += self._person(f"person {who}", agent, address, most=clicks - done)

    def _person(self, who: str, agent: str, address: str, *, most: int) -> int:
        """A day of a person: some pages, now and then a click; one in a hundred clicks a lot."""
        visitor = self.rng.randbytes(16) if self.rng.random() < 0.6 else b""
        wanted = (
            self.rng.randint(4, 7) if self.rng.random() < 0.01 else min(1 + int(self.rng.expovariate(1.6)), 4)
        )
        wanted = min(wanted, most)
        start = self.rng.uniform(0, DAY)
        pages = [start + self.rng.expovariate(1 / 400) * n for n in range(wanted * self.rng.randint(8, 16))]
        clicked = set(self.rng.sample(range(len(pages)), wanted))
        for n, at in enumerate(pages):
            shown = self.show(who, min(at, DAY + 3_000), agent, address, visitor)
            if n in clicked:
                self.click(shown, self.dwell())
        return wanted

    # --- bots ---------------------------------------------------------------------------------------------------------

    def declared(self, clicks: int) -> None:
        for _ in range(clicks):
            self.visit(
                "bot that says so (isbot)", self.rng.uniform(0, DAY), self.rng.choice(self.bots), self.home()
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

    def in_range(self, first: str, last: str) -> str:
        return str(IPv4Address(self.rng.randint(int(ip_address(first)), int(ip_address(last)))))

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
            self._places += 1
            self.asks.append(
                Ask(
                    "bot: clicks on what never rendered",
                    "click",
                    self._places,
                    at + self.dwell(),
                    at,
                    agent,
                    address,
                )
            )
        for _ in range(50):
            self._session("bot: new home for every click", 1, float)

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
            )


def _is_unseen(agent: str) -> bool:
    """Of the half that nobody looked at while the rules were written."""
    return hashlib.sha256(agent.encode()).digest()[0] % 2 == 1


def _bot_agents(folder: Path) -> list[str]:
    """isbot's downloaded crawlers, less the telephones of Cubot among them."""
    names = ("isbot_myip.ms.json.gz", "isbot_user-agents.net.json.gz")
    return [
        agent
        for name in names
        for agent in json.load(gzip.open(folder / name))
        if "CUBOT" not in agent.upper()
    ]


def _browser_agents(folder: Path) -> list[str]:
    """Browsers of isbot's list, without its apps' own libraries and players, which render no ad."""
    lines = (folder / "isbot_browsers.yml").read_text().splitlines()
    agents = [line.strip()[2:].strip("'\"") for line in lines if line.strip().startswith("- ")]
    return [agent for agent in agents if re.match(r"Mozilla/5\.0 \((?!compatible)", agent)]


def _networks(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text().split() if "/" in line]
    return [(str(net[0]), str(net[-1])) for net in map(ip_network, lines)]


def drawn(rng: Random, folder: Path) -> list[Ask]:
    world = World(rng, folder)
    world.people(10_000)
    world.declared(600)
    for who, clicks, ranges in (
        ("bot in ipcat's ranges", 300, world.ipcat),
        ("bot in X4BNet's data centres", 300, world.centres),
        ("bot in X4BNet's VPNs", 100, world.vpns),
    ):
        sizes = [int(ip_address(last)) - int(ip_address(first)) + 1 for first, last in ranges]
        world.boxes(
            who, clicks, lambda ranges=ranges, sizes=sizes: world.in_range(*rng.choices(ranges, sizes)[0])
        )
    world.behaving()
    return sorted(world.asks, key=lambda ask: ask.seconds)


def measured(asks: Sequence[Ask]) -> dict[str, Counter[str]]:
    """Per kind of visitor its clicks by what became of them: 'billed', 'at once: …', 'later: …'."""
    from adplatform import settings
    from adplatform.events import backfilter
    from adplatform.events.models import Click, Invalidation
    from adplatform.events.store import store
    from adplatform.events.stream import connect
    from adplatform.events.thresholds import Thresholds
    from adplatform.serving.origins import Origins

    ad, origins, whose = _ad(), Origins(connect(settings.EVENTS_URL, timeout_seconds=5)), dict[str, str]()
    for batch in _batches(asks):
        store(
            [_event(ask, ad, origins, whose) for ask in batch],
            granted=lambda ids: dict.fromkeys(ids, 10**15),
            at=NIGHT + timedelta(seconds=batch[-1].seconds),
        )
    backfilter.run(at=NIGHT + timedelta(hours=25), limits=Thresholds(), sources=["live"])
    later = {row.decision_id.hex: row.reason for row in Invalidation.objects.filter(kind="click")}
    found: dict[str, Counter[str]] = {}
    for decision_id, billable, reason in Click.objects.values_list("decision_id", "is_billable", "reason"):
        if not billable:
            became = f"at once: {reason}"
        else:
            became = f"later: {later[decision_id.hex]}" if decision_id.hex in later else "billed"
        found.setdefault(whose[decision_id.hex], Counter())[became] += 1
    return found


def _event(ask: Ask, ad: Any, origins: Any, whose: dict[str, str]) -> Any:
    import msgspec

    from adplatform.events.records import TokenEvent
    from adplatform.serving import agents

    decision_id = ask.place.to_bytes(16, "big")
    whose[decision_id.hex()] = ask.who
    at, served_at = NIGHT + timedelta(seconds=ask.seconds), NIGHT + timedelta(seconds=ask.served_seconds)
    served = msgspec.structs.replace(
        ad,
        decision_id=decision_id,
        served_at=served_at,
        expires_at=served_at + timedelta(hours=24),
        visitor=ask.visitor,
        creative_id=1 + ask.place % 400,
        slot_id=1 + ask.place % 60,
    )
    environ = {"HTTP_USER_AGENT": ask.agent, "REMOTE_ADDR": ask.address}
    return TokenEvent(
        ask.kind, served, at, str(agents.why_invalid(environ, served)), origins.of(ask.address, at), ask.seen
    )


def _ad() -> Any:
    """A click-priced ad of an advertiser with money enough."""
    from adplatform.accounts.models import Organisation
    from adplatform.campaigns.models import Campaign
    from adplatform.events.records import Served

    advertiser = Organisation.objects.create(name="Bench", kind=Organisation.Kind.ADVERTISER)
    campaign = Campaign.objects.create(
        organisation=advertiser, name="Bench", currency=advertiser.currency, start_at=NIGHT
    )
    return Served(
        b"", NIGHT, NIGHT, 1, 1, advertiser.pk, campaign.pk, 1, 1, b"", "cpc", 10_000, advertiser.currency
    )


def _batches(asks: Sequence[Ask], size: int = 2_000) -> Iterator[Sequence[Ask]]:
    for first in range(0, len(asks), size):
        yield asks[first : first + size]


def table(found: dict[str, Counter[str]]) -> str:
    lines = [f"{'visitors':42} {'clicks':>7} {'at once':>8} {'later':>7} {'billed':>7}  reasons"]
    for people in (True, False):
        totals = Counter[str]()
        for who in sorted(who for who in found if who.startswith("person") == people):
            totals += found[who]
            lines.append(_line(who, found[who]))
        lines.append(_line("GENUINE" if people else "BOTS", totals))
        unbilled = 1 - totals["billed"] / totals.total()
        lines.append(f"  unbilled {unbilled:.2%} ({'at most 1 %' if people else 'at least 95 %'} wanted)")
    return "\n".join(lines)


def _line(who: str, became: Counter[str]) -> str:
    parts = {
        word: sum(n for key, n in became.items() if key.startswith(word)) for word in ("at once", "later")
    }
    reasons = Counter[str]()
    for key, n in became.items():
        reasons[key.partition(": ")[2]] += n
    words = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common(5) if reason)
    return f"{who:42} {became.total():7,} {parts['at once']:8,} {parts['later']:7,} {became['billed']:7,}  {words}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    from bench import database

    folder = Path(os.environ.get("ADPLATFORM_DATA", "")) / "invalid_traffic"
    if not folder.is_dir():
        raise SystemExit("Set ADPLATFORM_DATA to the folder that holds invalid_traffic (docs/data.md).")
    asks = drawn(Random(chosen.seed), folder)
    with database.own("bench_validity"):
        print(table(measured(asks)))


if __name__ == "__main__":
    main()
