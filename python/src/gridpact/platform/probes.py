"""Asks a server whether it serves. Each probe answers False for "not yet" and never raises."""

from __future__ import annotations

import asyncio

from gridpact.kit.settings import Address

_TIMEOUT_SECONDS = 2.0


async def accepts(address: Address) -> bool:
    """Whether something listens."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def http_is_ready(address: Address, path: str) -> bool:
    """Whether ``GET path`` answers 200."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.split()[1:2] == [b"200"]


async def grpc_is_serving(address: Address) -> bool:
    """Whether grpc.health.v1 reports the whole server as SERVING."""
    # Half of this process's start would go into these imports, and only this probe needs them.
    from grpclib.client import Channel
    from grpclib.const import Cardinality
    from grpclib.exceptions import GRPCError, StreamTerminatedError
    from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    channel = Channel(address.host, address.port)
    try:
        async with (
            asyncio.timeout(_TIMEOUT_SECONDS),
            channel.request(
                "/grpc.health.v1.Health/Check",
                Cardinality.UNARY_UNARY,
                HealthCheckRequest,
                HealthCheckResponse,
            ) as stream,
        ):
            # A request that names no service asks about the server as a whole.
            await stream.send_message(HealthCheckRequest(), end=True)
            reply = await stream.recv_message()
    except (OSError, TimeoutError, GRPCError, StreamTerminatedError):
        return False
    finally:
        channel.close()
    return reply is not None and reply.status == HealthCheckResponse.SERVING
