"""The broker port on Redis Streams (Redis 6.2 or later).

What a message goes through is written in redis_streams.lua, one atomic script per call; here are
batching, waiting, and the translation between the port and the script's arguments and replies.
All state is created on use, so a Redis that was emptied or restarted needs no preparation.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gridpact.broker.port import (
    Backlog,
    BrokerUnavailable,
    DeadLetter,
    Delivery,
    Message,
    MessageId,
    Receipt,
    ReceiptExpired,
    one_line,
)
from gridpact.kit.uninterrupted import uninterrupted

Item = TypeVar("Item")

# A script runs while Redis serves nobody else: a call is cut where it would hold it for long.
_CALL_MESSAGE_COUNT = 256
_CALL_BYTES = 8 * 1024 * 1024

# The bell is heard at once; this only bounds the harm of a server clock that was set back.
_LONGEST_WAIT = timedelta(seconds=5)

# How long Redis may take to answer what is not a wait.
_ANSWER_DURATION = timedelta(seconds=5)

# Before the first entry of a stream.
_NOTHING = b"0-0"

_KEY_NAMES = (
    "stream",
    "cursor",
    "hidden",
    "receipts",
    "dead",
    "notes",
    "bell",
    "waiters",
    "mailbox:",
    "group:",
)


class RedisStreamsBroker:
    """A Broker on one Redis server.

    A message becomes a dead letter when it was delivered `max_attempts` times. Connections are
    made on use; a broken one is replaced, with backoff and jitter, before BrokerUnavailable is
    raised.
    """

    def __init__(self, url: str, *, max_attempts: int) -> None:
        if max_attempts < 1:
            raise ValueError("a message needs at least one attempt")
        self._max_attempts = max_attempts
        self._redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            # Every call has its own time limit, and a wait may be longer than an answer.
            socket_timeout=None,
            socket_connect_timeout=_ANSWER_DURATION.total_seconds(),
            retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.02), retries=3),
        )
        script = files("gridpact.broker").joinpath("redis_streams.lua").read_text(encoding="utf-8")
        self._script = self._redis.register_script(script)

    async def publish(self, messages: Sequence[Message]) -> list[MessageId]:
        ids: dict[int, MessageId] = {}
        for topic in dict.fromkeys(message.topic for message in messages):
            positions = [i for i, message in enumerate(messages) if message.topic == topic]
            for chunk in _chunks(messages, positions):
                arguments = [value for i in chunk for value in _arguments(messages[i])]
                reply = cast(list[bytes], await self.call(topic, "publish", *arguments))
                ids.update(zip(chunk, (MessageId(id.decode()) for id in reply), strict=True))
        return [ids[i] for i in range(len(messages))]

    def consumer(self, topic: str) -> RedisStreamsConsumer:
        return RedisStreamsConsumer(self, topic, self._max_attempts)

    async def close(self) -> None:
        await self._redis.aclose()

    async def call(self, topic: str, name: str, *arguments: bytes | str | int) -> object:
        """Runs one call of the script on the topic's queue; returns its raw reply."""
        return await _answered(self._script(_keys(topic), (name, *arguments)), _ANSWER_DURATION)

    async def hear(
        self, topic: str, last_ring: bytes, mailbox: _Mailbox, wait_duration: timedelta
    ) -> list[Delivery]:
        """Returns when the bell of the topic rings after `last_ring`, or with what comes into the
        mailbox, or when `wait_duration` has ended."""
        # Redis takes 0 for "for ever".
        milliseconds = max(1, _milliseconds(wait_duration))
        box = _key(topic, f"mailbox:{mailbox.name}")
        reply = await _answered(
            self._redis.xread(  # pyright: ignore[reportUnknownMemberType]
                {_key(topic, "bell"): last_ring, box: mailbox.seen}, block=milliseconds
            ),
            wait_duration + _ANSWER_DURATION,
        )
        streams = dict(cast(list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]], reply))
        posted = streams.get(box.encode(), [])
        if posted:
            mailbox.seen = posted[-1][0]
        return [_posted(entry) for _, entry in posted]


@dataclass(slots=True)
class _Mailbox:
    """Where a consumer that waits is sent messages; `seen` is the last entry that it has read since
    the mailbox was empty."""

    name: str = field(default_factory=lambda: _new_token())
    seen: bytes = _NOTHING


