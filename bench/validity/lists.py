"""Agents and addresses from lists that the detector does not load, and homes and browsers of people."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from random import Random

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

Range = tuple[str, str]  # first and last address


@dataclass(frozen=True)
class Lists:
    """What folder invalid_traffic of ADPLATFORM_DATA holds."""

    bots: list[str]
    browsers: list[str]
    ipcat: list[Range]
    centres: list[Range]
    vpns: list[Range]

    @classmethod
    def read(cls, folder: Path) -> Lists:
        return cls(
            [agent for agent in _bot_agents(folder) if _is_unseen(agent)],
            [agent for agent in _browser_agents(folder) if _is_unseen(agent)],
            [(row[0], row[1]) for row in csv.reader((folder / "ipcat_datacenters.csv").open())],
            _networks(folder / "x4bnet_datacenter_ipv4.txt"),
            _networks(folder / "x4bnet_vpn_ipv4.txt"),
        )


def browser(rng: Random) -> str:
    return rng.choice(BROWSERS).format(rng.randint(128, 144))


def home(rng: Random) -> str:
    network = ip_network(rng.choice(HOMES))
    return str(network[rng.randrange(1, network.num_addresses - 1)])


def within(rng: Random, ranges: list[Range], sizes: list[int]) -> str:
    """An address of these ranges, larger ones more often."""
    first, last = rng.choices(ranges, sizes)[0]
    return str(IPv4Address(rng.randint(int(ip_address(first)), int(ip_address(last)))))


def sizes(ranges: list[Range]) -> list[int]:
    return [int(ip_address(last)) - int(ip_address(first)) + 1 for first, last in ranges]


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
