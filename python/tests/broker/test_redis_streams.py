"""What only Redis Streams does: it sends messages to consumers that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
import redis.asyncio

from gridpact.broker import redis_streams
from gridpact.broker.port import BrokerUnavailable, Delivery, Message
from gridpact.broker.redis_streams import RedisStreamsBroker, RedisStreamsConsumer
from tests.broker.suite.redis_streams import RedisStreamsUnderTest
from tests.redis import RedisServer

pytestmark = pytest.mark.timeout(60)

LONG = timedelta(seconds=50)
NOW = timedelta(0)
SOON_S = 10.0


class Queue:
    """A topic of its own."""

    def __init__(self, url: str, client: redis.asyncio.Redis) -> None:
        self.topic = f"topic-{uuid4()}"
        self.broker = RedisStreamsBroker(url, max_attempts=3)
        self._client = client

    def consumer(self) -> RedisStreamsConsumer:
        return self.broker.consumer(self.topic)

    async def publish(self, *bodies: str, delay: timedelta = NOW) -> None:
        await self.broker.publish(
            [Message(self.topic, body.encode(), "key", delay=delay) for body in bodies]
        )

    async def waiting(
        self, consumer: RedisStreamsConsumer, max_count: int = 1, wait: timedelta = LONG
    ) -> asyncio.Task[list[Delivery]]:
        """A call of the consumer that found nothing, and waits."""
        count = await self._waiter_count()
        receiving = asyncio.create_task(consumer.receive(max_count, LONG, wait))
        async with asyncio.timeout(SOON_S):
            while await self._waiter_count() <= count:
                pass
        return receiving

    async def _waiter_count(self) -> int:
        return await self._client.hlen(f"gridpact:broker:{{{self.topic}}}:waiters")  # pyright: ignore[reportGeneralTypeIssues]


@pytest.fixture(autouse=True)
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who waits looks again by himself."""
    monkeypatch.setattr(redis_streams, "_LONGEST_WAIT", LONG)


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[Queue]:
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        queue = Queue(redis_server.url, client)
        yield queue
        await queue.broker.close()


def bodies(deliveries: list[Delivery]) -> list[str]:
    return [delivery.body.decode() for delivery in deliveries]


async def test_one_consumer_is_sent_one_after_the_other(queue: Queue) -> None:
    consumer = queue.consumer()
    for number in range(100):
        receiving = asyncio.create_task(consumer.receive(1, LONG, LONG))
        await queue.publish(f"{number}")
        [delivery] = await asyncio.wait_for(receiving, SOON_S)
        assert (bodies([delivery]), delivery.attempt) == ([f"{number}"], 1)
        assert await consumer.acknowledge([delivery.receipt]) == [None]
    assert (await consumer.backlog()).invisible_count == 0


async def test_each_is_sent_as_many_as_it_asked_for(queue: Queue) -> None:
    waiting = [await queue.waiting(queue.consumer(), max_count=2) for _ in range(2)]
    await queue.publish("1", "2", "3", "4", "5")
    async with asyncio.timeout(SOON_S):
        assert [bodies(await each) for each in waiting] == [["1", "2"], ["3", "4"]]
    assert bodies(await queue.consumer().receive(9, LONG, NOW)) == ["5"]


async def test_what_is_delayed_or_waits_for_its_group_is_not_sent(queue: Queue) -> None:
    consumer = queue.consumer()
    receiving = await queue.waiting(consumer, max_count=9)
    await queue.publish("late", delay=LONG)
    await queue.publish("now")
    async with asyncio.timeout(SOON_S):
        assert bodies(await receiving) == ["now"]

    queue.topic += "-ordered"
    consumer = queue.consumer()
    receiving = await queue.waiting(consumer, max_count=9)
    await queue.broker.publish(
        [Message(queue.topic, body.encode(), "key", group=body[0]) for body in ("a1", "a2", "b1")]
    )
    async with asyncio.timeout(SOON_S):
        sent = await receiving
    assert bodies(sent) == ["a1", "b1"]
    await consumer.acknowledge([sent[0].receipt])
    assert bodies(await consumer.receive(9, LONG, NOW)) == ["a2"]


