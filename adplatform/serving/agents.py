"""What a request for an event says of who asks: a declared crawler, a server instead of a person, a prefetch, oneself.

Cheap, since it is asked with every event: agents are judged once and remembered, addresses are looked up by bisection.
Nothing of what is looked at is kept but the reason (and a hash of the address that nobody can undo, see origins.py).
Patterns come from the package crawler-user-agents, addresses of data centres and anonymisers from the package iporigin
and from the operator's own files (SERVER_NETWORK_FILES). No Django here.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import iporigin
from crawleruseragents import is_crawler

from adplatform import settings
from adplatform.accounts import own
from adplatform.core.http import Environ, is_declared_bot
from adplatform.events.records import Served
from adplatform.events.validity import Reason

# Patterns of the package that also match people: browsers inside an app, and telephones made by Cubot.
_PEOPLE = re.compile(r"CUBOT[\w .-]*|MetaIAB \w+|Viber(?:/[\d.]+)?", re.IGNORECASE)
# A browser names no home page and no mail address.
_SIGNED = re.compile(r"https?://|www\.|[\w.]+@\w+\.\w+", re.IGNORECASE)
# Every browser of the last fifteen years begins so and names an engine.
_BROWSER = re.compile(r"Mozilla/5\.0 \((?!compatible\b)[^()]|Opera/9\.80 \(")
_ENGINE = re.compile(r"AppleWebKit/|Gecko/|like Gecko|Presto/")
_LIBRARY = re.compile(r"libwww|java\b|javafx|\bphp\b|python|\bcurl\b|okhttp|widget server", re.IGNORECASE)

_PREFETCHES = (("HTTP_SEC_PURPOSE", "prefetch"), ("HTTP_PURPOSE", "prefetch"), ("HTTP_X_MOZ", "prefetch"))
_SERVER_KINDS = frozenset({iporigin.HOSTING, iporigin.VPN, iporigin.TOR, iporigin.BOT})
# People of Apple's iCloud reach the web through these, mostly without knowing.
_PEOPLES_RELAYS = frozenset({"Apple Private Relay"})


def why_invalid(environ: Environ, served: Served) -> str:
    """The reason (events.validity) for which this request is no person's, or ''."""
    if _is_prefetch(environ):
        return Reason.PREFETCH
    if reason := reason_of_agent(environ.get("HTTP_USER_AGENT", "")):
        return reason
    if is_server(address_of(environ)):
        return Reason.DATA_CENTRE
    if own.is_member(environ.get("HTTP_COOKIE", ""), served.advertiser_id, served.publisher_id):
        return Reason.OWN
    return ""


@lru_cache(maxsize=8192)
def reason_of_agent(agent: str) -> str:
    """`bot` for one that says so, `not_a_browser` for a program or nothing at all, '' for a browser."""
    cleaned = _PEOPLE.sub("", agent)
    if is_declared_bot(cleaned) or is_crawler(cleaned) or _SIGNED.search(cleaned):
        return Reason.BOT
    is_browser = _BROWSER.match(agent) and _ENGINE.search(agent) and not _LIBRARY.search(agent)
    return "" if is_browser else Reason.NOT_A_BROWSER


def address_of(environ: Environ) -> str:
    """Who asks: the peer, or behind a trusted proxy whom it names last."""
    if settings.TRUST_PROXY and (forwarded := environ.get("HTTP_X_FORWARDED_FOR", "")):
        return str(forwarded).rsplit(",", 1)[-1].strip()
    return str(environ.get("REMOTE_ADDR", ""))


@lru_cache(maxsize=8192)
def is_server(address: str) -> bool:
    """Whether an address belongs to a data centre, a VPN or Tor; False for what is none, or is not known."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if any(parsed in network for network in _networks()):
        return True
    origin = iporigin.classify(str(parsed))
    return origin.kind in _SERVER_KINDS and origin.provider not in _PEOPLES_RELAYS


@cache
def _networks() -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(
        ip_network(line, strict=False)
        for name in settings.SERVER_NETWORK_FILES
        for line in map(_bare, Path(name).read_text().splitlines())
        if line
    )


def _bare(line: str) -> str:
    return line.partition("#")[0].strip()


def _is_prefetch(environ: Environ) -> bool:
    return any(word in environ.get(name, "") for name, word in _PREFETCHES)
