"""Who is asking: devices by family, crawlers that say so, hosts; bodies with a limit."""

from __future__ import annotations

from io import BytesIO

import pytest

from adplatform.core.http import Response, TooLargeError, device_of, host_of, is_declared_bot, read_body


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/150.0 Safari/537.36", "desktop"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Version/18.0 Safari/605.1.15", "desktop"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148", "mobile"),
        ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/150.0 Mobile Safari/537.36", "mobile"),
        ("Mozilla/5.0 (Linux; Android 15; SM-X910) Chrome/150.0 Safari/537.36", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) Mobile/15E148", "tablet"),
        ("curl/8.5", "unknown"),
        ("", "unknown"),
    ],
)
def test_device(agent: str, device: str) -> None:
    assert device_of(agent) == device


@pytest.mark.parametrize(
    ("agent", "is_bot"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", True),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/150.0", True),
        ("facebookexternalhit/1.1", True),
        ("Mozilla/5.0 (Linux; Android 15; CUBOT KINGKONG) Chrome/150.0 Mobile", False),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/150.0 Safari/537.36", False),
        ("python-requests/2.33", False),
        ("", False),
    ],
)
def test_declared_bot(agent: str, is_bot: bool) -> None:
    assert is_declared_bot(agent) is is_bot


def test_host() -> None:
    assert host_of("https://WWW.News.example:8443/a?b") == "www.news.example"
    assert host_of("null") == host_of("") == host_of("http://[") == ""


@pytest.mark.parametrize("said", ["5", "", "no number"])
def test_a_body_within_the_limit_is_read(said: str) -> None:
    environ = {"CONTENT_LENGTH": said, "wsgi.input": BytesIO(b"12345")}
    assert read_body(environ, limit=5) == b"12345"


@pytest.mark.parametrize("said", ["6", "", "-1"])
def test_a_longer_body_is_refused_whatever_it_says(said: str) -> None:
    with pytest.raises(TooLargeError):
        read_body({"CONTENT_LENGTH": said, "wsgi.input": BytesIO(b"123456")}, limit=5)


def test_an_answer_says_its_length_and_type() -> None:
    told: list[object] = []
    body = Response(404, b"{}").send(lambda status, headers: told.extend([status, dict(headers)]))
    assert list(body) == [b"{}"]
    assert told == ["404 Not Found", {"Content-Length": "2", "Content-Type": "application/json"}]
