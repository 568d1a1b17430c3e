"""Topics, groups, offsets and dead letters of RocketMQ, as its administration tool handles them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from gridpact.broker.port import BrokerUnavailable
from gridpact.broker.rocketmq.remoting import (
    ANSWER_S,
    PULL_NOT_FOUND,
    PULL_OFFSET_MOVED,
    QUERY_NOT_FOUND,
    TOPIC_NOT_EXIST,
    Refusal,
    request,
)
from gridpact.broker.rocketmq.stored import StoredMessage, stored_messages
from gridpact.kit.settings import Address

_PULL_MESSAGE = 11
_QUERY_CONSUMER_OFFSET = 14
_UPDATE_CONSUMER_OFFSET = 15
_CREATE_TOPICS = 18
_GET_MAX_OFFSET = 30
_GET_MIN_OFFSET = 31
_GET_ROUTE = 105
_GET_CLUSTER = 106
_CREATE_GROUP = 200
_GET_CONSUME_STATS = 208

# A queue as a name, which is no JSON: {"brokerName":"a","queueId":0,"topic":"t"}:
_QUEUE_AS_NAME = re.compile(rb'\{[^{}]*"queueId":(\d+)[^{}]*\}:')

_READ_WRITE = 6
_PULL_COUNT = 32
_ROUTE_INTERVAL_S = 0.05


@dataclass(frozen=True, slots=True)
class QueueNames:
    """What RocketMQ calls the parts of one of our topics."""

    topic: str
    group: str

    @property
    def dead_letters(self) -> str:
        """Where RocketMQ puts messages of the group that were delivered too often."""
        return f"%DLQ%{self.group}"

    @property
    def retries(self) -> tuple[str, ...]:
        """Where messages wait that were delivered before; the name depends on the broker."""
        return f"%RETRY%{self.group}_{self.topic}", f"%RETRY%{self.group}+{self.topic}"

    @property
    def reader(self) -> str:
        """The group in whose name we look without taking.

        The broker notes for a group what it has read: reading in the name of the consumers would
        take messages from them.
        """
        return f"{self.group}-reader"

    @property
    def buried(self) -> str:
        """Dead letters of our own making: RocketMQ's have no place for what is wrong with them."""
        return f"{self.topic}-buried"

    @property
    def replayed(self) -> str:
        """Our note of the dead letters that are none any more: a log cannot forget one message."""
        return f"{self.topic}-replayed"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message lies in a topic of one queue."""

    topic: str
    broker: Address
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.broker}/{self.offset}"


class Administration:
    """Asks name servers for brokers, and every broker for what it holds."""

    def __init__(self, name_servers: Sequence[Address]) -> None:
        self._name_servers = tuple(name_servers)

    async def brokers(self) -> list[Address]:
        """The masters that are registered. Raises BrokerUnavailable when there are none."""
        failure: BrokerUnavailable | None = None
        for server in self._name_servers:
            try:
                cluster = (await request(server, _GET_CLUSTER)).json()
            except BrokerUnavailable as error:
                failure = error
                continue
            masters = [
                Address.parse(broker["brokerAddrs"]["0"])
                for broker in (cluster.get("brokerAddrTable") or {}).values()
                if "0" in broker["brokerAddrs"]
            ]
            if masters:
                return masters
        raise failure or BrokerUnavailable("no broker is registered at RocketMQ's name servers")

    async def create(
        self, names: QueueNames, *, max_attempts: int, queue_count: int, ordered: bool
    ) -> None:
        """Makes topic and group exist with these limits; returns when messages can be sent.

        An existing topic keeps its queues. The group begins with the oldest message, whenever its
        first consumer comes.
        """
        route = await self._route(names.topic)
        brokers = await self.brokers()
        if route is None:
            topics = [
                _topic(names.topic, queue_count, "FIFO" if ordered else "MIXED"),
                # A broker announces a list of topics at once, and a single one when it is due.
                _topic(names.buried, 1, "NORMAL"),
                _topic(names.replayed, 1, "NORMAL"),
            ]
            body = msgspec.json.encode({"topicConfigList": topics})
            for broker in brokers:
                await request(broker, _CREATE_TOPICS, body=body)
        groups = (
            _group(names.group, max_attempts, ordered=ordered),
            _group(names.reader, 1, ordered=False),
        )
        for broker in brokers:
            for group in groups:
                await request(broker, _CREATE_GROUP, body=msgspec.json.encode(group))
            await self._begin_at_oldest(broker, names, queue_count)
        await self._until_routed(names.topic)

    async def lag(self, names: QueueNames) -> tuple[int, timedelta]:
        """How many messages wait to be received, and how long the oldest has been waiting."""
        count, oldest_ms = 0, None
        for broker in await self.brokers():
            for topic in (names.topic, *names.retries):
                # Only with a list it answers for topics that have no consumer now.
                fields = {"consumerGroup": names.group, "topicList": topic}
                stats = await request(broker, _GET_CONSUME_STATS, fields)
                table = _QUEUE_AS_NAME.sub(rb'"\1":', stats.body)
                for queue, ends in msgspec.json.decode(table)["offsetTable"].items():
                    # A consumer's own offset may lag behind what it was given.
                    begin = max(ends["consumerOffset"], ends["pullOffset"])
                    if begin >= ends["brokerOffset"]:
                        continue
                    count += ends["brokerOffset"] - begin
                    place = (broker, topic, int(queue), begin)
                    first, _ = await self._pull(names.reader, *place, max_count=1)
                    for message in first:
                        oldest_ms = min(oldest_ms or message.stored_ms, message.stored_ms)
        if oldest_ms is None:
            return count, timedelta(0)
        return count, timedelta(milliseconds=max(0, round(1000 * time.time()) - oldest_ms))

    async def count(self, topic: str) -> int:
        """How many messages are stored in a topic of one queue, read or not; 0 without it."""
        ends = [await self._offsets(broker, topic, 0) for broker in await self.brokers()]
        return sum(most - least for least, most in ends)

    async def read(self, topic: str, reader: str) -> AsyncIterator[tuple[Place, StoredMessage]]:
        """All that is stored in a topic of one queue, the oldest first; takes nothing."""
        for broker in await self.brokers():
            offset, end = await self._offsets(broker, topic, 0)
            while offset < end:
                messages, offset = await self._pull(
                    reader, broker, topic, 0, offset, max_count=_PULL_COUNT
                )
                for message in messages:
                    yield Place(topic, broker, message.offset), message

    async def _route(self, topic: str) -> object | None:
        """Where the topic lies; None when no name server knows it."""
        failure: BrokerUnavailable | None = None
        for server in self._name_servers:
            try:
                return (await request(server, _GET_ROUTE, {"topic": topic})).body
            except Refusal as refusal:
                if refusal.code != TOPIC_NOT_EXIST:
                    raise
                return None
            except BrokerUnavailable as error:
                failure = error
        raise failure or BrokerUnavailable("no name server of RocketMQ is named")

    async def _until_routed(self, topic: str) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                # A name server announces nothing; asking again is all there is.
                while await self._route(topic) is None:  # noqa: ASYNC110
                    await asyncio.sleep(_ROUTE_INTERVAL_S)
        except TimeoutError:
            raise BrokerUnavailable(f"RocketMQ does not announce its topic {topic}") from None

    async def _begin_at_oldest(self, broker: Address, names: QueueNames, queue_count: int) -> None:
        """A group without an offset would begin with whatever comes after its first consumer."""
        for queue in range(queue_count):
            at = {"consumerGroup": names.group, "topic": names.topic, "queueId": queue}
            fields = {**at, "setZeroIfNotFound": False}
            reply = await request(
                broker, _QUERY_CONSUMER_OFFSET, fields, accepted=(QUERY_NOT_FOUND,)
            )
            if reply.code == QUERY_NOT_FOUND:
                least, _ = await self._offsets(broker, names.topic, queue)
                await request(broker, _UPDATE_CONSUMER_OFFSET, {**at, "commitOffset": least})

    async def _offsets(self, broker: Address, topic: str, queue: int) -> tuple[int, int]:
        fields = {"topic": topic, "queueId": queue}
        least = await request(broker, _GET_MIN_OFFSET, fields)
        most = await request(broker, _GET_MAX_OFFSET, fields)
        return max(0, int(least.fields["offset"])), max(0, int(most.fields["offset"]))

    async def _pull(
        self, reader: str, broker: Address, topic: str, queue: int, offset: int, *, max_count: int
    ) -> tuple[list[StoredMessage], int]:
        """Some messages from the offset on, and where the next ones begin."""
        reply = await request(
            broker,
            _PULL_MESSAGE,
            {
                "consumerGroup": reader,
                "topic": topic,
                "queueId": queue,
                "queueOffset": offset,
                "maxMsgNums": max_count,
                "sysFlag": 4,  # the subscription comes with the request
                "commitOffset": 0,
                "suspendTimeoutMillis": 0,
                "subscription": "*",
                "expressionType": "TAG",
                "subVersion": 0,
            },
            accepted=(PULL_NOT_FOUND, PULL_OFFSET_MOVED),
        )
        next_offset = int(reply.fields["nextBeginOffset"])
        if reply.code != 0:
            # Deleted meanwhile, or not written to the index yet: what comes next says so.
            return [], max(next_offset, offset + 1)
        return list(stored_messages(reply.body)), next_offset


def _topic(name: str, queue_count: int, message_type: str) -> dict[str, object]:
    return {
        "topicName": name,
        "readQueueNums": queue_count,
        "writeQueueNums": queue_count,
        "perm": _READ_WRITE,
        "topicFilterType": "SINGLE_TAG",
        "topicSysFlag": 0,
        "order": False,
        "attributes": {"+message.type": message_type},
    }


def _group(name: str, max_attempts: int, *, ordered: bool) -> dict[str, object]:
    return {
        "groupName": name,
        "consumeEnable": True,
        "consumeFromMinEnable": True,
        "consumeBroadcastEnable": False,
        "consumeMessageOrderly": ordered,
        "retryQueueNums": 1,
        "retryMaxTimes": max_attempts - 1,
        "brokerId": 0,
        "whichBrokerWhenConsumeSlowly": 1,
    }
