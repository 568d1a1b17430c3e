"""The gRPC client side: calls carry token, trace and deadline, and fail with our errors."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.events import SendRequest, listen
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from h2.exceptions import ProtocolError as H2ProtocolError
from multidict import MultiDict

from gridpact.contracts.errors import Reason
from gridpact.kit.caller import current_token
from gridpact.kit.errors import GridpactError, unavailable
from gridpact.kit.log import Log, current_trace_id
from gridpact.kit.rpc.codec import FastCodec
from gridpact.kit.rpc.gathering import GatheringProtocol
from gridpact.kit.rpc.status import StatusDetails, from_grpc
from gridpact.kit.settings import Address
from gridpact.kit.trace import traceparent

log = Log(__name__)

Request = TypeVar("Request")
Answer = TypeVar("Answer")

DEFAULT_DEADLINE_S = 10.0
_LOOK_AGAIN_S = 0.1

Credentials = Callable[[], Awaitable[str | None]]


async def callers_token() -> str | None:
    """The token of the request being served: whoever calls us calls on through us."""
    return current_token.get()


class RpcChannel(Channel):
    """A connection to a gRPC server, made at the first call and again after a loss.

    Generated stubs work on it unchanged. Calls raise GridpactError: the service's own,
    UNAVAILABLE when the server is out of reach, DEADLINE_EXCEEDED after ``deadline_s`` (unless the
    call has a deadline of its own). Close it with ``close()``.
    """

    def __init__(
        self,
        address: Address,
        *,
        credentials: Credentials = callers_token,
        deadline_s: float = DEFAULT_DEADLINE_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            address.host,
            address.port,
            codec=FastCodec(),
            status_details_codec=StatusDetails(),
            ssl=tls,
            # A peer that is gone without a word is found out while calls wait for it.
            config=Configuration(
                _keepalive_time=5.0,
                _keepalive_timeout=5.0,
                _http2_max_pings_without_data=0,
                _http2_min_sent_ping_interval_without_data=5.0,
            ),
        )
        self._credentials = credentials
        self.deadline_s = deadline_s
        listen(self, SendRequest, self._complete)

    def request(  # pyright: ignore[reportIncompatibleMethodOverride]  # its generics say no more
        self,
        name: str,
        cardinality: Any,
        request_type: Any,
        reply_type: Any,
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Any = None,
    ) -> Stream[Any, Any]:
        """The call of a stub, with the default deadline where it has none."""
        if timeout is None and deadline is None:
            timeout = self.deadline_s
        if timeout is not None:
            ends = Deadline.from_timeout(timeout)
            deadline = ends if deadline is None else min(ends, deadline)
        return _Call(
            self,
            name,
            cast("Any", MultiDict(metadata or ())),
            cardinality,
            request_type,
            reply_type,
            codec=self._codec,
            status_details_codec=self._status_details_codec,
            dispatch=self.__dispatch__,
            deadline=deadline,
        )

    def _protocol_factory(self) -> H2Protocol:
        plain = super()._protocol_factory()
        return GatheringProtocol(plain.handler, plain.config, plain.h2_config)

    async def _complete(self, event: SendRequest) -> None:
        # Who calls for nobody in particular, as for a whole batch, has no trace to pass on.
        if current_trace_id.get():
            event.metadata["traceparent"] = traceparent()
        if "authorization" not in event.metadata:
            token = await self._credentials()
            if token is not None:
                event.metadata["authorization"] = f"Bearer {token}"


class Conversation(Generic[Request, Answer]):
    """A streaming call that is left open, so that many requests share what a call costs.

    The service answers every request once, in order. A call serves for half of its deadline, so
    that a request has at least the other half, and not after a failure. ``ask`` raises what a call
    of its own would.
    """

    def __init__(
        self, channel: RpcChannel, path: str, asked: type[Request], answered: type[Answer]
    ) -> None:
        self._channel = channel
        self._method = (path, Cardinality.STREAM_STREAM, asked, answered)
        self._stream: Stream[Request, Answer] | None = None
        self._ends_s = 0.0
        self._turn = asyncio.Lock()
        self._farewells: set[asyncio.Task[None]] = set()

    async def ask(self, request: Request) -> Answer:
        """The answer to one request."""
        async with self._turn:
            stream = await self._current()
            try:
                await stream.send_message(request)
                answer = await stream.recv_message()
                if answer is None:
                    raise StreamTerminatedError("no answer")
            except BaseException as error:
                self._stream = None
                # What the service says of it is more than that it has ended.
                await stream.__aexit__(type(error), error, error.__traceback__)
                raise
            return answer

    async def _current(self) -> Stream[Request, Answer]:
        now_s = asyncio.get_running_loop().time()
        if self._stream is not None and now_s < self._ends_s and _is_open(self._stream):
            return self._stream
        self._end_call()
        stream = self._channel.request(*self._method)
        self._stream = await stream.__aenter__()
        self._ends_s = now_s + self._channel.deadline_s / 2
        asyncio.get_running_loop().call_at(self._ends_s, self._end_idle, stream)
        return self._stream

    def _end_idle(self, stream: Stream[Request, Answer]) -> None:
        if stream is not self._stream:
            return
        if self._turn.locked():
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_S, self._end_idle, stream)
        else:
            self._end_call()

    def _end_call(self) -> None:
        if self._stream is not None:
            farewell = asyncio.create_task(_end(self._stream))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)
        self._stream = None


def _is_open(stream: Stream[Any, Any]) -> bool:
    """Whether it is worth sending something: the other side may have ended it meanwhile."""
    inner = getattr(stream, "_stream", None)
    return inner is None or (inner.closable and inner.trailers is None)


async def _end(stream: Stream[Any, Any]) -> None:
    """Ends a call of which everything is answered: how it ends, nobody has to know."""
    error: Exception | None = None
    try:
        await stream.end()
    except Exception:
        error = StreamTerminatedError("it has ended already")
    with suppress(Exception):
        # Not our own, which tells what has failed.
        await Stream.__aexit__(stream, error and type(error), error, None)


class _Call(Stream[Any, Any]):
    """A call whose failures are GridpactErrors."""

    _cancelling = 0

    async def __aenter__(self) -> _Call:
        self._cancelling = _current_task().cancelling()
        try:
            await super().__aenter__()
        except TimeoutError as error:
            raise _translated(error) from error
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        except Exception as error:
            self._take_back_cancel()
            raise _translated(error) from error
        if isinstance(exc_val, Exception):
            self._take_back_cancel()
            raise _translated(exc_val) from exc_val

    def _take_back_cancel(self) -> None:
        """Takes back the cancellation by which grpclib has woken the task.

        A task that goes on with it has no timeouts any more: before Python 3.11.3, each would
        cancel it.
        """
        if _current_task().cancelling() > self._cancelling:
            _current_task().uncancel()


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def _translated(error: Exception) -> Exception:
    match error:
        case GRPCError():
            return from_grpc(error)
        case TimeoutError():
            return GridpactError(Reason.DEADLINE_EXCEEDED, "the service took too long")
        case OSError() | StreamTerminatedError() | ProtocolError() | H2ProtocolError():
            log.warning("service-unreachable", cause=f"{type(error).__name__}: {error}")
            return unavailable("the service does not answer")
        case _:
            return error