class RedisStreamsConsumer:
    """A Consumer of one topic of a RedisStreamsBroker."""

    def __init__(self, broker: RedisStreamsBroker, topic: str, max_attempts: int) -> None:
        self._broker = broker
        self._topic = topic
        self._max_attempts = max_attempts
        # Of calls that have ended. Whoever uses one again finds what it was sent too late.
        self._mailboxes: list[_Mailbox] = []

    async def receive(
        self, max_count: int, invisible_duration: timedelta, wait_duration: timedelta
    ) -> list[Delivery]:
        if max_count < 1 or invisible_duration < timedelta(milliseconds=1):
            raise ValueError("receive takes at least one message, for at least a millisecond")
        mailbox = self._mailboxes.pop() if self._mailboxes else _Mailbox()
        try:
            return await self._receive(mailbox, max_count, invisible_duration, wait_duration)
        except asyncio.CancelledError:
            await uninterrupted(self._hand_back(self._call_take(mailbox, 0, invisible_duration)))
            raise
        finally:
            self._mailboxes.append(mailbox)

    async def _receive(
        self,
        mailbox: _Mailbox,
        max_count: int,
        invisible_duration: timedelta,
        wait_duration: timedelta,
    ) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        ends = loop.time() + wait_duration.total_seconds()
        while True:
            remaining = timedelta(seconds=max(0.0, ends - loop.time()))
            last_ring, until_visible, deliveries = await self._take(
                mailbox, max_count, invisible_duration, min(remaining, _LONGEST_WAIT)
            )
            if deliveries or not remaining:
                return deliveries
            posted = await self._broker.hear(
                self._topic, last_ring, mailbox, min(remaining, until_visible, _LONGEST_WAIT)
            )
            if posted:
                return posted

    async def acknowledge(self, receipts: Sequence[Receipt]) -> list[ReceiptExpired | None]:
        outcomes: list[ReceiptExpired | None] = []
        for chunk in _batches(receipts):
            held = await self._broker.call(self._topic, "acknowledge", *_ids_and_tokens(chunk))
            outcomes += [None if ok else _expired() for ok in cast(list[int], held)]
        return outcomes

    async def change_invisibility(
        self, receipts: Sequence[Receipt], invisible_duration: timedelta
    ) -> list[Receipt | ReceiptExpired]:
        outcomes: list[Receipt | ReceiptExpired] = []
        for chunk in _batches(receipts):
            token = _new_token()
            pairs = _ids_and_tokens(chunk)
            held = await self._broker.call(
                self._topic, "hide", _milliseconds(invisible_duration), token, *pairs
            )
            outcomes += [
                _receipt(id, token) if ok else _expired()
                for id, ok in zip(pairs[::2], cast(list[int], held), strict=True)
            ]
        return outcomes

    async def hand_back(self, delivery: Delivery, delay: timedelta) -> ReceiptExpired | None:
        if delivery.group is not None:
            raise ValueError("a message of a group is not handed back")
        pair = delivery.receipt.split(" ")
        held = await self._broker.call(
            self._topic, "hand_back", _milliseconds(delay), *pair, _new_token()
        )
        return None if held else _expired()

    async def bury(self, delivery: Delivery, error: str, holder: str) -> ReceiptExpired | None:
        note = msgspec.msgpack.encode(_Note(one_line(error), one_line(holder)))
        held = await self._broker.call(self._topic, "bury", *delivery.receipt.split(" "), note)
        return None if held else _expired()

    async def dead_letters(self, max_count: int) -> list[DeadLetter]:
        # The ids come first: what others bury, replay or discard meanwhile moves no page.
        ids = cast(list[bytes], await self._broker.call(self._topic, "dead_ids", max_count))
        letters: list[DeadLetter] = []
        for chunk in _batches(ids):
            reply = await self._broker.call(self._topic, "dead_letters", *chunk)
            found = cast(list[tuple[bytes, int, bytes, bytes, list[bytes]]], reply)
            letters += [_dead_letter(*letter) for letter in found]
        return letters

    async def replay(self, message_ids: Sequence[MessageId]) -> int:
        counts = [
            cast(int, await self._broker.call(self._topic, "replay", *chunk))
            for chunk in _batches(message_ids)
        ]
        return sum(counts)

    async def discard(self, message_ids: Sequence[MessageId]) -> int:
        counts = [
            cast(int, await self._broker.call(self._topic, "discard", *chunk))
            for chunk in _batches(message_ids)
        ]
        return sum(counts)

    async def backlog(self) -> Backlog:
        reply = cast(list[int], await self._broker.call(self._topic, "backlog"))
        visible_count, invisible_count, dead_letter_count, lag_milliseconds = reply
        return Backlog(
            visible_count,
            invisible_count,
            dead_letter_count,
            timedelta(milliseconds=lag_milliseconds),
        )

    async def _take(
        self,
        mailbox: _Mailbox,
        max_count: int,
        invisible_duration: timedelta,
        wait_duration: timedelta,
    ) -> tuple[bytes, timedelta, list[Delivery]]:
        """One look at the queue: the newest ring, how long until a message shows by itself (at
        most _LONGEST_WAIT), and what was taken."""
        call = self._call_take(mailbox, max_count, invisible_duration, wait_duration)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            await uninterrupted(self._hand_back(call))
            raise

    def _call_take(
        self,
        mailbox: _Mailbox,
        max_count: int,
        invisible_duration: timedelta,
        wait_duration: timedelta = timedelta(0),
    ) -> asyncio.Future[tuple[bytes, timedelta, list[Delivery]]]:
        """See _take; goes on when its caller is cancelled."""

        async def take() -> tuple[bytes, timedelta, list[Delivery]]:
            token = _new_token()
            reply = await self._broker.call(
                self._topic,
                "take",
                min(max_count, _CALL_MESSAGE_COUNT),
                _milliseconds(invisible_duration),
                self._max_attempts,
                token,
                _milliseconds(wait_duration),
                mailbox.name,
                mailbox.seen,
            )
            # It is empty now, and its entries are numbered anew.
            mailbox.seen = _NOTHING
            last_ring, until_visible, taken = cast(
                tuple[bytes, int, list[tuple[bytes, int, list[bytes]]]], reply
            )
            return (
                last_ring,
                timedelta(milliseconds=until_visible) if until_visible >= 0 else _LONGEST_WAIT,
                [_delivery(id, attempt, fields, token) for id, attempt, fields in taken],
            )

        return asyncio.ensure_future(take())

    async def _hand_back(
        self, call: asyncio.Future[tuple[bytes, timedelta, list[Delivery]]]
    ) -> None:
        # With the broker gone the messages show again when their invisibility ends.
        with contextlib.suppress(BrokerUnavailable):
            _, _, deliveries = await call
            await self.change_invisibility([it.receipt for it in deliveries], timedelta(0))


