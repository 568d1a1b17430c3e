"""A streaming call that is left open, on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import ClassVar

import pytest

from gridpact.contracts.errors import Reason
from gridpact.contracts.proto.gridpact.tasks.v1 import (
    CompleteAttempt,
    CompleteAttemptsRequest,
    CompleteAttemptsResponse,
    CompletedAttempt,
    DeliveryServiceBase,
    Lease,
)
from gridpact.kit.caller import Access
from gridpact.kit.errors import GridpactError
from gridpact.kit.rpc import server
from gridpact.kit.rpc.client import Conversation, RpcChannel
from gridpact.kit.settings import Address
from gridpact.kit.tokens import TokenVerifier
from tests import tokens
from tests.tcp_relay import Relay

SOON_S = 10.0

Attempts = Conversation[CompleteAttemptsRequest, CompleteAttemptsResponse]


class Service(DeliveryServiceBase):
    """Answers with the name that it is asked with, when it may; refuses the name "bad"."""

    ACCESS: ClassVar[Mapping[str, Access]] = dict.fromkeys(
        (
            "OpenAttempts",
            "FetchPayload",
            "RenewLeases",
            "ReportProgress",
            "CompleteAttempts",
            "ReplayTasks",
        ),
        Access.PUBLIC,
    )

    def __init__(self) -> None:
        self.call_count = 0
        self.asked = asyncio.Semaphore(0)
        self.ended = asyncio.Semaphore(0)
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def complete_attempts(
        self, messages: AsyncIterator[CompleteAttemptsRequest]
    ) -> AsyncIterator[CompleteAttemptsResponse]:
        self.call_count += 1
        try:
            async for message in messages:
                self.asked.release()
                await self.may_answer.wait()
                [attempt] = message.attempts
                assert attempt.lease is not None
                name = attempt.lease.task_id
                if name == "bad":
                    raise GridpactError(Reason.TASK_TIMEOUT, "for the test")
                yield CompleteAttemptsResponse(attempts=[CompletedAttempt(task_id=name)])
        finally:
            self.ended.release()


@pytest.fixture
def service() -> Service:
    return Service()


def serving(service: Service, address: Address) -> AbstractAsyncContextManager[None]:
    verifier = TokenVerifier(tokens.keys(), frozenset())
    return server.serving_rpc([service], address, verifier, {})


def conversation(channel: RpcChannel) -> Attempts:
    path = "/gridpact.tasks.v1.DeliveryService/CompleteAttempts"
    return Conversation(channel, path, CompleteAttemptsRequest, CompleteAttemptsResponse)


@pytest.fixture
async def attempts(service: Service, address: Address) -> AsyncIterator[Attempts]:
    async with serving(service, address):
        channel = RpcChannel(address)
        yield conversation(channel)
        channel.close()


async def ask(attempts: Attempts, name: str) -> str:
    request = CompleteAttemptsRequest(attempts=[CompleteAttempt(lease=Lease(task_id=name))])
    async with asyncio.timeout(SOON_S):
        [attempt] = (await attempts.ask(request)).attempts
    return attempt.task_id


async def test_many_requests_share_a_call(service: Service, attempts: Attempts) -> None:
    names = [f"{number}" for number in range(50)]
    assert [await ask(attempts, name) for name in names] == names
    assert await asyncio.gather(*(ask(attempts, name) for name in names)) == names
    assert service.call_count == 1


async def test_an_error_crosses_and_the_next_request_is_served(
    service: Service, attempts: Attempts
) -> None:
    assert await ask(attempts, "1") == "1"
    with pytest.raises(GridpactError, match="for the test") as raised:
        await ask(attempts, "bad")
    assert raised.value.reason is Reason.TASK_TIMEOUT
    assert await ask(attempts, "2") == "2"
    assert service.call_count == 2


async def test_a_call_is_replaced_before_its_deadline(service: Service, attempts: Attempts) -> None:
    assert await ask(attempts, "1") == "1"
    attempts._ends_s = 0.0  # pyright: ignore[reportPrivateUsage]
    assert await ask(attempts, "2") == "2"
    assert service.call_count == 2


async def test_nothing_is_left_of_a_call_whose_deadline_has_passed(
    service: Service,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when this process stood still."""
    monkeypatch.setattr(Conversation, "_end_idle", lambda *_: None)
    async with serving(service, address):
        channel = RpcChannel(address, deadline_s=0.2)
        attempts = conversation(channel)
        for number in range(3):
            assert await ask(attempts, f"{number}") == f"{number}"
            await asyncio.wait_for(service.ended.acquire(), SOON_S)
        assert await ask(attempts, "last") == "last"
        async with asyncio.timeout(SOON_S):
            while attempts._farewells:  # noqa: ASYNC110  # pyright: ignore[reportPrivateUsage]
                await asyncio.sleep(0)
        protocol = channel._protocol  # pyright: ignore[reportPrivateUsage]
        assert protocol is not None
        assert len(protocol.processor.streams) == 1
        channel.close()
    assert [it for it in caplog.records if it.name == "gridpact.kit.rpc.client"] == []


