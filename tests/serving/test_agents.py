"""Who asks: a person in a browser, or something that says by its agent, address, headers or cookie that it is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adplatform.accounts import own
from adplatform.events.records import Served
from adplatform.serving import agents
from adplatform.serving.origins import KEY, KEY_SECONDS, Origins
from tests.factories import NOON

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
AD = Served(
    *(b"d" * 16, NOON, NOON + timedelta(hours=24), 1, 7, 8, 1, 1, 1, b"", "cpc", 1, "USD"),
)


def why(**headers: str) -> str:
    return agents.why_invalid({"HTTP_USER_AGENT": CHROME, "REMOTE_ADDR": "84.115.208.10"} | headers, AD)


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (CHROME, ""),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", ""),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", ""),
        (
            "Mozilla/5.0 (Linux; Android 7.0; CUBOT MAX) AppleWebKit/537.36 Chrome/71.0 Mobile Safari/537.36",
            "",
        ),
        (
            "Mozilla/5.0 (Linux; Android 16; Pixel 10; wv) AppleWebKit/537.36 Chrome/146.0 MetaIAB Facebook",
            "",
        ),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/142.0.0.0 Safari/537.36", "bot"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Shop/1.0 (see https://shop.example)", "bot"),
        ("python-requests/2.32.0", "bot"),
        ("WinHttpClient", "not_a_browser"),
        ("", "not_a_browser"),
    ],
)
def test_what_an_agent_says(agent: str, reason: str) -> None:
    assert why(HTTP_USER_AGENT=agent) == reason


@pytest.mark.parametrize(
    ("address", "reason"),
    [("84.115.208.10", ""), ("127.0.0.1", ""), ("nonsense", ""), ("52.95.110.1", "data_centre")],
)
def test_what_an_address_says(address: str, reason: str) -> None:
    assert why(REMOTE_ADDR=address) == reason


def test_an_operators_own_list_of_networks(settings, tmp_path, monkeypatch) -> None:
    listed = tmp_path / "networks.txt"
    listed.write_text("# ours\n84.115.208.0/24  # a hosting firm\n2a02::/32\n")
    monkeypatch.setattr("adplatform.settings.SERVER_NETWORK_FILES", [str(listed)])
    agents._networks.cache_clear()
    agents.is_server.cache_clear()
    try:
        assert (why(), why(REMOTE_ADDR="84.115.209.1")) == ("data_centre", "")
    finally:
        agents._networks.cache_clear()
        agents.is_server.cache_clear()


def test_a_prefetch_is_nobody_yet() -> None:
    assert why(HTTP_SEC_PURPOSE="prefetch;prerender") == "prefetch"


@pytest.mark.parametrize(
    ("ids", "reason"), [([8], "own"), ([7, 3], "own"), ([own.EVERYBODYS], "own"), ([9], "")]
)
def test_members_and_operators_are_known_by_a_signed_cookie(ids: list[int], reason: str) -> None:
    assert why(HTTP_COOKIE=f"a=b; {own.COOKIE}={own.sign(ids)}") == reason


def test_a_forged_cookie_names_nobody() -> None:
    forged = own.sign([8])[:-2] + "AA"
    assert why(HTTP_COOKIE=f"{own.COOKIE}={forged}") == ""
    assert own.read("x") == own.read("ü") == frozenset()


def test_an_origin_tells_addresses_and_networks_apart_for_a_day(events: Any) -> None:
    one, two = Origins(events), Origins(events)
    home = one.of("84.115.208.10", NOON)
    assert two.of("84.115.208.10", NOON) == home  # servers share the key
    neighbour = one.of("84.115.208.11", NOON)
    assert (neighbour[:4] == home[:4], neighbour[4:] == home[4:]) == (True, False)
    assert one.of("84.115.209.10", NOON)[:4] != home[:4]
    assert one.of("84.115.208.10", NOON + timedelta(days=1)) != home
    assert one.of("", NOON) == b""
    assert 0 < events.ttl(KEY.format(NOON.date().isoformat())) <= KEY_SECONDS
