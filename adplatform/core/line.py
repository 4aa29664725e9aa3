"""A direct line to Valkey for what happens in every request: packed commands over redis-py's connection.

redis-py's command layer costs more than the trip: three hashes by a pipeline take 139 µs of CPU, over its bare
connection 66 (of which the socket and hiredis take 60). Connecting, timeouts and the protocol stay redis-py's.
"""

from __future__ import annotations

from typing import Any

import hiredis
import redis


def packed(*commands: tuple[Any, ...]) -> bytes:
    """Commands as they go over the wire."""
    return b"".join(hiredis.pack_command(command) for command in commands)


class Line:
    """As many connections as are used at once, made at need, with the client's own timeouts."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._idle: list[Any] = []  # append and pop are atomic

    def ask(self, commands: bytes, answers: int) -> list[Any]:
        """The answers of packed commands, in one trip.

        A connection that the server closed meanwhile is made anew, once; so a command must bear being sent twice.
        Raises redis.RedisError or OSError; after an error the connection is closed, so that no answer is left over.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.make_connection()
        try:
            if connection.is_connected:
                try:
                    return self._trip(connection, commands, answers)
                except redis.TimeoutError:
                    raise
                except (redis.ConnectionError, OSError):
                    pass  # it was closed while idle: one more try over a new one
            return self._trip(connection, commands, answers)
        finally:
            self._idle.append(connection)

    @staticmethod
    def _trip(connection: Any, commands: bytes, answers: int) -> list[Any]:
        try:
            connection.send_packed_command([commands])
            return [connection.read_response() for _ in range(answers)]
        except BaseException:
            connection.disconnect()
            raise