class _Note(msgspec.Struct):
    """What was said of a message that was buried."""

    error: str | None
    holder: str | None


def _key(topic: str, name: str) -> str:
    # The braces keep the keys of a topic on one node of a Redis cluster.
    return f"gridpact:broker:{{{topic}}}:{name}"


@lru_cache(maxsize=1024)
def _keys(topic: str) -> list[str]:
    return [_key(topic, name) for name in _KEY_NAMES]


def _arguments(message: Message) -> tuple[bytes | str | int, ...]:
    return (
        message.body,
        message.key,
        msgspec.msgpack.encode(message.properties),
        message.group or "",
        _milliseconds(message.delay),
    )


def _read_fields(fields: list[bytes]) -> tuple[bytes, str, dict[str, str], str | None]:
    # Names and values alternate, in the order in which the script writes them.
    _, body, _, key, _, properties, _, group, *_ = fields
    return (
        body,
        key.decode(),
        msgspec.msgpack.decode(properties, type=dict[str, str]),
        group.decode() or None,
    )


def _delivery(id: bytes, attempt: int, fields: list[bytes], token: str) -> Delivery:
    name = id.decode()
    body, key, properties, group = _read_fields(fields)
    return Delivery(MessageId(name), body, key, properties, group, attempt, _receipt(name, token))


def _posted(entry: Mapping[bytes, bytes]) -> Delivery:
    id, token, *_ = entry.values()
    fields = [part for item in [*entry.items()][2:] for part in item]
    return _delivery(id, 1, fields, token.decode())


def _dead_letter(
    id: bytes, attempts: int, died_ms: bytes, note: bytes, fields: list[bytes]
) -> DeadLetter:
    body, key, properties, group = _read_fields(fields)
    said = msgspec.msgpack.decode(note, type=_Note) if note else _Note(None, None)
    return DeadLetter(
        message_id=MessageId(id.decode()),
        body=body,
        key=key,
        properties=properties,
        group=group,
        attempts=attempts,
        dead_time=datetime.fromtimestamp(int(died_ms) / 1000, UTC),
        error=said.error,
        holder=said.holder,
    )


def _new_token() -> str:
    return secrets.token_hex(8)


def _receipt(id: str, token: str) -> Receipt:
    return Receipt(f"{id} {token}")


def _ids_and_tokens(receipts: Sequence[Receipt]) -> list[str]:
    return [part for receipt in receipts for part in receipt.split(" ")]


def _expired() -> ReceiptExpired:
    return ReceiptExpired("the message was no longer held under this receipt")


def _milliseconds(duration: timedelta) -> int:
    return math.ceil(duration / timedelta(milliseconds=1))


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _CALL_MESSAGE_COUNT):
        yield items[start : start + _CALL_MESSAGE_COUNT]


def _chunks(messages: Sequence[Message], positions: Sequence[int]) -> Iterator[list[int]]:
    """Cuts the positions so that the messages of a chunk stay within the limits of one call."""
    chunk: list[int] = []
    size = 0
    for i in positions:
        if chunk and (
            len(chunk) == _CALL_MESSAGE_COUNT or size + len(messages[i].body) > _CALL_BYTES
        ):
            yield chunk
            chunk, size = [], 0
        chunk.append(i)
        size += len(messages[i].body)
    if chunk:
        yield chunk


async def _answered(call: Awaitable[Any], limit: timedelta) -> object:
    """Awaits an answer of Redis; raises BrokerUnavailable when it cannot serve."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await call
    except (RedisConnectionError, RedisTimeoutError, TimeoutError) as error:
        raise BrokerUnavailable(f"Redis does not answer: {error}") from error
    except (OutOfMemoryError, ReadOnlyError) as error:
        raise BrokerUnavailable(f"Redis takes no writes: {error}") from error
    except ResponseError as error:
        # Within a script the server gives its condition only as text.
        if "-OOM " in str(error) or "MISCONF " in str(error) or "-READONLY " in str(error):
            raise BrokerUnavailable(f"Redis takes no writes: {error}") from error
        raise
