"""The way to the broker that does not lead through the relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from redis.exceptions import ResponseError

from gridpact.broker.port import BrokerUnavailable, Consumer, Message, MessageId
from gridpact.kit.background import running
from gridpact.tasks import queue
from gridpact.tasks.domain import UNSTORED_MAX
from gridpact.tasks.ports import QueueMessage
from gridpact.tasks.queue import BrokerQueue

SOON_S = 10.0


class RecordingBroker:
    """A Broker that writes down what it is given, once ``open`` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None
        self.calls: list[list[str]] = []
        self.called = asyncio.Semaphore(0)

    async def publish(self, messages: Sequence[Message]) -> list[MessageId]:
        self.calls.append([message.key for message in messages])
        self.called.release()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return [MessageId(message.key) for message in messages]

    def consumer(self, topic: str) -> Consumer:
        raise NotImplementedError

    async def close(self) -> None:
        pass

    async def next_call(self) -> list[str]:
        await asyncio.wait_for(self.called.acquire(), SOON_S)
        return self.calls[-1]


class Outbox:
    """Notes whose rows were removed."""

    def __init__(self) -> None:
        self.removed: list[int] = []
        self._changed = asyncio.Condition()

    async def remove(self, outbox_ids: Sequence[int]) -> None:
        async with self._changed:
            self.removed += outbox_ids
            self._changed.notify_all()

    async def until_removed(self, *outbox_ids: int) -> None:
        async with asyncio.timeout(SOON_S), self._changed:
            await self._changed.wait_for(lambda: self.removed == [*outbox_ids])


@asynccontextmanager
async def queue_on(broker: RecordingBroker, outbox: Outbox) -> AsyncIterator[BrokerQueue]:
    queue = BrokerQueue(broker, outbox.remove)
    async with running(queue.publish_all(), "queue"), running(queue.remove_all(), "outbox"):
        yield queue


def message(number: int) -> QueueMessage:
    return QueueMessage("compute-tasks-auto-probe", f"task-{number}", {}, b"body")


def stored(*numbers: int) -> dict[str, int]:
    return {f"task-{number}": number for number in numbers}


async def test_publishes_and_removes() -> None:
    broker, outbox = RecordingBroker(), Outbox()
    async with queue_on(broker, outbox) as queue:
        messages = [message(1), message(2)]
        await queue.publish(messages)
        assert await broker.next_call() == ["task-1", "task-2"]
        queue.settle(messages, stored(1, 2))
        await outbox.until_removed(1, 2)


async def test_removes_nothing_before_the_broker_has_it() -> None:
    broker, outbox = RecordingBroker(), Outbox()
    broker.open.clear()
    async with queue_on(broker, outbox) as queue:
        messages = [message(1), message(2)]
        await queue.publish(messages)
        await broker.next_call()
        queue.settle(messages, stored(1, 2))
        await asyncio.sleep(0)
        assert outbox.removed == []
        broker.open.set()
        await outbox.until_removed(1, 2)


async def test_publishes_nothing_that_is_known_not_to_be_stored() -> None:
    broker, outbox = RecordingBroker(), Outbox()
    broker.open.clear()
    async with queue_on(broker, outbox) as queue:
        await queue.publish([message(1)])
        await broker.next_call()
        messages = [message(2), message(3)]
        await queue.publish(messages)
        queue.settle([message(1), *messages], stored(3))
        broker.open.set()
        assert await broker.next_call() == ["task-3"]
        await outbox.until_removed(3)


async def test_leaves_to_the_relay_what_took_long_to_be_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message may have been taken for one without a task meanwhile."""
    broker, outbox = RecordingBroker(), Outbox()
    old = UNSTORED_MAX / 2
    monkeypatch.setattr(queue, "age_of", lambda key: old if key == "task-1" else timedelta(0))
    async with queue_on(broker, outbox) as waiting:
        messages = [message(1), message(2)]
        await waiting.publish(messages)
        await broker.next_call()
        waiting.settle(messages, stored(1, 2))
        await outbox.until_removed(2)


async def test_publishes_together_what_came_meanwhile() -> None:
    broker, outbox = RecordingBroker(), Outbox()
    broker.open.clear()
    async with queue_on(broker, outbox) as queue:
        await queue.publish([message(1)])
        assert await broker.next_call() == ["task-1"]
        await queue.publish([message(2)])
        await queue.publish([message(3)])
        queue.settle([message(number) for number in (1, 2, 3)], stored(1, 2, 3))
        broker.open.set()
        assert await broker.next_call() == ["task-2", "task-3"]
        await outbox.until_removed(1, 2, 3)


@pytest.mark.parametrize("error", [BrokerUnavailable("for the test"), ResponseError("WRONGTYPE")])
async def test_leaves_everything_to_the_relay_while_the_broker_does_not_work(
    error: Exception,
) -> None:
    broker, outbox = RecordingBroker(), Outbox()
    broker.error = error
    broker.open.clear()
    async with queue_on(broker, outbox) as queue:
        await queue.publish([message(1)])
        assert await broker.next_call() == ["task-1"]
        await queue.publish([message(2)])
        broker.open.set()
        # Only when it has failed does it take nothing more.
        async with asyncio.timeout(SOON_S):
            while not queue.is_paused:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await queue.publish([message(3)])
        queue.settle([message(number) for number in (1, 2, 3)], stored(1, 2, 3))
        await asyncio.sleep(0)
    assert broker.calls == [["task-1"]]
    assert outbox.removed == []


async def test_leaves_to_the_relay_what_waited_for_too_long() -> None:
    broker, outbox = RecordingBroker(), Outbox()
    broker.open.clear()
    async with queue_on(broker, outbox) as waiting:
        await waiting.publish([message(1)])
        await broker.next_call()
        await waiting.publish([message(2)])
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        # The loop stands still, as under a load that is too much for it.
        while loop.time() < began_s + queue.PUBLISHING_S:
            pass
        await waiting.publish([message(3)])
        waiting.settle([message(number) for number in (1, 2, 3)], stored(1, 2, 3))
        broker.open.set()
        assert await broker.next_call() == ["task-3"]
        await outbox.until_removed(1, 3)


async def test_holds_no_more_than_so_many() -> None:
    broker, outbox = RecordingBroker(), Outbox()
    broker.open.clear()
    async with queue_on(broker, outbox) as waiting:
        await waiting.publish([message(0)])
        await broker.next_call()
        numbers = range(1 + 2 * queue.WAITING_MAX)
        for number in numbers[1:]:
            await waiting.publish([message(number)])
        waiting.settle([message(number) for number in numbers], stored(*numbers))
        broker.open.set()
        await outbox.until_removed(*range(1 + queue.WAITING_MAX))
