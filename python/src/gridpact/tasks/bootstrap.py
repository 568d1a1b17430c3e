"""Wires the tasks service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from gridpact.broker.port import Broker
from gridpact.contracts.channels import MAX_ATTEMPTS
from gridpact.kit.background import running
from gridpact.kit.database import Database
from gridpact.tasks.contract import GeneratedContract
from gridpact.tasks.delivery import Delivery
from gridpact.tasks.delivery_rpc import DeliveryRpc
from gridpact.tasks.domain import Policy
from gridpact.tasks.events import RedisEvents
from gridpact.tasks.queue import BrokerQueue
from gridpact.tasks.repository import PostgresTaskStore
from gridpact.tasks.rpc import TasksRpc
from gridpact.tasks.service import TaskService
from gridpact.tasks.sites import AssetsSites, GetSite
from gridpact.tasks.sweeper import Sweeper

POLICY = Policy(
    # Shorter than a message stays invisible (x-queue in asyncapi.yaml): when a message comes back,
    # the lease of its dead bridge is over.
    lease_duration=timedelta(seconds=8),
    max_attempts=MAX_ATTEMPTS,
    reclaim_delay=timedelta(seconds=30),
    republish_delay=timedelta(seconds=30),
    republish_delay_max=timedelta(minutes=10),
)

# How long the last events may take before the process ends.
_FAREWELL_S = 1.0


@dataclass(frozen=True, slots=True)
class TasksRpcs:
    """Both gRPC services of tasks."""

    tasks: TasksRpc
    delivery: DeliveryRpc


@asynccontextmanager
async def running_tasks(
    database: Database, redis: Redis, broker: Broker, assets: GetSite, policy: Policy = POLICY
) -> AsyncIterator[TasksRpcs]:
    """The services, with what works for them in the background running while entered."""
    store = PostgresTaskStore(database)
    queue = BrokerQueue(broker, store.remove_published)
    events = RedisEvents(redis)
    contract = GeneratedContract()
    service = TaskService(store, contract, AssetsSites(assets), queue, events)
    delivery = Delivery(store, contract, events, policy)
    async with (
        running(queue.publish_all(), "queue"),
        running(queue.remove_all(), "outbox"),
        running(events.run(), "events"),
        running(Sweeper(store, events, policy).run(), "sweeper"),
    ):
        yield TasksRpcs(TasksRpc(service), DeliveryRpc(delivery))
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                await events.drained()
