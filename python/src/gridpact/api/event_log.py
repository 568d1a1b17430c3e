"""The log of task events that ``tasks`` writes after each commit: a Redis stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import redis.asyncio

from gridpact.kit.redis_connection import redis_errors

KEY = "gridpact:events"
START = "0-0"

_READ_COUNT = 500
_REPLAY_COUNT = 10_000
_POSITION = re.compile(r"(\d{1,16})-(\d{1,10})")


@dataclass(frozen=True, slots=True)
class Event:
    """A task of an organisation, as it stood after a commit; ``data`` is the JSON of a Task."""

    position: str
    organisation_id: str
    task_id: str
    data: bytes


class EventLog(Protocol):
    """Where events stand in order. Positions grow: ``<milliseconds>-<number>``."""

    async def end(self) -> str:
        """The position of the last event there ever was; ``0-0`` when there was none."""
        ...

    async def read(self, after: str, wait_s: float) -> Sequence[Event]:
        """Events behind a position; waits for one, at most this long."""
        ...

    async def replay(self, after: str) -> Sequence[Event]:
        """The events behind a position that are still there."""
        ...


def order(position: str) -> tuple[int, int]:
    """What positions are compared by."""
    match = _POSITION.fullmatch(position)
    assert match is not None
    return int(match[1]), int(match[2])


class RedisEventLog:
    """The stream ``gridpact:events``; it holds about the last 10,000 events."""

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection

    async def end(self) -> str:
        with redis_errors():
            if not await self._redis.exists(KEY):
                return START
            facts = await self._redis.xinfo_stream(KEY)
        return facts["last-generated-id"].decode()

    async def read(self, after: str, wait_s: float) -> Sequence[Event]:
        with redis_errors():
            reply: Any = await self._redis.xread(
                {KEY: after}, count=_READ_COUNT, block=int(wait_s * 1000)
            )
        if not reply:
            return ()
        rows = reply[0][1] if isinstance(reply, list) else reply[KEY.encode()][0]
        return [_event(*row) for row in rows]

    async def replay(self, after: str) -> Sequence[Event]:
        with redis_errors():
            rows: Any = await self._redis.xrange(KEY, min=f"({after}", count=_REPLAY_COUNT)
        return [_event(*row) for row in rows]


def _event(position: bytes, fields: dict[bytes, bytes]) -> Event:
    return Event(
        position.decode(), fields[b"org"].decode(), fields[b"task_id"].decode(), fields[b"data"]
    )
