"""The gRPC server: every call is sized, traced, authenticated, authorised and timed here."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, cast
from weakref import WeakSet

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpclib.const import Status
from grpclib.events import RecvRequest, listen
from grpclib.exceptions import GRPCError
from grpclib.health.v1 import health_pb2
from grpclib.protocol import H2Protocol
from grpclib.reflection.service import ServerReflection
from grpclib.reflection.v1 import reflection_pb2
from grpclib.server import Server, Stream
from grpclib.stream import StreamIterator

from gridpact.contracts.errors import Reason
from gridpact.kit.caller import Access, current_caller, current_token
from gridpact.kit.errors import GridpactError, unavailable
from gridpact.kit.log import Log
from gridpact.kit.rpc.access import RpcService, access_by_path, method_paths
from gridpact.kit.rpc.codec import FastCodec, contract_descriptors
from gridpact.kit.rpc.gathering import GatheringProtocol
from gridpact.kit.rpc.health import Check, Health
from gridpact.kit.rpc.status import StatusDetails, to_grpc
from gridpact.kit.settings import Address
from gridpact.kit.tokens import TokenVerifier, bearer_token
from gridpact.kit.trace import begin_trace
from gridpact.kit.violation import ContractError

log = Log(__name__)

# A task's input or result of 16 MiB, and the fields beside it.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024 + 64 * 1024
# For callers that set no deadline of their own.
DEFAULT_DEADLINE_S = 30.0
DRAIN_S = 3.0


@asynccontextmanager
async def serving_rpc(
    services: Collection[RpcService],
    address: Address,
    verifier: TokenVerifier,
    checks: Mapping[str, Check],
) -> AsyncIterator[None]:
    """Serves these services, grpc.health.v1 and reflection on ``address`` while entered.

    Health says SERVING while every check passes. On leaving, health says NOT_SERVING, new calls are
    UNAVAILABLE, and calls under way have three seconds to end.
    """
    calls = _Calls(access_by_path(services), verifier)
    names = frozenset(path.split("/")[1] for path in method_paths(services))
    health = Health(checks, names)
    open_to_all = ServerReflection.extend([*services, health], pool=_shown())
    calls.table |= {
        path: Access.PUBLIC for path in method_paths(open_to_all) if path not in calls.table
    }
    server = _Server(open_to_all, codec=FastCodec(), status_details_codec=StatusDetails())
    listen(server, RecvRequest, calls.on_request)
    await server.start(address.host, address.port)
    try:
        yield
    finally:
        health.drain()
        await calls.drained(DRAIN_S)
        server.close()
        await server.wait_closed()


class _Server(Server):
    """grpclib's server, which leaves its connections open when it closes; this one does not."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._protocols: WeakSet[H2Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        plain = super()._protocol_factory()
        protocol = GatheringProtocol(plain.handler, plain.config, plain.h2_config)
        self._protocols.add(protocol)
        return protocol

    def close(self) -> None:
        super().close()
        for protocol in self._protocols:
            # One that was accepted in this very moment has none yet.
            if (processor := getattr(protocol, "processor", None)) is not None:
                processor.close("server closed")


