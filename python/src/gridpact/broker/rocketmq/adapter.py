"""Broker and Consumer on RocketMQ 5."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import grpc.aio

from gridpact.broker.port import (
    Backlog,
    BrokerUnavailable,
    DeadLetter,
    Delivery,
    Message,
    MessageId,
    Receipt,
    ReceiptExpired,
    is_ordered,
    is_property_name,
    one_line,
)
from gridpact.broker.rocketmq import protocol
from gridpact.broker.rocketmq.administration import Administration, Place, QueueNames
from gridpact.broker.rocketmq.session import (
    ANSWER_S,
    Missing,
    Proxy,
    Session,
    check,
    metadata,
    new_client_id,
    unavailable,
)
from gridpact.broker.rocketmq.stored import StoredMessage
from gridpact.kit.settings import Address

Answer = TypeVar("Answer")
Item = TypeVar("Item")

_CALL_MESSAGE_COUNT = 256
# What is sent together is stored as one message, whose limit is MAX_BODY_BYTES.
_CALL_BYTES = 2 * 1024 * 1024
# The broker's own limit.
_RECEIVE_COUNT = 32
# A broker that was killed comes back to a poll that is new, not to one that it has forgotten.
_LONGEST_POLL = timedelta(seconds=5)
# How long a call outlasts a broker that is gone before it says so.
_PATIENCE_S = 5.0
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 0.5
_LEAST_DURATION = timedelta(milliseconds=1)
_CHANGES_AT_ONCE = 64
_PRUNE_COUNT = 4096
# Groups share queues, and a queue waits for the group at its head.
_ORDERED_QUEUE_COUNT = 16
# The broker loses properties without a value; this one, which no message of ours has, names them.
_EMPTY = "Empty"
# What is said of a buried message: properties that no message on the queue has.
_ERROR, _HOLDER, _ATTEMPTS, _GROUP = "dead-error", "dead-holder", "dead-attempts", "dead-group"


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How topics are made: contracts/asyncapi.yaml, x-queue."""

    group: str
    max_attempts: int
    queue_count: int

    def names(self, topic: str) -> QueueNames:
        """A group a topic: RocketMQ keeps one place for the dead letters of a group."""
        return QueueNames(topic, f"{self.group}-{topic}")


