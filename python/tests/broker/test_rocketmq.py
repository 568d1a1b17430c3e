"""What RocketMQ and its client do wrong, and the adapter does not let through.

The port suite proves the rest: receipts that were replaced or ran out, a consumer that heals when
the broker comes back, an emptied broker.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gridpact.broker.bootstrap import connected_broker
from gridpact.broker.port import BrokerError, BrokerUnavailable, Message
from gridpact.broker.rocketmq.adapter import QueueLimits, RocketmqBroker
from gridpact.broker.rocketmq.remoting import Refusal, request
from gridpact.broker.rocketmq.stored import stored_messages
from gridpact.contracts.channels import (
    KINDS,
    QUEUE_ADDRESS,
    QUEUE_ENGINES,
    QUEUE_GROUP,
    QUEUE_MAX_ATTEMPTS,
)
from gridpact.kit.settings import Address, RelaySettings
from gridpact.platform.rocketmq import RocketmqServer

NOW = timedelta(0)
LONG = timedelta(seconds=50)
LIMITS = QueueLimits("tests", max_attempts=3, queue_count=1)
GET_GROUPS = 201


@pytest.fixture
async def broker(rocketmq_server: RocketmqServer) -> AsyncIterator[RocketmqBroker]:
    ports = rocketmq_server.rocketmq.ports
    broker = RocketmqBroker(str(ports.proxy), [ports.names], LIMITS)
    yield broker
    await broker.close()


@pytest.fixture
def topic() -> str:
    return f"rocketmq-{uuid4().hex}"


def messages(topic: str, count: int) -> list[Message]:
    return [Message(topic, f"{i}".encode(), f"key-{i}") for i in range(count)]


def test_the_client_leaves_no_trace_when_it_is_imported(tmp_path: Path) -> None:
    script = """
import sys, threading
import gridpact.broker.rocketmq.adapter
assert "opentelemetry.sdk" not in sys.modules
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
"""
    environment = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


async def test_a_broker_that_is_not_there_is_named() -> None:
    nowhere = Address("127.0.0.1", 1)
    broker = RocketmqBroker(str(nowhere), [nowhere], LIMITS)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        await broker.publish(messages("topic", 1))
    await broker.close()


async def test_a_proxy_that_is_not_there_is_told(rocketmq_server: RocketmqServer) -> None:
    ports = rocketmq_server.rocketmq.ports
    broker = RocketmqBroker("127.0.0.1:1", [ports.names], LIMITS)
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        await broker.publish(messages("topic", 1))
    await broker.close()


async def test_the_first_receive_of_a_consumer_is_served(
    broker: RocketmqBroker, topic: str
) -> None:
    # The client's own consumer is refused until the proxy has its settings.
    assert await broker.consumer(topic).receive(1, LONG, NOW) == []


async def test_one_receive_gives_more_than_the_broker_gives_at_once(
    broker: RocketmqBroker, topic: str
) -> None:
    await broker.publish(messages(topic, 100))
    deliveries = await broker.consumer(topic).receive(100, LONG, NOW)
    assert [delivery.body for delivery in deliveries] == [f"{i}".encode() for i in range(100)]


async def test_what_was_published_before_there_was_a_consumer_is_delivered(
    broker: RocketmqBroker, rocketmq_server: RocketmqServer, topic: str
) -> None:
    # A new group begins at the end of a topic, unless all of it happens to be in memory.
    await broker.publish(messages(topic, 1))
    group = broker.limits.names(topic).group
    fields = {"consumerGroup": group, "topic": topic, "queueId": 0, "setZeroIfNotFound": False}
    reply = await request(rocketmq_server.rocketmq.ports.broker, 14, fields)
    assert reply.fields["offset"] == "0"


async def test_looking_takes_nothing(broker: RocketmqBroker, topic: str) -> None:
    # Reading in the name of the consumers' group moves what they are given next.
    await broker.publish(messages(topic, 3))
    consumer = broker.consumer(topic)
    (first,) = await consumer.receive(1, LONG, NOW)
    assert (await consumer.backlog()).visible_count == 2
    await consumer.dead_letters(10)
    rest = await consumer.receive(10, LONG, NOW)
    assert [first.body, *(delivery.body for delivery in rest)] == [b"0", b"1", b"2"]


async def test_concurrent_calls_and_other_processes_keep_apart(
    broker: RocketmqBroker, topic: str
) -> None:
    await broker.publish(messages(topic, 200))
    consumer = broker.consumer(topic)
    taken = await asyncio.gather(*(consumer.receive(40, LONG, NOW) for _ in range(8)))
    bodies = [delivery.body for deliveries in taken for delivery in deliveries]
    assert len(bodies) == len(set(bodies))
    outcomes = await asyncio.gather(
        *(consumer.acknowledge([it.receipt for it in deliveries]) for deliveries in taken)
    )
    assert all(outcome is None for outcomes_of_one in outcomes for outcome in outcomes_of_one)


async def test_topics_groups_and_limits_come_from_the_contract(
    rocketmq_server: RocketmqServer,
) -> None:
    ports = rocketmq_server.rocketmq.ports
    settings = RelaySettings(
        database_url="",
        redis_url="",
        broker="rocketmq",
        rocketmq_endpoints=str(ports.proxy),
        rocketmq_name_servers=(str(ports.names),),
    )
    topics = [
        QUEUE_ADDRESS.format(engine=engine, kind=kind) for engine in QUEUE_ENGINES for kind in KINDS
    ]
    async with connected_broker(settings) as broker:
        for topic in topics:
            await broker.consumer(topic).backlog()
    groups = (await request(ports.broker, GET_GROUPS)).json()["subscriptionGroupTable"]
    for topic in topics:
        assert groups[f"{QUEUE_GROUP}-{topic}"]["retryMaxTimes"] == QUEUE_MAX_ATTEMPTS - 1


async def test_a_refusal_carries_its_code(rocketmq_server: RocketmqServer) -> None:
    with pytest.raises(Refusal, match="refused"):
        await request(rocketmq_server.rocketmq.ports.names, 105, {"topic": "no-such-topic"})


def test_a_form_of_storage_that_is_unknown_is_refused() -> None:
    with pytest.raises(BrokerError, match="unknown"):
        list(stored_messages(bytes(64)))
