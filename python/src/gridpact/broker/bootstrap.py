"""Connects the broker that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from gridpact.broker.port import Broker
from gridpact.contracts.channels import (
    QUEUE_GROUP,
    QUEUE_MAX_ATTEMPTS,
    QUEUE_QUEUES_PER_BROKER,
)
from gridpact.kit.settings import Address, SettingsError


class BrokerSettings(Protocol):
    """What the settings of a process say of the broker."""

    @property
    def broker(self) -> str: ...
    @property
    def redis_url(self) -> str: ...
    @property
    def rocketmq_endpoints(self) -> str: ...
    @property
    def rocketmq_name_servers(self) -> tuple[str, ...]: ...


@asynccontextmanager
async def connected_broker(settings: BrokerSettings) -> AsyncIterator[Broker]:
    """The broker that the settings name, closed when left. Raises SettingsError."""
    broker = _broker(settings)
    try:
        yield broker
    finally:
        await broker.close()


def _broker(settings: BrokerSettings) -> Broker:
    # Each adapter brings its client, and the other one need not be installed.
    match settings.broker:
        case "redis":
            from gridpact.broker.redis_streams import RedisStreamsBroker

            return RedisStreamsBroker(settings.redis_url, max_attempts=QUEUE_MAX_ATTEMPTS)
        case "rocketmq":
            if not settings.rocketmq_endpoints or not settings.rocketmq_name_servers:
                raise SettingsError(
                    "GRIDPACT_BROKER=rocketmq needs GRIDPACT_ROCKETMQ_ENDPOINTS and "
                    "GRIDPACT_ROCKETMQ_NAME_SERVERS"
                )
            from gridpact.broker.rocketmq.adapter import QueueLimits, RocketmqBroker

            return RocketmqBroker(
                settings.rocketmq_endpoints,
                [_name_server(text) for text in settings.rocketmq_name_servers],
                QueueLimits(QUEUE_GROUP, QUEUE_MAX_ATTEMPTS, QUEUE_QUEUES_PER_BROKER),
            )
        case other:
            raise SettingsError(f"GRIDPACT_BROKER={other}: there are redis and rocketmq")


def _name_server(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise SettingsError(f"GRIDPACT_ROCKETMQ_NAME_SERVERS {error}") from error
