"""Cancel wishes from Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gridpact.kit.log import Log

log = Log(__name__)

CANCEL_CHANNEL = "gridpact:cancel"


class RedisCancelWishes:
    """CancelWishes published by the owner of tasks on a Redis channel."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def wishes(self) -> AsyncIterator[str]:
        """See CancelWishes. Subscribes again, with backoff, whenever Redis was away."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(CANCEL_CHANNEL)
                    while True:
                        # A silence shorter than the client's socket timeout is no failure.
                        message = await subscription.get_message(timeout=2.0)
                        if message is not None:
                            yield cast("bytes", message["data"]).decode("ascii")
            except RedisError as error:
                log.warning("cancel-wishes-lost", cause=f"{type(error).__name__}: {error}")
                await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # jitter
