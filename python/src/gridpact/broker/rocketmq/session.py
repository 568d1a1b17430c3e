"""Calls to the gRPC proxy, and what it must know of a consumer before it gives it anything.

A consumer tells its settings over a stream that stays open; a proxy that was started again knows
nothing of them and refuses the consumer. Whoever calls through a Session finds the stream open,
or opened again.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import grpc
import grpc.aio

from gridpact.broker.port import BrokerUnavailable
from gridpact.broker.rocketmq import protocol
from gridpact.broker.rocketmq.administration import QueueNames

ANSWER_S = 5.0
_HEARTBEAT_INTERVAL_S = 10.0

# A broker that comes back is noticed at once: a message that waits for it is late already.
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)


# A topic that is not there has no type, and so no message has the right one.
_MISSING = (
    protocol.TOPIC_NOT_FOUND,
    protocol.CONSUMER_GROUP_NOT_FOUND,
    protocol.MESSAGE_TYPE_CONFLICT,
)


class Missing(BrokerUnavailable):
    """The broker knows no such topic or group: it was emptied."""


class Proxy:
    """A channel to the proxies; connects on use, and again whenever it must."""

    def __init__(self, endpoints: str) -> None:
        self._endpoints = endpoints
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    @property
    def stub(self) -> Any:
        """The methods of the messaging service."""
        if self._channel is None:
            # Not before: a channel belongs to the event loop in which it is made.
            self._channel = grpc.aio.insecure_channel(self._endpoints, options=_CHANNEL_OPTIONS)
            self._stub = protocol.MessagingServiceStub(self._channel)
        return self._stub

    async def call(
        self, method: str, request: Any, client_id: str, *, timeout_s: float = ANSWER_S
    ) -> Any:
        """The answer to a request that has one. Raises BrokerUnavailable."""
        try:
            return await getattr(self.stub, method)(
                request,
                timeout=timeout_s,
                metadata=metadata(client_id),
                # A connection that is being made again is worth a moment.
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError as error:
            raise unavailable(error) from error

    async def close(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


class Session:
    """A consumer of one topic, as the proxy knows it."""

    def __init__(self, proxy: Proxy, names: QueueNames) -> None:
        self._proxy = proxy
        self._names = names
        self.client_id = new_client_id()
        self._opening = asyncio.Lock()
        self._open: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Returns when the proxy knows the consumer. Raises BrokerUnavailable."""
        async with self._opening:
            if self._open is not None and not self._open.done():
                return
            try:
                async with asyncio.timeout(ANSWER_S):
                    stream = await self._introduced()
                    await self._beat()
            except grpc.aio.AioRpcError as error:
                raise unavailable(error) from error
            except TimeoutError as error:
                raise BrokerUnavailable("RocketMQ does not take a consumer's settings") from error
            self._open = asyncio.create_task(self._keep(stream), name=f"{self._names.group}")

    def forget(self) -> None:
        """Lets `ready` introduce the consumer again."""
        if self._open is not None:
            self._open.cancel()
            self._open = None

    async def close(self) -> None:
        if self._open is not None:
            self._open.cancel()
            await asyncio.wait([self._open])

    async def _introduced(self) -> Any:
        """The stream, after the proxy has confirmed the settings."""
        command = protocol.TelemetryCommand()
        settings = command.settings
        settings.client_type = protocol.SIMPLE_CONSUMER
        settings.request_timeout.FromTimedelta(timedelta(seconds=ANSWER_S))
        settings.user_agent.language = protocol.PYTHON
        settings.user_agent.version = version("rocketmq-python-client")
        settings.user_agent.hostname = socket.gethostname()
        settings.subscription.group.name = self._names.group
        entry = settings.subscription.subscriptions.add()
        entry.topic.name = self._names.topic
        entry.expression.type = protocol.TAG_FILTER
        entry.expression.expression = "*"
        stream = self._proxy.stub.Telemetry(metadata=metadata(self.client_id), wait_for_ready=True)
        try:
            await stream.write(command)
            while True:
                answer = await stream.read()
                if answer is grpc.aio.EOF:
                    raise BrokerUnavailable("RocketMQ ended a consumer's stream")
                if answer.HasField("settings"):
                    return stream
        except BaseException:
            stream.cancel()
            raise

    async def _keep(self, stream: Any) -> None:
        """Holds the stream until it breaks; its end ends this."""
        beating = asyncio.create_task(self._beat_for_ever())
        try:
            while await stream.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError:
            return
        finally:
            beating.cancel()
            stream.cancel()

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_INTERVAL_S)
            try:
                await self._beat()
            except BrokerUnavailable:
                # The stream tells, or the next call.
                continue

    async def _beat(self) -> None:
        """The proxy drops the settings of a consumer from which it does not hear."""
        request = protocol.HeartbeatRequest()
        request.client_type = protocol.SIMPLE_CONSUMER
        request.group.name = self._names.group
        answer = await self._proxy.call("Heartbeat", request, self.client_id)
        check(answer.status)


def metadata(client_id: str) -> tuple[tuple[str, str], ...]:
    """What the proxy wants to know of the caller with each call."""
    return (
        ("x-mq-client-id", client_id),
        ("x-mq-language", "PYTHON"),
        ("x-mq-protocol", "GRPC_V2"),
        ("x-mq-client-version", version("rocketmq-python-client")),
        ("x-mq-namespace", ""),
    )


def new_client_id() -> str:
    return f"{socket.gethostname()}@{secrets.token_hex(8)}"


def check(status: Any, also_good: tuple[int, ...] = ()) -> None:
    """Raises BrokerUnavailable unless the status is good."""
    if status.code in (protocol.OK, protocol.MULTIPLE_RESULTS) or status.code in also_good:
        return
    kind = Missing if status.code in _MISSING else BrokerUnavailable
    raise kind(f"RocketMQ answered {status.code}: {status.message}")


def unavailable(error: grpc.aio.AioRpcError) -> BrokerUnavailable:
    """What a failed call comes to. A stream is refused in this way when its group is not known."""
    kind = Missing if error.code() is grpc.StatusCode.INVALID_ARGUMENT else BrokerUnavailable
    return kind(f"RocketMQ does not answer: {error.code().name}: {error.details()}")
