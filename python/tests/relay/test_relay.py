"""The relay between a real PostgreSQL and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from gridpact.broker.port import Broker, BrokerUnavailable, Consumer, Delivery, Message, MessageId
from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.kit.database import Database
from gridpact.kit.settings import RelaySettings
from gridpact.relay.bootstrap import serving
from gridpact.relay.repository import PostgresOutbox
from gridpact.relay.service import Relay
from tests.postgres import PostgresServer
from tests.redis import RedisServer

SOON_S = 10.0
MINUTE = timedelta(minutes=1)
ORGANISATION = "01981f6e-7c00-7000-8000-000000000001"

Connection = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture
def topic() -> str:
    return f"topic-{uuid4().hex}"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """What `tasks` commits its outbox rows on."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def broker(redis_server: RedisServer) -> AsyncIterator[Broker]:
    broker = RedisStreamsBroker(redis_server.url, max_attempts=3)
    yield broker
    await broker.close()


@pytest.fixture
def consumer(broker: Broker, topic: str) -> Consumer:
    return broker.consumer(topic)


@pytest.fixture
def settings(database_url: str, redis_server: RedisServer) -> RelaySettings:
    return RelaySettings(database_url=database_url, redis_url=redis_server.url)


class TestRelay:
    async def test_publishes_in_the_order_of_the_outbox_and_empties_it(
        self, settings: RelaySettings, connection: Connection, consumer: Consumer, topic: str
    ) -> None:
        await add_messages(connection, topic, [f"body {i}".encode() for i in range(600)])
        async with serving(settings):
            received = await receive_count(consumer, 600)
            await until_empty(connection)
        assert [delivery.body for delivery in received] == [
            f"body {i}".encode() for i in range(600)
        ]

    async def test_carries_the_payload_of_the_task_and_its_properties(
        self, settings: RelaySettings, connection: Connection, consumer: Consumer, topic: str
    ) -> None:
        payload = bytes(range(256)) * 40
        task_id = await add_task(connection, payload)
        properties = {"task_id": task_id, "kind": "probe", "encoding": "identity"}
        await add_row(connection, topic, task_id, properties, None)
        async with serving(settings):
            (delivery,) = await receive_count(consumer, 1)
        assert (delivery.key, delivery.body) == (task_id, payload)
        assert delivery.properties == properties

    async def test_takes_the_key_for_a_task_only_where_there_is_no_body(
        self, settings: RelaySettings, connection: Connection, consumer: Consumer, topic: str
    ) -> None:
        task_id = await add_task(connection, b"payload")
        async with connection.transaction():
            await add_row(connection, topic, "no-task", {}, b"a body of its own")
            await add_row(connection, topic, str(uuid4()), {}, None)  # its payload is gone
            await add_row(connection, topic, task_id, {}, None)
        async with serving(settings):
            received = await receive_count(consumer, 2)
            await until_empty(connection)
        assert [delivery.body for delivery in received] == [b"a body of its own", b"payload"]

    async def test_publishes_nothing_that_was_rolled_back(
        self, settings: RelaySettings, connection: Connection, consumer: Consumer, topic: str
    ) -> None:
        async with serving(settings):
            async with connection.transaction(force_rollback=True):
                await add_messages(connection, topic, [b"never"])
            await add_messages(connection, topic, [b"kept"])
            assert [d.body for d in await receive_count(consumer, 1)] == [b"kept"]

    async def test_two_share_the_work_without_publishing_twice(
        self, settings: RelaySettings, connection: Connection, consumer: Consumer, topic: str
    ) -> None:
        bodies = {f"body {i}".encode() for i in range(1000)}
        async with serving(settings), serving(settings):
            for body in sorted(bodies):
                await add_messages(connection, topic, [body])
            received = await receive_count(consumer, 1000)
            assert await consumer.receive(1, MINUTE, timedelta(milliseconds=50)) == []
        assert {delivery.body for delivery in received} == bodies

    async def test_publishes_after_the_broker_was_gone(
        self,
        settings: RelaySettings,
        connection: Connection,
        consumer: Consumer,
        redis_server: RedisServer,
        topic: str,
    ) -> None:
        async with serving(settings):
            redis_server.kill()
            await add_messages(connection, topic, [b"kept"])
            redis_server.start()
            received = await receive_count(consumer, 1)
            assert received[0].body == b"kept"
            await until_empty(connection)

    async def test_publishes_after_postgresql_was_gone(
        self, settings: RelaySettings, postgres: PostgresServer, consumer: Consumer, topic: str
    ) -> None:
        async with serving(settings):
            async with await psycopg.AsyncConnection.connect(
                settings.database_url, autocommit=True
            ) as connection:
                await add_messages(connection, topic, [b"before"])
                assert (await receive_count(consumer, 1))[0].body == b"before"
            postgres.kill()
            postgres.start()
            async with await psycopg.AsyncConnection.connect(
                settings.database_url, autocommit=True
            ) as connection:
                await add_messages(connection, topic, [b"after"])
                await receive_until(consumer, b"after")

    async def test_publishes_after_all_its_connections_to_postgresql_were_lost(
        self, settings: RelaySettings, connection: Connection, consumer: Consumer, topic: str
    ) -> None:
        async with serving(settings):
            await add_messages(connection, topic, [b"before"])
            await receive_count(consumer, 1)
            await cut_all_others(connection)
            await add_messages(connection, topic, [b"after"])
            await receive_until(consumer, b"after")


