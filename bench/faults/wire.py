"""A faulty network: a TCP relay whose two directions are held, slowed, cut up or broken at will.

The toxics are those of toxiproxy; they act on connections that are open as on new ones. Nothing is
lost while a direction is held, as in TCP nothing is: it comes late, or never if the peers gave up.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from gridpact.kit.settings import Address

_CHUNK_BYTES = 65536
# A peer that does not read shall be felt before the kernel has taken megabytes.
_KERNEL_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Direction:
    """What is done to bytes that go one way. ``moved_bytes`` and the others count what was done."""

    latency_s: float = 0.0
    bytes_per_s: float = 0.0
    slice_bytes: int = 0
    # The connection ends in the middle of the next chunk, orderly or by a reset.
    breaks: str = ""
    moved_bytes: int = 0
    largest_bytes: int = 0
    held_bytes: int = 0
    late_bytes: int = 0
    slice_count: int = 0
    broken_count: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    def hold(self) -> None:
        """Nothing gets through any more, and nothing says so."""
        self._open.clear()

    def heal(self) -> None:
        """As at first; what was counted stays."""
        self.latency_s = self.bytes_per_s = 0.0
        self.slice_bytes, self.breaks = 0, ""
        self._open.set()

    async def passage(self, size: int) -> None:
        """Returns when a chunk of this size may go on."""
        if not self._open.is_set():
            self.held_bytes += size
            await self._open.wait()
        delay_s = self.latency_s + (size / self.bytes_per_s if self.bytes_per_s else 0.0)
        if delay_s:
            self.late_bytes += size
            await asyncio.sleep(delay_s)


class Wire:
    """A relay to whatever ``target`` names at the time of a connection."""

    def __init__(self, target: Callable[[], Address | None]) -> None:
        self._target = target
        self.there = Direction()
        self.back = Direction()
        self.connection_count = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.address: Address

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        """Forwards while entered."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
        listening.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(self._connected, sock=listening, backlog=1024)
        self.address = Address("127.0.0.1", listening.getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            self.heal()
            self.cut()
            await server.wait_closed()

    def heal(self) -> None:
        """Ends every fault of the wire."""
        self.there.heal()
        self.back.heal()

    def cut(self) -> int:
        """Resets every connection that is open; how many there were."""
        writers = [*self._writers]
        for writer in writers:
            _reset(writer)
        return len(writers) // 2

    async def _connected(self, near: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._target()
        try:
            if target is None:
                raise ConnectionRefusedError
            far, far_writer = await asyncio.open_connection(target.host, target.port)
        except OSError:
            _reset(writer)
            return
        both = {writer, far_writer}
        self.connection_count += 1
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(near, far_writer, writer, self.there))
                pumps.create_task(_pump(far, writer, far_writer, self.back))
        finally:
            self._writers -= both
            for each in both:
                each.transport.abort()


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    other: asyncio.StreamWriter,
    direction: Direction,
) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            await direction.passage(len(data))
            if writer.is_closing():
                break  # it was cut meanwhile
            if direction.breaks:
                # The first broken chunk is the only one: the connection ends with it.
                how, direction.breaks = direction.breaks, ""
                direction.broken_count += 1
                writer.write(data[: max(1, len(data) // 2)])
                await writer.drain()
                if how == "reset":
                    _reset(writer)
                    _reset(other)
                    return
                break
            await _write(writer, data, direction)
    for each in (writer, other):
        with suppress(OSError):
            each.close()


async def _write(writer: asyncio.StreamWriter, data: bytes, direction: Direction) -> None:
    size = direction.slice_bytes
    if not size:
        writer.write(data)
        await writer.drain()
        direction.moved_bytes += len(data)
        direction.largest_bytes = max(direction.largest_bytes, len(data))
        return
    for start in range(0, len(data), size):
        writer.write(data[start : start + size])
        await writer.drain()
        direction.slice_count += 1
        direction.moved_bytes += size
        # Else the kernel would put the slices together again.
        await asyncio.sleep(0)


def _reset(writer: asyncio.StreamWriter) -> None:
    plug = writer.get_extra_info("socket")
    with suppress(OSError):
        if plug is not None:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