class RocketmqBroker:
    """A Broker on the proxies at ``endpoints``, administered through the name servers.

    ``endpoints`` is a gRPC target: ``host:port``, or ``ipv4:host:port,host:port`` for several.
    Topics and groups are made on use. Connections too; a broken one is replaced.
    """

    def __init__(
        self, endpoints: str, name_servers: Sequence[Address], limits: QueueLimits
    ) -> None:
        if limits.max_attempts < 1:
            raise ValueError("a message needs at least one attempt")
        self._proxy = Proxy(endpoints)
        self.administration = Administration(name_servers)
        self.limits = limits
        self._client_id = new_client_id()
        self._made: dict[str, asyncio.Task[None]] = {}
        self._consumers: dict[str, RocketmqConsumer] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def publish(self, messages: Sequence[Message]) -> list[MessageId]:
        ids: dict[int, MessageId] = {}
        for topic in dict.fromkeys(message.topic for message in messages):
            positions = [i for i, message in enumerate(messages) if message.topic == topic]
            for chunk in _chunks(messages, positions):
                for i in chunk:
                    ids[i] = _new_message_id()
                await self.send(topic, [(ids[i], messages[i]) for i in chunk])
        return [ids[i] for i in range(len(messages))]

    def consumer(self, topic: str) -> RocketmqConsumer:
        if topic not in self._consumers:
            self._consumers[topic] = RocketmqConsumer(self, self._proxy, topic)
        return self._consumers[topic]

    async def close(self) -> None:
        tasks = [*self._background, *self._made.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for consumer in self._consumers.values():
            await consumer.close()
        await self._proxy.close()

    async def send(self, topic: str, messages: Sequence[tuple[MessageId, Message]]) -> None:
        """Stores messages together; they are of the topic, or of one that is made with it."""
        request = protocol.SendMessageRequest()
        for message_id, message in messages:
            _fill(request.messages.add(), message_id, message)

        async def attempt() -> None:
            await self.made(topic)
            answer = await self._proxy.call("SendMessage", request, self._client_id)
            check(answer.status)
            for entry in answer.entries:
                check(entry.status)

        # Only when it says that the topic is missing is it certain that nothing was stored.
        await self.persistently(topic, attempt, retried=Missing)

    async def made(self, topic: str) -> None:
        """Makes topic and group once."""
        making = self._made.get(topic)
        if making is None or (making.done() and (making.cancelled() or making.exception())):
            making = asyncio.create_task(
                self.administration.create(
                    self.limits.names(topic),
                    max_attempts=self.limits.max_attempts,
                    queue_count=(
                        _ORDERED_QUEUE_COUNT if is_ordered(topic) else self.limits.queue_count
                    ),
                    ordered=is_ordered(topic),
                )
            )
            self._made[topic] = making
        await asyncio.shield(making)

    async def persistently(
        self,
        topic: str,
        attempt: Callable[[], Awaitable[Answer]],
        *,
        retried: type[BrokerUnavailable] = BrokerUnavailable,
    ) -> Answer:
        """The answer of an attempt, repeated for a while when it fails in the way `retried`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                return await attempt()
            except retried as error:
                if isinstance(error, Missing):
                    self._made.pop(topic, None)
                if loop.time() > deadline:
                    raise
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            delay_s = min(2 * delay_s, _LONGEST_RETRY_S)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Does what nobody waits for; ended with the broker."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class RocketmqConsumer:
    """A Consumer of one topic of a RocketmqBroker.

    The broker does not notice that a receipt was replaced; it is noticed here, so receipts are
    good only for the Broker that gave them.
    """

    def __init__(self, broker: RocketmqBroker, proxy: Proxy, topic: str) -> None:
        self._broker = broker
        self._proxy = proxy
        self._topic = topic
        self._names = broker.limits.names(topic)
        self._is_ordered = is_ordered(topic)
        self._session: Session | None = None
        self._held = _Held()

    async def receive(
        self, max_count: int, invisible_duration: timedelta, wait_duration: timedelta
    ) -> list[Delivery]:
        if max_count < 1 or invisible_duration < _LEAST_DURATION:
            raise ValueError("receive takes at least one message, for at least a millisecond")
        loop = asyncio.get_running_loop()
        ends = loop.time() + wait_duration.total_seconds()
        # Of an ordered queue the broker would give the next message with the first one.
        most = 1 if self._is_ordered else _RECEIVE_COUNT
        deliveries: list[Delivery] = []
        while True:
            count = min(max_count - len(deliveries), most)
            remaining = timedelta(seconds=max(0.0, ends - loop.time()))
            wait = timedelta(0) if deliveries else min(remaining, _LONGEST_POLL)
            taken = await self._poll(count, invisible_duration, wait)
            deliveries += taken
            if len(deliveries) >= max_count or (deliveries and len(taken) < count):
                return deliveries
            if not taken and loop.time() >= ends:
                return []

    async def acknowledge(self, receipts: Sequence[Receipt]) -> list[ReceiptExpired | None]:
        outcomes: list[ReceiptExpired | None] = [_expired() for _ in receipts]
        for chunk in _batches(self._held.among(receipts)):
            request = protocol.AckMessageRequest()
            request.group.name, request.topic.name = self._names.group, self._topic
            for i in chunk:
                entry = request.entries.add()
                entry.message_id = _message_id(receipts[i])
                entry.receipt_handle = self._held.handle(receipts[i])
            answer = await self._persistently("AckMessage", request)
            if len(answer.entries) != len(chunk):
                check(answer.status)
            for i, entry in zip(chunk, answer.entries, strict=True):
                if entry.status.code != protocol.INVALID_RECEIPT_HANDLE:
                    check(entry.status)
                    outcomes[i] = None
                self._held.forget(receipts[i])
        return outcomes

    async def change_invisibility(
        self, receipts: Sequence[Receipt], invisible_duration: timedelta
    ) -> list[Receipt | ReceiptExpired]:
        outcomes: list[Receipt | ReceiptExpired] = [_expired() for _ in receipts]
        duration = max(invisible_duration, _LEAST_DURATION)
        for chunk in _batches(self._held.among(receipts), _CHANGES_AT_ONCE):
            handles = await asyncio.gather(
                *(self._change(receipts[i], duration) for i in chunk), return_exceptions=True
            )
            for i, handle in zip(chunk, handles, strict=True):
                if isinstance(handle, str):
                    # Should this call fail for another message, the old receipt is still good.
                    self._held.renew(receipts[i], handle, duration)
                elif handle is None:
                    self._held.forget(receipts[i])
            for handle in handles:
                if isinstance(handle, BaseException):
                    raise handle
            for i, handle in zip(chunk, handles, strict=True):
                if isinstance(handle, str):
                    outcomes[i] = self._held.replace(receipts[i])
        return outcomes

    async def hand_back(self, delivery: Delivery, delay: timedelta) -> ReceiptExpired | None:
        if delivery.group is not None:
            raise ValueError("a message of a group is not handed back")
        if delivery.attempt < self._broker.limits.max_attempts:
            # It keeps its place, and the broker counts on.
            (outcome,) = await self.change_invisibility([delivery.receipt], delay)
            if isinstance(outcome, ReceiptExpired):
                return outcome
            self._held.forget(outcome)
            return None
        # The broker would make it a dead letter: a copy of it is counted anew.
        if not self._held.among([delivery.receipt]):
            return _expired()
        copy = Message(self._topic, delivery.body, delivery.key, delivery.properties, delay=delay)
        await self._broker.send(self._topic, [(delivery.message_id, copy)])
        (outcome,) = await self.acknowledge([delivery.receipt])
        return outcome

    async def bury(self, delivery: Delivery, error: str, holder: str) -> ReceiptExpired | None:
        if not self._held.among([delivery.receipt]):
            return _expired()
        said = {_ERROR: error, _HOLDER: holder, _ATTEMPTS: str(delivery.attempt)}
        if delivery.group is not None:
            said[_GROUP] = delivery.group
        lines = {name: one_line(text) for name, text in said.items()}
        letter = Message(
            self._names.buried, delivery.body, delivery.key, {**delivery.properties, **lines}
        )
        await self._broker.send(self._topic, [(delivery.message_id, letter)])
        (outcome,) = await self.acknowledge([delivery.receipt])
        return outcome

    async def dead_letters(self, max_count: int) -> list[DeadLetter]:
        letters = sorted((letter for _, letter in await self._letters()), key=_death)
        return letters[:max_count]

    async def replay(self, message_ids: Sequence[MessageId]) -> int:
        wanted = set(message_ids)
        count = 0
        for place, letter in await self._letters():
            if letter.message_id in wanted:
                message = Message(
                    self._topic, letter.body, letter.key, letter.properties, letter.group
                )
                await self._broker.send(self._topic, [(letter.message_id, message)])
                await self._note(place, letter)
                count += 1
        return count

    async def discard(self, message_ids: Sequence[MessageId]) -> int:
        wanted = set(message_ids)
        found = [item for item in await self._letters() if item[1].message_id in wanted]
        for place, letter in found:
            await self._note(place, letter)
        return len(found)

    async def backlog(self) -> Backlog:
        async def attempt() -> Backlog:
            await self._broker.made(self._topic)
            administration = self._broker.administration
            visible_count, lag_duration = await administration.lag(self._names)
            dead_count = await administration.count(self._names.dead_letters)
            dead_count += await administration.count(self._names.buried)
            replayed_count = await administration.count(self._names.replayed)
            # The broker deletes both after the same time, the notes later than what they note.
            return Backlog(visible_count, None, max(0, dead_count - replayed_count), lag_duration)

        return await self._broker.persistently(self._topic, attempt)

    async def close(self) -> None:
        """Ends what the proxy knows of this consumer."""
        if self._session is not None:
            await self._session.close()

    async def _poll(
        self, max_count: int, invisible_duration: timedelta, wait_duration: timedelta
    ) -> list[Delivery]:
        """What one call gives. Cancelled, it hands back what it would have given."""
        poll = asyncio.ensure_future(
            self._broker.persistently(
                self._topic, lambda: self._receive(max_count, invisible_duration, wait_duration)
            )
        )
        try:
            return await asyncio.shield(poll)
        except asyncio.CancelledError:
            self._broker.in_background(self._hand_back(poll))
            raise

    async def _hand_back(self, poll: asyncio.Future[list[Delivery]]) -> None:
        # With the broker gone the messages show again when their invisibility ends.
        with contextlib.suppress(BrokerUnavailable):
            receipts = [delivery.receipt for delivery in await poll]
            await self.change_invisibility(receipts, timedelta(0))

    async def _receive(
        self, max_count: int, invisible_duration: timedelta, wait_duration: timedelta
    ) -> list[Delivery]:
        client_id = await self._introduced()
        request = protocol.ReceiveMessageRequest()
        request.group.name, request.message_queue.topic.name = self._names.group, self._topic
        request.filter_expression.type = protocol.TAG_FILTER
        request.filter_expression.expression = "*"
        request.batch_size = max_count
        request.invisible_duration.FromTimedelta(invisible_duration)
        request.long_polling_timeout.FromTimedelta(wait_duration)
        began = time.monotonic()
        deliveries: list[Delivery] = []
        try:
            async for answer in self._proxy.stub.ReceiveMessage(
                request,
                timeout=wait_duration.total_seconds() + ANSWER_S,
                metadata=metadata(client_id),
                wait_for_ready=True,
            ):
                if answer.HasField("message"):
                    deliveries.append(_delivery(answer.message))
                elif answer.HasField("status"):
                    check(answer.status, (protocol.MESSAGE_NOT_FOUND,))
        except (grpc.aio.AioRpcError, BrokerUnavailable) as error:
            if self._session is not None:
                self._session.forget()
            raise unavailable(error) if isinstance(error, grpc.aio.AioRpcError) else error from None
        for delivery in deliveries:
            self._held.add(delivery.receipt, began, invisible_duration)
        return deliveries

    async def _change(self, receipt: Receipt, duration: timedelta) -> str | None:
        """The handle that replaces the receipt's; None when the message is nobody's."""
        request = protocol.ChangeInvisibleDurationRequest()
        request.group.name, request.topic.name = self._names.group, self._topic
        request.message_id = _message_id(receipt)
        request.receipt_handle = self._held.handle(receipt)
        request.invisible_duration.FromTimedelta(duration)
        answer = await self._persistently("ChangeInvisibleDuration", request)
        if answer.status.code == protocol.INVALID_RECEIPT_HANDLE:
            return None
        check(answer.status)
        return answer.receipt_handle

    async def _persistently(self, method: str, request: Any) -> Any:
        async def attempt() -> Any:
            return await self._proxy.call(method, request, await self._introduced())

        return await self._broker.persistently(self._topic, attempt)

    async def _introduced(self) -> str:
        """The name under which the proxy knows this consumer."""
        await self._broker.made(self._topic)
        if self._session is None:
            self._session = Session(self._proxy, self._names)
        await self._session.ready()
        return self._session.client_id

    async def _note(self, place: Place, letter: DeadLetter) -> None:
        """Takes note that what lies there is a dead letter no more."""
        note = Message(self._names.replayed, str(place).encode(), letter.key)
        await self._broker.send(self._topic, [(_new_message_id(), note)])

    async def _letters(self) -> list[tuple[Place, DeadLetter]]:
        """The dead letters that are still some."""
        await self._broker.persistently(self._topic, lambda: self._broker.made(self._topic))
        read = self._broker.administration.read
        reader = self._names.reader
        replayed = {note.body.decode() async for _, note in read(self._names.replayed, reader)}
        most = self._broker.limits.max_attempts
        return [
            (place, _dead_letter(stored, most))
            for topic in (self._names.dead_letters, self._names.buried)
            async for place, stored in read(topic, reader)
            if str(place) not in replayed
        ]


class _Held:
    """The receipts that are good, each with its handle at the broker and when it expires."""

    def __init__(self) -> None:
        self._handles: dict[Receipt, tuple[str, float]] = {}

    def add(self, receipt: Receipt, since: float, duration: timedelta) -> None:
        if len(self._handles) > _PRUNE_COUNT:
            now = time.monotonic()
            self._handles = {r: it for r, it in self._handles.items() if it[1] > now}
        self._handles[receipt] = (_handle(receipt), since + duration.total_seconds() + ANSWER_S)

    def among(self, receipts: Sequence[Receipt]) -> list[int]:
        """Positions of the good ones, each once."""
        first = {receipt: i for i, receipt in reversed(list(enumerate(receipts)))}
        return sorted(i for receipt, i in first.items() if receipt in self._handles)

    def handle(self, receipt: Receipt) -> str:
        return self._handles[receipt][0]

    def forget(self, receipt: Receipt) -> None:
        self._handles.pop(receipt, None)

    def renew(self, receipt: Receipt, handle: str, duration: timedelta) -> None:
        expires = time.monotonic() + duration.total_seconds() + ANSWER_S
        self._handles[receipt] = (handle, expires)

    def replace(self, receipt: Receipt) -> Receipt:
        """The receipt that stands for the handle from now on."""
        handle, expires = self._handles.pop(receipt)
        fresh = _receipt(_message_id(receipt), handle)
        self._handles[fresh] = (handle, expires)
        return fresh


def _fill(stored: Any, message_id: MessageId, message: Message) -> None:
    stored.topic.name = message.topic
    stored.body = message.body
    stored.user_properties.update(message.properties)
    empty = [name for name, value in message.properties.items() if not value]
    if empty:
        stored.user_properties[_EMPTY] = ",".join(empty)
    system = stored.system_properties
    system.message_id = message_id
    system.keys.append(message.key)
    system.body_encoding = protocol.IDENTITY
    system.born_timestamp.GetCurrentTime()
    system.message_type = protocol.NORMAL
    if message.group is not None:
        system.message_type = protocol.FIFO
        system.message_group = message.group
    if message.delay:
        system.message_type = protocol.DELAY
        system.delivery_timestamp.FromMilliseconds(
            int(1000 * (time.time() + message.delay.total_seconds()))
        )


def _delivery(message: Any) -> Delivery:
    system = message.system_properties
    return Delivery(
        message_id=MessageId(system.message_id),
        body=message.body,
        key=" ".join(system.keys),
        properties=_own_properties(message.user_properties),
        group=system.message_group or None,
        attempt=max(1, system.delivery_attempt),
        receipt=_receipt(MessageId(system.message_id), system.receipt_handle),
    )


def _dead_letter(stored: StoredMessage, most_attempts: int) -> DeadLetter:
    properties = _own_properties(stored.properties)
    said = {name: properties.pop(name, None) for name in (_ERROR, _HOLDER, _ATTEMPTS, _GROUP)}
    return DeadLetter(
        message_id=MessageId(stored.properties["UNIQ_KEY"]),
        body=stored.body,
        key=stored.properties.get("KEYS", ""),
        properties=properties,
        group=said[_GROUP] or stored.properties.get("__SHARDINGKEY") or None,
        attempts=int(said[_ATTEMPTS] or most_attempts),
        dead_time=datetime.fromtimestamp(stored.stored_ms / 1000, UTC),
        error=said[_ERROR],
        holder=said[_HOLDER],
    )


def _death(letter: DeadLetter) -> datetime:
    return letter.dead_time


def _own_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Without what the broker notes for itself, and with what it loses."""
    own = {name: value for name, value in properties.items() if is_property_name(name)}
    return own | dict.fromkeys(filter(None, properties.get(_EMPTY, "").split(",")), "")


def _new_message_id() -> MessageId:
    return MessageId(f"01{secrets.token_hex(16).upper()}")


def _receipt(message_id: MessageId, handle: str) -> Receipt:
    return Receipt(f"{message_id} {handle}")


def _message_id(receipt: Receipt) -> MessageId:
    return MessageId(receipt.partition(" ")[0])


def _handle(receipt: Receipt) -> str:
    return receipt.partition(" ")[2]


def _expired() -> ReceiptExpired:
    return ReceiptExpired("the message was no longer held under this receipt")


def _batches(items: Sequence[Item], count: int = _CALL_MESSAGE_COUNT) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]


def _chunks(messages: Sequence[Message], positions: Sequence[int]) -> Iterator[list[int]]:
    """Cuts the positions so that the messages of a chunk can be stored together: of one group,
    none of them delayed, within the limits of one call."""
    chunk: list[int] = []
    size = 0
    for i in positions:
        message = messages[i]
        if chunk and (
            len(chunk) == _CALL_MESSAGE_COUNT
            or size + len(message.body) > _CALL_BYTES
            or message.delay
            or messages[chunk[-1]].delay
            or message.group != messages[chunk[-1]].group
        ):
            yield chunk
            chunk, size = [], 0
        chunk.append(i)
        size += len(message.body)
    if chunk:
        yield chunk
