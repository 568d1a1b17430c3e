from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from gridpact.broker.port import Broker, Consumer
from tests.broker.suite.harness import BrokerUnderTest
from tests.broker.suite.redis_streams import RedisStreamsUnderTest
from tests.redis import RedisServer


@pytest.fixture(scope="session", params=["redis"])
def broker_under_test(redis_server: RedisServer) -> BrokerUnderTest:
    """Each broker that has an adapter; the whole suite runs against every one."""
    return RedisStreamsUnderTest(redis_server)


@pytest.fixture
def topic() -> str:
    return f"topic-{uuid4().hex}"


@pytest.fixture
async def broker(broker_under_test: BrokerUnderTest) -> AsyncIterator[Broker]:
    broker = broker_under_test.open()
    yield broker
    await broker.close()


@pytest.fixture
def consumer(broker: Broker, topic: str) -> Consumer:
    return broker.consumer(topic)
