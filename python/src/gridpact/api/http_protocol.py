"""HTTP/1.1 as it comes off the socket: uvicorn's protocol, bounded where uvicorn is not."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
HEAD_S = 15.0
STALL_S = 30.0
LINGER_S = 2.0


class _Lingering:
    """The transport of one answer. Closing it waits until the caller has said what it was saying.

    Who is refused in the middle of a body hears of it only when it stops to listen. Closed at once,
    with unread bytes, the connection would be reset, and the answer lost on its way.
    """

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._transport = protocol.transport
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self._protocol.cycle.more_body:
            self._protocol.linger()
        else:
            self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """Hangs up on whoever sends a request head, or a trailer, that is endless or never ends.

    Both are held in memory before anybody has shown a token. Hangs up as well on whoever reads
    nothing of an answer for ``STALL_S``, and on who is refused and does not end its body within
    ``LINGER_S``.
    """

    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _farewell: asyncio.TimerHandle | None = None
    # Received since the last of what is handed on: the body, the end of a head or of a message.
    _pending_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_stall()
        if self._farewell is not None:
            self._farewell.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._pending_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._pending_bytes = 0
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", _Lingering(self))

    def on_body(self, body: bytes) -> None:
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._pending_bytes = 0
        super().on_message_complete()
        if self._farewell is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stall()
        super().resume_writing()

    def linger(self) -> None:
        """Reads the rest of a body for nobody, and hangs up at its end or after ``LINGER_S``."""
        if self._farewell is None:
            self._farewell = self.loop.call_later(LINGER_S, self.transport.close)

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
