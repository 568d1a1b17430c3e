"""Redis Streams under the port suite."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import redis

from gridpact.broker.port import Broker
from gridpact.broker.redis_streams import RedisStreamsBroker
from tests.broker.suite.harness import MAX_ATTEMPTS
from tests.redis import RedisServer


class RedisStreamsUnderTest:
    name = "redis"
    brief = timedelta(minutes=1)
    shifts_time = True
    survives_kill_exactly = True
    holds_up_other_groups = False
    counts_hand_backs = False

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def open(self) -> Broker:
        return RedisStreamsBroker(self._server.url, max_attempts=MAX_ATTEMPTS)

    async def pass_time(self, topic: str, duration: timedelta) -> None:
        # All instants of a queue stand in one sorted set; that they come nearer and that time
        # passes is the same to it.
        key = f"gridpact:broker:{{{topic}}}:hidden"
        milliseconds = duration // timedelta(milliseconds=1)
        with redis.Redis.from_url(self._server.url) as client:
            for member in cast("list[bytes]", client.zrange(key, 0, -1)):
                client.zincrby(key, -milliseconds, member)

    async def restart(self) -> None:
        self._server.kill()
        self._server.start()

    async def empty(self) -> None:
        with redis.Redis.from_url(self._server.url) as client:
            client.flushall()
            client.script_flush()