async def test_a_call_that_nobody_needs_is_ended_before_its_deadline(
    service: Service, address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "grpclib.server")
    async with serving(service, address):
        channel = RpcChannel(address, deadline_s=0.2)
        assert await ask(conversation(channel), "1") == "1"
        await asyncio.wait_for(service.ended.acquire(), SOON_S)
        channel.close()
    assert not caplog.records


async def test_the_server_ends_a_call_that_is_left_open_for_too_long(
    service: Service, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much time its caller gives it: a token is looked at once a call."""
    monkeypatch.setattr(server, "DEFAULT_DEADLINE_S", 0.1)
    assert await ask(attempts, "1") == "1"
    await asyncio.wait_for(service.ended.acquire(), SOON_S)


async def test_who_gives_up_leaves_no_answer_to_the_next(
    service: Service, attempts: Attempts
) -> None:
    service.may_answer.clear()
    first = asyncio.create_task(ask(attempts, "1"))
    await asyncio.wait_for(service.asked.acquire(), SOON_S)
    first.cancel()
    await asyncio.wait([first])
    service.may_answer.set()
    assert await ask(attempts, "2") == "2"


async def test_a_lost_connection_is_unavailable_and_made_again(
    service: Service, address: Address
) -> None:
    async with serving(service, address), Relay(address).running() as relay:
        channel = RpcChannel(relay.address)
        attempts = conversation(channel)
        assert await ask(attempts, "1") == "1"
        service.may_answer.clear()
        lost = asyncio.create_task(ask(attempts, "2"))
        for _ in range(2):
            await asyncio.wait_for(service.asked.acquire(), SOON_S)
        relay.cut()
        with pytest.raises(GridpactError) as raised:
            await lost
        assert raised.value.reason is Reason.UNAVAILABLE
        service.may_answer.set()
        assert await ask(attempts, "3") == "3"
        relay.cut()
        # Whether the cut is known by now or not, no more than one request is refused.
        results = [await asyncio.gather(ask(attempts, "4"), return_exceptions=True) for _ in "12"]
        assert results[-1] == ["4"]
        channel.close()


async def test_a_server_that_was_replaced_refuses_nothing(
    service: Service, address: Address
) -> None:
    channel = RpcChannel(address)
    attempts = conversation(channel)
    for number in range(3):
        async with serving(service, address):
            assert await ask(attempts, f"{number}") == f"{number}"
    channel.close()


async def test_a_failure_leaves_no_cancellation_behind(service: Service, address: Address) -> None:
    """grpclib cancels the task that asks; before Python 3.11.3 no timeout works in it any more."""
    service.may_answer.clear()
    async with serving(service, address), Relay(address).running() as relay:
        channel = RpcChannel(relay.address, deadline_s=0.2)
        attempts = conversation(channel)
        request = CompleteAttemptsRequest(attempts=[CompleteAttempt(lease=Lease(task_id="1"))])
        for fail in (lambda: None, relay.cut):
            asyncio.get_running_loop().call_later(0.1, fail)
            with pytest.raises(GridpactError):
                await attempts.ask(request)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
        channel.close()


async def test_a_server_that_ends_waits_for_the_answer_and_not_for_the_next_request(
    service: Service, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_S", 60.0)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(service, address))
        channel, other = RpcChannel(address), RpcChannel(address)
        idle, busy = conversation(channel), conversation(other)
        assert (await ask(idle, "1"), await ask(busy, "2")) == ("1", "2")
        service.may_answer.clear()
        last = asyncio.create_task(ask(busy, "3"))
        for _ in range(3):
            await asyncio.wait_for(service.asked.acquire(), SOON_S)
        asyncio.get_running_loop().call_soon(service.may_answer.set)
        async with asyncio.timeout(SOON_S):
            await stack.aclose()
        assert await last == "3"
        for ended in (idle, busy):
            with pytest.raises(GridpactError) as raised:
                await ask(ended, "4")
            assert raised.value.reason is Reason.UNAVAILABLE
        channel.close()
        other.close()
