"""Messages as a RocketMQ broker stores them, which is how it answers to who reads its log."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gridpact.broker.port import BrokerError

_LONG_TOPIC_MAGIC = 0xDAA320AB
_MAGICS = (0xDAA320A7, _LONG_TOPIC_MAGIC)
_BORN_IN_IPV6 = 1 << 4
_STORED_IN_IPV6 = 1 << 5

# size, magic, checksum, queue, flag, queue offset, log offset, system flag, born at
_HEAD = struct.Struct(">IIIIIqqIq")


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in a queue of a broker; ``offset`` is its place there.

    ``stored_ms``: when the broker stored it, in milliseconds of Unix time.
    """

    offset: int
    stored_ms: int
    body: bytes
    properties: Mapping[str, str]


def stored_messages(data: bytes) -> Iterator[StoredMessage]:
    """Decodes messages that follow one another."""
    position = 0
    while position < len(data):
        size, magic, _, _, _, offset, _, flag, _ = _HEAD.unpack_from(data, position)
        if magic not in _MAGICS:
            raise BrokerError(f"RocketMQ stores messages in a form that is unknown: {magic:#x}")
        at = position + _HEAD.size
        at += (16 if flag & _BORN_IN_IPV6 else 4) + 4
        (stored_ms,) = struct.unpack_from(">q", data, at)
        at += 8
        at += (16 if flag & _STORED_IN_IPV6 else 4) + 4
        at += 4 + 8  # attempts, transaction
        (body_length,) = struct.unpack_from(">I", data, at)
        at += 4
        body = data[at : at + body_length]
        at += body_length
        if magic == _LONG_TOPIC_MAGIC:
            at += 2 + struct.unpack_from(">H", data, at)[0]
        else:
            at += 1 + data[at]
        (properties_length,) = struct.unpack_from(">H", data, at)
        at += 2
        properties = data[at : at + properties_length].decode()
        yield StoredMessage(offset, stored_ms, body, dict(_pairs(properties)))
        position += size


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split("\x02"):
        name, separator, value = pair.partition("\x01")
        if separator:
            yield name, value