class TestPublishBatch:
    async def test_keeps_the_rows_when_the_broker_fails(
        self, database_url: str, connection: Connection, broker: Broker, topic: str
    ) -> None:
        await add_messages(connection, topic, [b"one", b"two"])
        async with outbox_of(database_url) as outbox:
            failing = Relay(outbox, _FailsAfterPublishing(broker))
            with pytest.raises(BrokerUnavailable):
                await failing.publish_batch()
            assert await outbox_count(connection) == 2
            assert await Relay(outbox, broker).publish_batch() == 2
        # Twice, because the broker had them when the relay heard of a failure; never not at all.
        received = await receive_count(broker.consumer(topic), 4)
        assert sorted(delivery.body for delivery in received) == [b"one", b"one", b"two", b"two"]

    async def test_takes_what_nobody_else_has_taken(
        self, database_url: str, connection: Connection, topic: str
    ) -> None:
        await add_messages(connection, topic, [b"one", b"two", b"three"])
        async with (
            outbox_of(database_url) as outbox,
            outbox.batch(2, 100) as mine,
            outbox.batch(2, 100) as theirs,
        ):
            assert [message.body for message in mine] == [b"one", b"two"]
            assert [message.body for message in theirs] == [b"three"]

    async def test_leaves_what_is_young_to_who_committed_it(
        self, database_url: str, connection: Connection, topic: str
    ) -> None:
        await add_messages(connection, topic, [b"old"])
        await connection.execute(
            "INSERT INTO tasks.outbox (organisation_id, topic, key, properties, body)"
            " VALUES (%s, %s, 'key', '{}', 'young')",
            (ORGANISATION, topic),
        )
        async with outbox_of(database_url) as outbox, outbox.batch(256, 100) as messages:
            assert [message.body for message in messages] == [b"old"]
        assert await outbox_count(connection) == 1

    async def test_takes_what_was_committed_before_the_clock_was_set_back(
        self, database_url: str, connection: Connection, topic: str
    ) -> None:
        await add_messages(connection, topic, [b"body"])
        await connection.execute("UPDATE tasks.outbox SET created_time = now() + interval '1 hour'")
        async with outbox_of(database_url) as outbox, outbox.batch(256, 100) as messages:
            assert [message.body for message in messages] == [b"body"]

    async def test_takes_no_more_bytes_than_asked_but_always_a_message(
        self, database_url: str, connection: Connection, topic: str
    ) -> None:
        sizes = [50, 40, 20, 500, 10]
        await add_messages(connection, topic, [bytes(size) for size in sizes])
        taken: list[list[int]] = []
        async with outbox_of(database_url) as outbox:
            while await outbox_count(connection):
                async with outbox.batch(256, 100) as messages:
                    taken.append([len(message.body) for message in messages])
        assert taken == [[50, 40], [20], [500], [10]]


class _FailsAfterPublishing:
    """A broker whose answer is lost on the way."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def publish(self, messages: Sequence[Message]) -> list[MessageId]:
        await self._broker.publish(messages)
        raise BrokerUnavailable("the answer was lost")

    def consumer(self, topic: str) -> Consumer:
        return self._broker.consumer(topic)

    async def close(self) -> None:
        await self._broker.close()


@asynccontextmanager
async def outbox_of(database_url: str) -> AsyncIterator[PostgresOutbox]:
    async with Database(database_url, max_connections=2).opened() as database:
        yield PostgresOutbox(database)


async def add_messages(connection: Connection, topic: str, bodies: Sequence[bytes]) -> None:
    async with connection.transaction():
        for body in bodies:
            await add_row(connection, topic, str(uuid4()), {"kind": "probe"}, body)


async def add_row(
    connection: Connection, topic: str, key: str, properties: dict[str, str], body: bytes | None
) -> None:
    """A row that whoever committed it did not publish in time."""
    await connection.execute(
        "INSERT INTO tasks.outbox"
        " (organisation_id, topic, key, properties, body, created_time)"
        " VALUES (%s, %s, %s, %s, %s, now() - interval '1 minute')",
        (ORGANISATION, topic, key, Jsonb(properties), body),
    )


async def add_task(connection: Connection, payload: bytes) -> str:
    task_id = str(uuid4())
    await connection.execute(
        "INSERT INTO tasks.tasks (task_id, organisation_id, kind, engine_choice, submitted_time,"
        " timeout_time, state, queued_time, publish_count)"
        " VALUES (%s, %s, 'probe', 'auto', now(), now() + interval '1 hour', 'QUEUED', now(), 1)",
        (task_id, ORGANISATION),
    )
    await connection.execute(
        "INSERT INTO tasks.payloads (task_id, organisation_id, encoding, body)"
        " VALUES (%s, %s, 'identity', %s)",
        (task_id, ORGANISATION, payload),
    )
    return task_id


async def cut_all_others(connection: Connection) -> None:
    cut = await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert cut.rowcount > 0


async def until_empty(connection: Connection) -> None:
    """Returns when the outbox is: its rows go just after the broker has them."""
    async with asyncio.timeout(SOON_S):
        while await outbox_count(connection):
            pass


async def outbox_count(connection: Connection) -> int:
    cursor = await connection.execute("SELECT count(*)::integer FROM tasks.outbox")
    row = await cursor.fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


async def receive_count(consumer: Consumer, count: int) -> list[Delivery]:
    """Receives exactly so many messages, and acknowledges them."""
    received: list[Delivery] = []
    async with asyncio.timeout(SOON_S):
        while len(received) < count:
            wait_duration = timedelta(seconds=SOON_S)
            received += await consumer.receive(count - len(received), MINUTE, wait_duration)
    await consumer.acknowledge([delivery.receipt for delivery in received])
    return received


async def receive_until(consumer: Consumer, body: bytes) -> None:
    """Receives until a message with this body comes.

    What was published and not yet removed when the database was lost comes twice before it.
    """
    while (await receive_count(consumer, 1))[0].body != body:
        pass
