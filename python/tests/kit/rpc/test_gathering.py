"""What a connection of gRPC writes at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from grpclib.config import Configuration
from grpclib.server import Handler
from h2.config import H2Configuration

from gridpact.kit.rpc.gathering import GatheringProtocol


class RecordingTransport:
    """A transport that writes down what it is given."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str) -> object:
        return {"peername": ("127.0.0.1", 1)}.get(name)


@pytest.fixture
async def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
async def gathering(transport: RecordingTransport) -> Any:
    """The transport that grpclib sees, after its greeting has left."""
    handler = cast("Any", Handler)({}, None, None, None)
    config = Configuration().__for_server__()
    protocol = GatheringProtocol(handler, config, H2Configuration(client_side=False))
    protocol.connection_made(cast("Any", transport))
    await asyncio.sleep(0)
    transport.writes.clear()
    return cast("Any", protocol.connection)._transport


async def test_writes_once_what_one_turn_writes(
    transport: RecordingTransport, gathering: Any
) -> None:
    gathering.write(b"headers ")
    gathering.write(b"message ")
    gathering.write(b"trailers")
    assert transport.writes == []
    await asyncio.sleep(0)
    gathering.write(b"next")
    await asyncio.sleep(0)
    assert transport.writes == [b"headers message trailers", b"next"]


async def test_keeps_nothing_large_back(transport: RecordingTransport, gathering: Any) -> None:
    gathering.write(bytes(40_000))
    gathering.write(bytes(40_000))
    assert [len(each) for each in transport.writes] == [80_000]
    await asyncio.sleep(0)
    assert len(transport.writes) == 1


async def test_loses_nothing_that_was_written_before_it_was_closed(
    transport: RecordingTransport, gathering: Any
) -> None:
    gathering.write(b"goodbye")
    gathering.close()
    await asyncio.sleep(0)
    assert (transport.writes, transport.closed) == ([b"goodbye"], True)


async def test_writes_nothing_to_a_connection_that_is_lost(
    transport: RecordingTransport, gathering: Any
) -> None:
    gathering.write(b"too late")
    transport.closed = True
    await asyncio.sleep(0)
    assert transport.writes == []


async def test_is_the_transport_in_all_else(gathering: Any) -> None:
    assert gathering.get_extra_info("peername") == ("127.0.0.1", 1)
    assert not gathering.is_closing()
