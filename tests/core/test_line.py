"""A direct line to Valkey: one trip for many commands, and no answer that belongs to another question."""

from __future__ import annotations

import pytest
import redis
from django.conf import settings

from adplatform.core.line import Line, packed
from adplatform.events.stream import connect


@pytest.fixture
def client() -> redis.Redis:
    return connect(settings.REDIS_URL, timeout_seconds=1.0)


def test_answers_come_in_the_order_of_the_commands(client: redis.Redis) -> None:
    client.set("line:a", 1)
    client.set("line:b", 2)
    line = Line(client)
    assert line.ask(packed(("GET", "line:b"), ("GET", "line:a"), ("GET", "line:none")), 3) == [
        b"2",
        b"1",
        None,
    ]


def test_a_line_that_was_cut_while_idle_is_made_anew(client: redis.Redis) -> None:
    line = Line(client)
    (own,) = line.ask(packed(("CLIENT", "ID")), 1)
    client.client_kill_filter(_id=str(own))
    assert line.ask(packed(("ECHO", "hello")), 1) == [b"hello"]


def test_after_an_error_no_answer_is_left_over(client: redis.Redis) -> None:
    client.set("line:text", "no hash")
    line = Line(client)
    with pytest.raises(redis.ResponseError):
        line.ask(packed(("HGETALL", "line:text"), ("ECHO", "late")), 2)
    assert line.ask(packed(("ECHO", "own")), 1) == [b"own"]


def test_a_server_that_is_away_is_an_error() -> None:
    line = Line(connect("redis://127.0.0.1:1/0", timeout_seconds=0.2))
    with pytest.raises((redis.RedisError, OSError)):
        line.ask(packed(("PING",)), 1)
