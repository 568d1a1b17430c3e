"""A probe says yes to a server that serves, and no, without an error, to everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server

from gridpact.kit.settings import Address
from gridpact.platform.addresses import HOST, PortClaims
from gridpact.platform.probes import grpc_is_serving, http_is_ready


@asynccontextmanager
async def answering(reply: bytes) -> AsyncGenerator[Address]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readline()) == b"GET /health/ready HTTP/1.1\r\n"
        writer.write(reply)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        yield Address(HOST, server.sockets[0].getsockname()[1])


@pytest.fixture
def unused() -> Address:
    claims = PortClaims()
    address = claims.claim(["anything"])["anything"]
    claims.close()
    return address


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"\x00\xff nonsense 200\r\n", False),
        (b"", False),
    ],
)
async def test_http(reply: bytes, expected: bool) -> None:
    async with answering(reply) as address:
        assert await http_is_ready(address, "/health/ready") is expected


@pytest.mark.parametrize("serving", [True, False])
async def test_grpc(serving: bool, unused: Address) -> None:
    status = ServiceStatus()
    status.set(serving)
    server = Server([Health({Health(): [status]})])
    await server.start(unused.host, unused.port)
    try:
        assert await grpc_is_serving(unused) is serving
    finally:
        server.close()
        await server.wait_closed()


async def test_nobody_there(unused: Address) -> None:
    assert not await http_is_ready(unused, "/health/ready")
    assert not await grpc_is_serving(unused)


async def test_grpc_meets_something_else() -> None:
    async with await asyncio.start_server(lambda reader, writer: writer.close(), HOST, 0) as server:
        assert not await grpc_is_serving(Address(HOST, server.sockets[0].getsockname()[1]))
