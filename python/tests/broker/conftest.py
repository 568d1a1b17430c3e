from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from gridpact.broker.port import Broker, Consumer
from gridpact.platform.error import PlatformError
from gridpact.platform.rocketmq import RocketmqServer, find_java, find_libraries
from tests.broker.suite.harness import BrokerUnderTest
from tests.broker.suite.redis_streams import RedisStreamsUnderTest
from tests.broker.suite.rocketmq import RocketmqUnderTest
from tests.redis import RedisServer
from tests.rocketmq import rocketmq_running

_RUNNING = pytest.StashKey[RocketmqServer]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Ends RocketMQ after the last test of this folder: the others need its memory more."""
    folder = Path(__file__).parent
    if nextitem is None or folder not in nextitem.path.parents:
        server = item.config.stash.get(_RUNNING, None)
        if server is not None:
            server.kill()


@pytest.fixture(scope="session")
def rocketmq_server(pytestconfig: pytest.Config) -> Iterator[RocketmqServer]:
    """The RocketMQ of this folder's tests."""
    try:
        find_java()
        find_libraries()
    except PlatformError as error:
        pytest.skip(str(error))
    with rocketmq_running() as server:
        pytestconfig.stash[_RUNNING] = server
        yield server


@pytest.fixture(scope="session", params=["redis", "rocketmq"])
def broker_under_test(request: pytest.FixtureRequest) -> BrokerUnderTest:
    """Each broker that has an adapter; the whole suite runs against every one."""
    if request.param == "redis":
        redis_server: RedisServer = request.getfixturevalue("redis_server")
        return RedisStreamsUnderTest(redis_server)
    rocketmq_server: RocketmqServer = request.getfixturevalue("rocketmq_server")
    return RocketmqUnderTest(rocketmq_server)


@pytest.fixture
def brief(broker_under_test: BrokerUnderTest) -> timedelta:
    """How long a message is hidden for which the test then lets the time pass."""
    return broker_under_test.brief


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