async def test_who_has_stopped_waiting_is_sent_nothing(queue: Queue) -> None:
    consumer = queue.consumer()
    receiving = await queue.waiting(consumer)
    receiving.cancel()
    await asyncio.wait([receiving])
    await queue.publish("1")
    assert (await consumer.backlog()).visible_count == 1
    assert bodies(await queue.consumer().receive(9, LONG, NOW)) == ["1"]
    assert await consumer.receive(1, LONG, timedelta(milliseconds=20)) == []
    await queue.publish("2")
    assert (await consumer.backlog()).visible_count == 1


async def test_a_mailbox_may_be_numbered_anew(queue: Queue) -> None:
    """Redis numbers by its clock: what comes in the same millisecond, or after the clock was set
    back, may have the number of what was read before, when the mailbox was empty in between."""
    consumer = queue.consumer()
    for body in ("1", "2"):
        receiving = await queue.waiting(consumer)
        await queue.publish(body)
        async with asyncio.timeout(SOON_S):
            assert bodies(await receiving) == [body]
        [mailbox] = consumer._mailboxes  # pyright: ignore[reportPrivateUsage]
        mailbox.seen = b"9999999999999-0"


async def test_what_was_sent_and_not_read_is_received_by_the_next_call(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as that asks for; the others are there for everybody."""

    async def lose(*_: object) -> list[Delivery]:
        await queue.publish("1", "2", "3")
        raise BrokerUnavailable("the connection is lost")

    consumer = queue.consumer()
    with monkeypatch.context() as patched:
        patched.setattr(queue.broker, "hear", lose)
        with pytest.raises(BrokerUnavailable):
            await consumer.receive(3, LONG, LONG)
    [delivery] = await consumer.receive(1, LONG, NOW)
    assert (bodies([delivery]), delivery.attempt) == (["1"], 1)
    assert await consumer.acknowledge([delivery.receipt]) == [None]
    others = await queue.consumer().receive(9, LONG, NOW)
    assert [(each.body, each.attempt) for each in others] == [(b"2", 1), (b"3", 1)]


async def test_what_was_sent_to_who_is_gone_comes_back(
    queue: Queue, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def hear_nothing(*_: object) -> list[Delivery]:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    with monkeypatch.context() as patched:
        patched.setattr(queue.broker, "hear", hear_nothing)
        gone = asyncio.create_task(queue.consumer().receive(1, LONG, LONG))
        await asyncio.wait_for(asked.wait(), SOON_S)
    await queue.publish("1")
    other = queue.consumer()
    assert await other.receive(1, LONG, NOW) == []
    await RedisStreamsUnderTest(redis_server).pass_time(queue.topic, LONG)
    [delivery] = await other.receive(1, LONG, NOW)
    assert (bodies([delivery]), delivery.attempt) == (["1"], 2)
    gone.cancel()
    await asyncio.wait([gone])


async def test_who_waits_for_ever_or_in_another_tongue_is_passed_over(
    queue: Queue, redis_server: RedisServer
) -> None:
    """As when the clock was set back, or another version has written it."""
    far = 4_000_000_000_000
    waiters = {"1": f"{far} 1 1000 abcdef", "2": "what", "3": "0 1 1000 abcdef"}
    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        await client.hset(f"gridpact:broker:{{{queue.topic}}}:waiters", mapping=waiters)  # pyright: ignore[reportGeneralTypeIssues]
    await queue.publish("1")
    assert bodies(await queue.consumer().receive(1, LONG, NOW)) == ["1"]


async def test_who_waits_hears_of_what_will_be_visible(queue: Queue) -> None:
    receiving = await queue.waiting(queue.consumer())
    await queue.publish("late", delay=timedelta(milliseconds=20))
    async with asyncio.timeout(SOON_S):
        assert bodies(await receiving) == ["late"]
