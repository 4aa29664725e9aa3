"""Acknowledged means durable: on the stream, else in the spool, else not acknowledged at all."""

from __future__ import annotations

import pytest

from adplatform.events import spool as spooling
from adplatform.events.spool import Spool, SpoolFullError
from adplatform.events.stream import FIELD, STREAM, EventStream, NotStoredError, connect

NOWHERE = "redis://127.0.0.1:1/0"


def stored(events) -> list[bytes]:
    return [fields[FIELD] for _, fields in events.xrange(STREAM)]


def test_an_event_is_on_the_stream_when_append_returns(events, tmp_path) -> None:
    EventStream(events, Spool(tmp_path)).append(b"one")
    assert stored(events) == [b"one"]


def test_decisions_wait_for_the_flush(events, tmp_path) -> None:
    stream = EventStream(events, Spool(tmp_path))
    for number in range(700):
        stream.append_soon(b"%d" % number)
    assert stored(events) == []
    stream.flush()
    assert stored(events) == [b"%d" % number for number in range(700)]


def test_without_valkey_events_go_to_the_spool_and_decisions_stay(events, tmp_path) -> None:
    stream = EventStream(connect(NOWHERE), Spool(tmp_path / "spool"))
    stream.append(b"one")
    stream.append(b"two")
    stream.append_soon(b"three")
    stream.flush()
    assert (stream.spooled, stream.waiting, stored(events)) == (2, 1, [])

    # Another process replays what this one left, once it is dead and its lock is gone.
    stream.close()
    again = EventStream(events, Spool(tmp_path / "spool"))
    assert Spool(tmp_path / "spool").replay(again.append_many) == 2
    assert stored(events) == [b"one", b"two"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_when_neither_holds_it_the_caller_hears_so(tmp_path) -> None:
    stream = EventStream(connect(NOWHERE), Spool(tmp_path, limit_bytes=10))
    with pytest.raises(NotStoredError):
        stream.append(b"0123456789")


def test_the_background_replays_when_valkey_is_back(events, tmp_path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"waiting")
    stream = EventStream(events, spool)
    stream._replay()
    assert stored(events) == [b"waiting"]
    assert spool.size() == 0


def test_a_file_whose_writer_lives_is_left_alone(tmp_path) -> None:
    writer = Spool(tmp_path)
    writer.append(b"mine")
    taken: list[bytes] = []
    assert Spool(tmp_path).replay(taken.extend) == 0
    assert writer.replay(taken.extend) == 1
    assert taken == [b"mine"]


def test_a_torn_tail_is_ignored(tmp_path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"whole")
    (path,) = tmp_path.glob("*.spool")
    spool.close()
    path.write_bytes(path.read_bytes() + spooling._HEAD.pack(100, 1) + b"torn")
    taken: list[bytes] = []
    assert Spool(tmp_path).replay(taken.extend) == 1
    assert taken == [b"whole"]


def test_a_failed_replay_keeps_everything(tmp_path) -> None:
    spool = Spool(tmp_path)
    spool.append(b"precious")

    def fail(_: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        spool.replay(fail)
    taken: list[bytes] = []
    assert spool.replay(taken.extend) == 1


def test_a_full_spool_refuses_and_leaves_nothing_of_the_record(tmp_path) -> None:
    spool = Spool(tmp_path, limit_bytes=40)
    spool.append(b"x" * 20)
    with pytest.raises(SpoolFullError):
        spool.append(b"y" * 20)
    taken: list[bytes] = []
    spool.replay(taken.extend)
    assert taken == [b"x" * 20]
