"""One request to a name server or a broker, in RocketMQ's remoting protocol.

A frame is its length, the length of its header, the header as JSON and a body; what is sent here
is rare, so each request has a connection of its own.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gridpact.broker.port import BrokerError, BrokerUnavailable
from gridpact.kit.settings import Address

ANSWER_S = 5.0

SUCCESS = 0
TOPIC_NOT_EXIST = 17
PULL_NOT_FOUND = 19
PULL_OFFSET_MOVED = 21
QUERY_NOT_FOUND = 22

_VERSION = 477
_LENGTHS = struct.Struct(">II")

# A number as a name, which RocketMQ writes and JSON does not know.
_BARE_NAME = re.compile(rb"([{,])(-?\d+):")


class Refusal(BrokerError):
    """The server answered with another code than was asked for."""

    def __init__(self, code: int, remark: str) -> None:
        super().__init__(f"RocketMQ refused ({code}): {remark}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    code: int
    fields: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, as RocketMQ writes it."""
        return msgspec.json.decode(_BARE_NAME.sub(rb'\1"\2":', self.body) or b"{}")


async def request(
    server: Address,
    code: int,
    fields: Mapping[str, object] | None = None,
    body: bytes = b"",
    *,
    accepted: tuple[int, ...] = (),
) -> Reply:
    """Sends a request and awaits its answer, which must be a success or an `accepted` code.

    Raises Refusal for any other code and BrokerUnavailable when the server does not answer.
    """
    header = msgspec.json.encode(
        {
            "code": code,
            "language": "PYTHON",
            "version": _VERSION,
            "opaque": 1,
            "flag": 0,
            "serializeTypeCurrentRPC": "JSON",
            "extFields": {name: _text(value) for name, value in (fields or {}).items()},
        }
    )
    frame = _LENGTHS.pack(4 + len(header) + len(body), len(header)) + header + body
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(server.host, server.port)
            try:
                writer.write(frame)
                length, header_length = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
                # The upper byte names the serialisation.
                header_length &= 0xFFFFFF
                head = msgspec.json.decode(await reader.readexactly(header_length))
                reply_body = await reader.readexactly(length - 4 - header_length)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise BrokerUnavailable(f"RocketMQ at {server} does not answer: {error}") from error
    if head["code"] != SUCCESS and head["code"] not in accepted:
        raise Refusal(head["code"], head.get("remark") or "")
    return Reply(head["code"], head.get("extFields") or {}, reply_body)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
