"""The event log on a real Redis, written as `tasks` writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio

from gridpact.api.event_log import KEY, START, Event, RedisEventLog, order
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.redis_connection import connect_redis
from tests.redis import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server that the tests empty and kill."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def connection(server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    client = connect_redis(server.url)
    await client.flushall()
    yield client
    await client.aclose()


async def write(connection: redis.asyncio.Redis, count: int) -> list[str]:
    fields = {"org": "o", "task_id": "t", "data": b"{}"}
    return [(await connection.xadd(KEY, fields)).decode() for _ in range(count)]


async def test_events_are_read_in_order_from_a_position(connection: redis.asyncio.Redis) -> None:
    event_log = RedisEventLog(connection)
    assert await event_log.end() == START
    positions = await write(connection, 5)
    assert await event_log.end() == positions[-1]
    expected = [Event(position, "o", "t", b"{}") for position in positions]
    assert list(await event_log.read(START, 0.1)) == expected
    assert list(await event_log.read(positions[2], 0.1)) == expected[3:]
    assert list(await event_log.replay(positions[2])) == expected[3:]
    assert list(await event_log.read(positions[-1], 0.05)) == []


async def test_the_end_stays_known_when_events_are_dropped(
    connection: redis.asyncio.Redis,
) -> None:
    event_log = RedisEventLog(connection)
    positions = await write(connection, 3)
    await connection.xtrim(KEY, maxlen=1, approximate=False)
    assert await event_log.end() == positions[-1]
    assert [event.position for event in await event_log.replay(positions[0])] == positions[2:]


async def test_after_a_flush_the_end_lies_before_every_position(
    connection: redis.asyncio.Redis,
) -> None:
    event_log = RedisEventLog(connection)
    [position] = await write(connection, 1)
    await connection.flushall()
    assert order(await event_log.end()) < order(position)


async def test_a_redis_that_is_gone_is_unavailable_and_comes_back(
    server: RedisServer, connection: redis.asyncio.Redis
) -> None:
    event_log = RedisEventLog(connection)
    positions = await write(connection, 1)
    server.kill()
    with pytest.raises(GridpactError) as raised:
        await event_log.read(START, 0.1)
    assert raised.value.reason is Reason.UNAVAILABLE
    server.start()
    assert [event.position for event in await event_log.read(START, 0.1)] == positions
