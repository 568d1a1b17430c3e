"""Connects the broker that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gridpact.broker.port import Broker
from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.contracts.channels import MAX_ATTEMPTS


@asynccontextmanager
async def connected_broker(name: str, redis_url: str) -> AsyncIterator[Broker]:
    """The broker ``name`` (``redis``), closed when left. Raises ValueError for another name."""
    if name != "redis":
        raise ValueError(f"there is no broker {name!r}; there is: redis")
    broker = RedisStreamsBroker(redis_url, max_attempts=MAX_ATTEMPTS)
    try:
        yield broker
    finally:
        await broker.close()
