"""Asks a server whether it serves. Each probe answers False for "not yet" and never raises."""

from __future__ import annotations

import asyncio

from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError

from gridpact.kit.settings import Address

_TIMEOUT_SECONDS = 2.0


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
    channel = Channel(address.host, address.port, codec=_Bytes())
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            async with channel.request(
                "/grpc.health.v1.Health/Check", Cardinality.UNARY_UNARY, bytes, bytes
            ) as stream:
                # An empty HealthCheckRequest asks about the server as a whole.
                await stream.send_message(b"", end=True)
                reply = await stream.recv_message()
    except (OSError, TimeoutError, GRPCError, StreamTerminatedError):
        return False
    finally:
        channel.close()
    # HealthCheckResponse{status: SERVING}: field 1, varint 1.
    return reply == b"\x08\x01"


class _Bytes(CodecBase):
    """Two constant messages need no generated code."""

    __content_subtype__ = "proto"  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]  # as grpclib's own codecs do

    def encode(self, message: bytes, message_type: type[bytes]) -> bytes:
        return message

    def decode(self, data: bytes, message_type: type[bytes]) -> bytes:
        return data