class _Calls:
    """The calls under way, and the way into each."""

    def __init__(self, table: dict[str, Access], verifier: TokenVerifier) -> None:
        self.table = table
        self._verifier = verifier
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        # Streams of calls that have been answered so far, and wait for another request.
        self._between_requests: set[Any] = set()

    async def drained(self, seconds: float) -> None:
        """Takes no new call, and no more of one, and waits for what is under way, at most this
        long."""
        self._draining = True
        for stream in self._between_requests:
            stream.buffer.eof()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("calls-cut-off", count=self._count)

    async def on_request(self, event: RecvRequest) -> None:
        """Puts everything that every call needs around the method."""
        method, metadata, access = event.method_func, event.metadata, self.table[event.method_name]
        given_time = event.deadline is not None
        name = event.method_name

        async def call(stream: Stream[Any, Any]) -> None:
            # Every call runs in a task of its own, so these context variables are its own too.
            begin_trace(_text(metadata.get("traceparent")))
            self._count += 1
            self._idle.clear()
            try:
                await self._authorise(_text(metadata.get("authorization")), access)
                # A token is looked at once a call: none may be left open for as long as its
                # caller likes.
                is_long = given_time and not stream._cardinality.client_streaming  # pyright: ignore[reportPrivateUsage]
                async with asyncio.timeout(None if is_long else DEFAULT_DEADLINE_S):
                    await method(cast("Stream[Any, Any]", _Checked(stream, self)))
            except Exception as error:
                raise _as_grpc(error, name) from error
            finally:
                self._count -= 1
                if not self._count:
                    self._idle.set()

        event.method_func = call

    @contextmanager
    def between_requests(self, stream: Any) -> Iterator[None]:
        """The call has been answered so far; when the server ends, there is no other request."""
        if self._draining:
            stream.buffer.eof()
        self._between_requests.add(stream)
        try:
            yield
        finally:
            self._between_requests.discard(stream)

    async def _authorise(self, authorization: str | None, access: Access) -> None:
        if self._draining:
            raise unavailable("the service is about to end")
        if access is Access.PUBLIC:
            return
        token = bearer_token(authorization)
        caller = await self._verifier.caller(token)
        caller.require(access)
        current_caller.set(caller)
        current_token.set(token)


class _Checked(StreamIterator[Any]):
    """A stream that refuses a message by its stated size, before it is read, and by its form.

    grpclib reads whatever size a peer states. It offers no hook between the five bytes that state
    it and the message, hence the look inside.
    """

    def __init__(self, stream: Stream[Any, Any], calls: _Calls) -> None:
        self._stream = stream
        self._calls = calls
        self._has_received = False

    async def recv_message(self) -> Any:
        inner: Any = self._stream
        with self._calls.between_requests(inner._stream) if self._has_received else nullcontext():
            prefix = await inner._stream.recv_data(5)
        self._has_received = True
        if not prefix:
            return None
        compressed, size = struct.unpack(">?I", prefix)
        if compressed:
            raise GRPCError(Status.UNIMPLEMENTED, "compressed messages are not taken")
        if size > MAX_MESSAGE_BYTES:
            words = f"a message may have {MAX_MESSAGE_BYTES} bytes; this one has {size}"
            raise GridpactError(Reason.MESSAGE_TOO_LARGE, words, limit_bytes=MAX_MESSAGE_BYTES)
        try:
            data = await inner._stream.recv_data(size)
        except AssertionError as error:
            # That the server ends was said in the middle of the message.
            raise unavailable("the service is about to end") from error
        try:
            return inner._codec.decode(data, inner._recv_type)
        except DecodeError as error:
            words = "the message is no well-formed protobuf"
            raise GridpactError(Reason.MESSAGE_MALFORMED, words) from error

    async def send_message(self, message: Any) -> None:
        await self._stream.send_message(message)


def _as_grpc(error: Exception, method: str) -> GRPCError:
    match error:
        case GRPCError():
            return error
        case GridpactError():
            pass
        case ContractError():
            error = GridpactError.of(error)
        case TimeoutError():
            error = GridpactError(Reason.DEADLINE_EXCEEDED, "the call took too long")
        case _:
            log.exception("call-failed", method=method)
            error = GridpactError(Reason.INTERNAL, "internal error")
    if error.reason is Reason.INTERNAL and error.__cause__ is not None:
        log.error("call-failed", method=method, cause=str(error))
    return to_grpc(error)


def _shown() -> DescriptorPool:
    """The pool that reflection shows: the contracts' descriptors and those of health."""
    pool = contract_descriptors()
    for theirs in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(theirs.DESCRIPTOR.serialized_pb)
    return pool


def _text(value: str | bytes | None) -> str | None:
    return value if isinstance(value, str) else None
