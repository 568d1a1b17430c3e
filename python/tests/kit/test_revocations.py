from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import redis.asyncio

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.redis_connection import connect_redis
from gridpact.kit.revocations import KEY, Revocations
from tests.redis import RedisServer


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that the test may kill or empty."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def connection(own_redis: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    client = connect_redis(own_redis.url)
    yield client
    await client.aclose()


async def learned(revocations: Revocations, session_id: str) -> None:
    """Returns when another process's revocation has arrived."""
    heard = asyncio.Event()
    revocations.on_revoked(lambda each: heard.set() if each == session_id else None)
    async with asyncio.timeout(10):
        while session_id not in revocations:
            await heard.wait()


async def test_a_revocation_reaches_every_process(connection: redis.asyncio.Redis) -> None:
    here, there = Revocations(connection), Revocations(connection)
    async with there.following():
        session_id = str(uuid4())
        arrived = asyncio.create_task(learned(there, session_id))
        await asyncio.sleep(0)
        began = time.monotonic()
        await here.revoke(session_id, time.time() + 60)
        assert session_id in here
        await arrived
        assert time.monotonic() - began < 1


async def test_a_process_that_starts_later_knows_too(connection: redis.asyncio.Redis) -> None:
    session_id = str(uuid4())
    await Revocations(connection).revoke(session_id, time.time() + 60)
    late = Revocations(connection)
    async with late.following():
        assert session_id in late


async def test_a_lost_announcement_is_made_up_for(connection: redis.asyncio.Redis) -> None:
    there = Revocations(connection)
    async with there.following():
        session_id = str(uuid4())
        await connection.zadd(KEY, {session_id: time.time() + 60})  # and nothing is published
        await learned(there, session_id)


async def test_what_redis_forgot_is_written_back(connection: redis.asyncio.Redis) -> None:
    session_id = str(uuid4())
    knowing = Revocations(connection)
    async with knowing.following():
        await knowing.revoke(session_id, time.time() + 60)
        await connection.flushall()
        async with asyncio.timeout(10):
            # Redis announces no change of a key; asking again is all there is.
            while await connection.zscore(KEY, session_id) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_what_has_expired_is_forgotten(connection: redis.asyncio.Redis) -> None:
    session_id = str(uuid4())
    now = time.time()
    clock = [now]
    revocations = Revocations(connection, now=lambda: clock[0])
    await revocations.revoke(session_id, now + 60)
    clock[0] = now + 61
    async with revocations.following():
        assert session_id not in revocations
        assert await connection.zcard(KEY) == 0


async def test_a_restarted_redis_is_followed_again(
    own_redis: RedisServer, connection: redis.asyncio.Redis
) -> None:
    there = Revocations(connection)
    async with there.following():
        known = str(uuid4())
        await there.revoke(known, time.time() + 60)
        own_redis.kill()
        with pytest.raises(GridpactError) as raised:
            await there.revoke(str(uuid4()), time.time() + 60)
        assert raised.value.reason is Reason.UNAVAILABLE
        assert known in there
        own_redis.start()
        later = str(uuid4())
        async with asyncio.timeout(10):
            await Revocations(connection).revoke(later, time.time() + 60)
            await learned(there, later)
