"""Sessions that have ended before their access tokens expire.

A sorted set in Redis holds the ids of revoked sessions until their last access token has expired; a
channel announces new ones. Every process keeps a copy: the check costs a set look-up, a
revocation arrives within milliseconds, and within ``RESYNC_S`` when an announcement was lost. What
Redis forgets (a FLUSHALL) any process that still knows writes back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from gridpact.kit.background import running
from gridpact.kit.log import Log
from gridpact.kit.redis_connection import redis_errors

log = Log(__name__)

KEY = "gridpact:revoked-sessions"
CHANNEL = "gridpact:session-revoked"
RESYNC_S = 2.0


class Revocations:
    """A process's copy of the revoked sessions, kept fresh while ``following``."""

    def __init__(
        self, connection: redis.asyncio.Redis, *, now: Callable[[], float] = time.time
    ) -> None:
        self._redis = connection
        self._now = now
        self._until: dict[str, float] = {}
        self._listeners: list[Callable[[str], None]] = []

    def __contains__(self, session_id: str) -> bool:
        """Whether the session has been revoked."""
        return session_id in self._until

    def on_revoked(self, listener: Callable[[str], None]) -> None:
        """Calls ``listener(session_id)`` for every session that is revoked from now on."""
        self._listeners.append(listener)

    async def revoke(self, session_id: str, until: float) -> None:
        """Revokes a session everywhere; ``until`` (Unix time) is when its last token expires."""
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.zadd(KEY, {session_id: until})
                pipeline.publish(CHANNEL, f"{session_id} {until}")
                await pipeline.execute()
        self._learn(session_id, until)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keeps the copy fresh; on entry it is complete, or Redis has been out of reach for 5 s."""
        synced = asyncio.Event()
        async with running(self._follow(synced), "revocations"):
            try:
                async with asyncio.timeout(5.0):
                    await synced.wait()
            except TimeoutError:
                log.warning("revocations-unknown")
            yield

    async def _follow(self, synced: asyncio.Event) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    while True:
                        await self._resync()
                        synced.set()
                        await self._listen(pubsub, RESYNC_S)
            except (RedisError, OSError) as error:
                log.warning("revocations-stale", cause=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.5)

    async def _listen(self, pubsub: PubSub, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            message = await pubsub.get_message(timeout=left)
            if message is not None and message["type"] == "message":
                session_id, until = cast("bytes", message["data"]).decode().split()
                self._learn(session_id, float(until))

    async def _resync(self) -> None:
        now = self._now()
        rows = await self._redis.zrangebyscore(KEY, now, "+inf", withscores=True)
        stored = {
            session_id.decode(): until
            for session_id, until in cast("list[tuple[bytes, float]]", rows)
        }
        for session_id, until in stored.items():
            self._learn(session_id, until)
        self._until = {known: until for known, until in self._until.items() if until >= now}
        forgotten = {known: until for known, until in self._until.items() if known not in stored}
        if forgotten:
            await self._redis.zadd(KEY, forgotten)
        await self._redis.zremrangebyscore(KEY, "-inf", f"({now}")

    def _learn(self, session_id: str, until: float) -> None:
        if session_id in self._until:
            return
        self._until[session_id] = until
        for listener in self._listeners:
            listener(session_id)
