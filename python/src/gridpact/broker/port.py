"""What Gridpact asks of a message broker.

The shape is RocketMQ 5's SimpleConsumer, because it is the narrower one: a message that is
received becomes invisible for a while, and comes back unless it is acknowledged in time. A topic
is a work queue with one group of consumers; each message goes to one of them at a time.

Delivery is at least once. A call that fails with BrokerUnavailable may or may not have had its
effect: a message may then be published twice, or be received again although it was acknowledged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NewType, Protocol

MAX_BODY_BYTES = 4 * 1024 * 1024
"""What a RocketMQ takes that nobody has set up for more. The messages of ours are far smaller:
`queue_body_bytes` of contracts/asyncapi.yaml."""

MAX_DELAY = timedelta(hours=24)

MessageId = NewType("MessageId", str)
"""Names a message for life, also as a dead letter. Opaque."""

Receipt = NewType("Receipt", str)
"""Proves that its holder received the message and its invisibility has not ended. Opaque."""

_KEY = re.compile(r"\S{1,256}")
_PROPERTY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class BrokerError(Exception):
    """Anything that goes wrong at the broker."""


class BrokerUnavailable(BrokerError):
    """The broker cannot be reached or cannot work now (starting, disk full); try again later."""


class ReceiptExpired(BrokerError):
    """The invisibility ended, or the receipt was replaced: the message is no longer the caller's.

    It has been delivered again, or will be, or is a dead letter.
    """


def is_ordered(topic: str) -> bool:
    """Whether the topic's messages have groups."""
    return topic.endswith("-ordered")


def one_line(text: str, limit: int = 4096) -> str:
    """The text as a property or a note can hold it."""
    return _CONTROL_CHARACTER.sub(" ", text)[:limit]


def is_property_name(name: str) -> bool:
    """Whether a property of a message may be called so."""
    return _PROPERTY_NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Message:
    """What is published.

    body: 1 byte to 4 MiB, carried as it is.
    key: what the message is about, for finding it at the broker; no white space.
    properties: names in lower case, values without control characters.
    group: messages of one group are delivered in order, the next one only when the one before is
        acknowledged or dead. Other groups may wait for them. An ordered topic, whose name ends in
        `-ordered`, has messages with a group only, and every other topic has none.
    delay: not to be delivered before this has passed; at most 24 hours, and not within a group.

    Raises ValueError for anything else.
    """

    topic: str
    body: bytes
    key: str
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    group: str | None = None
    delay: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not 1 <= len(self.body) <= MAX_BODY_BYTES:
            raise ValueError(f"the body has {len(self.body)} bytes, not 1 to {MAX_BODY_BYTES}")
        if not _KEY.fullmatch(self.key):
            raise ValueError("the key must be 1 to 256 characters without white space")
        for name, value in self.properties.items():
            if not is_property_name(name):
                raise ValueError(f"{name!r} is no name for a property")
            if _CONTROL_CHARACTER.search(value):
                raise ValueError(f"property {name!r} has a control character in its value")
        if not timedelta(0) <= self.delay <= MAX_DELAY:
            raise ValueError("the delay must lie between 0 and 24 hours")
        if self.group is not None and (not self.group or self.delay):
            raise ValueError("a group has a name, and its messages have no delay")
        if is_ordered(self.topic) != (self.group is not None):
            raise ValueError("messages of ordered topics have a group, and no others")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A received message. `attempt` is 1 for the first delivery."""

    message_id: MessageId
    body: bytes
    key: str
    properties: Mapping[str, str]
    group: str | None
    attempt: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody could do anything with.

    Either it was delivered `attempts` times, the maximum, and never acknowledged; or its holder
    buried it, and `error` says why and `holder` who that was. dead_time: since when, in UTC.
    """

    message_id: MessageId
    body: bytes
    key: str
    properties: Mapping[str, str]
    group: str | None
    attempts: int
    dead_time: datetime
    error: str | None = None
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much lies in a topic; a snapshot.

    visible_count: could be received now, or wait behind another message of their group.
    invisible_count: received and not acknowledged, or delayed; None where the broker cannot tell.
    lag_duration: for how long the oldest visible message has been waiting; zero without one.
    """

    visible_count: int
    invisible_count: int | None
    dead_letter_count: int
    lag_duration: timedelta


class Consumer(Protocol):
    """Receives from one topic. Several may share a topic; safe for concurrent calls."""

    async def receive(
        self, max_count: int, invisible_duration: timedelta, wait_duration: timedelta
    ) -> list[Delivery]:
        """Takes up to `max_count` messages, each invisible to others for `invisible_duration`.

        Returns as soon as there is at least one message; an empty list after `wait_duration`.
        A message that has had its maximum of attempts becomes a dead letter instead. What a
        cancelled call had already taken is delivered again, at the latest when it is visible.
        """
        ...

    async def acknowledge(self, receipts: Sequence[Receipt]) -> list[ReceiptExpired | None]:
        """Removes the messages for good. One outcome a receipt, in order; None is success."""
        ...

    async def change_invisibility(
        self, receipts: Sequence[Receipt], invisible_duration: timedelta
    ) -> list[Receipt | ReceiptExpired]:
        """Lets the messages be invisible for `invisible_duration` from now; zero hands them back.

        One outcome a receipt, in order: the receipt that replaces it, for the old one is void.
        """
        ...

    async def hand_back(self, delivery: Delivery, delay: timedelta) -> ReceiptExpired | None:
        """Gives a message back that was not worked on: it is visible again after `delay`.

        `delivery.receipt` is its newest. A message that is only ever handed back is never a dead
        letter; its next `attempt` may be 1. It may have to wait behind others. ValueError for a
        message of a group, whose order this would break.
        """
        ...

    async def bury(self, delivery: Delivery, error: str, holder: str) -> ReceiptExpired | None:
        """Makes a message a dead letter at once; `delivery.receipt` is its newest.

        `error` says what is wrong with it, `holder` who found out; both as text of one line.
        """
        ...

    async def dead_letters(self, max_count: int) -> list[DeadLetter]:
        """Reads up to `max_count` dead letters, the oldest first, and leaves them there."""
        ...

    async def replay(self, message_ids: Sequence[MessageId]) -> int:
        """Makes dead letters ordinary messages again, with all their attempts before them.

        Returns how many; ids that are no dead letters are passed over.
        """
        ...

    async def discard(self, message_ids: Sequence[MessageId]) -> int:
        """Removes dead letters for good. Returns how many; others are passed over."""
        ...

    async def backlog(self) -> Backlog:
        """Depth and lag of the topic."""
        ...


class Broker(Protocol):
    """A connection to the broker."""

    async def publish(self, messages: Sequence[Message]) -> list[MessageId]:
        """Publishes all messages, in order within a topic; returns when the broker has them."""
        ...

    def consumer(self, topic: str) -> Consumer:
        """A consumer of the topic; the topic need not exist yet. Makes no call."""
        ...

    async def close(self) -> None:
        """Ends all calls under way and releases the connections."""
        ...
