"""A whole node: the front over a real socket, workers in real processes."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gridpact.compute.serve.front import serving
from gridpact.contracts.channels import LIMITS, RECEIVE_FROM_NODE
from gridpact.contracts.messages import (
    Accepted,
    Cancel,
    Error,
    Heartbeat,
    Hello,
    ProbeInput,
    Progress,
    Result,
    TaskMessage,
    Welcome,
)
from gridpact.kit.node_auth import bearer_of_bridge, proof_of_node
from gridpact.kit.settings import Address
from gridpact.kit.wire import Message, decode_one_of, encode
from tests.compute.test_kinds import dispatch_input

SECRET = "a shared secret"
TASK_ID = "01981f6e-7c00-7000-8000-{:012d}"


def bearer(secret: str = SECRET) -> str:
    return bearer_of_bridge(secret, int(time.time()), secrets.token_hex(16))


class Bridge:
    """The other side, by hand."""

    def __init__(self, socket: ClientConnection, nonce: str) -> None:
        self.socket = socket
        self.nonce = nonce

    async def send(self, message: Message) -> None:
        await self.socket.send(encode(message))

    async def receive(self) -> Any:
        """The next message that is no heartbeat."""
        while True:
            data = await self.socket.recv()
            assert isinstance(data, bytes)
            message = decode_one_of(RECEIVE_FROM_NODE, data, LIMITS)
            if not isinstance(message, Heartbeat):
                return message

    async def ask(self, number: int, kind: str, body: bytes, *, remaining_ms: int = 60_000) -> None:
        await self.send(
            TaskMessage(
                task_id=TASK_ID.format(number),
                kind=kind,
                attempt=1,
                fencing_token=number,
                remaining_ms=remaining_ms,
                encoding="identity",
                body=body,
            )
        )

    async def last(self) -> Result | Error:
        """The message that ends the next attempt."""
        while True:
            message = await self.receive()
            if isinstance(message, Result | Error):
                return message
            assert isinstance(message, Accepted | Progress)


@asynccontextmanager
async def node(workers: int = 1) -> AsyncGenerator[str]:
    async with serving(Address("127.0.0.1", 0), SECRET, workers, 1000) as facts:
        yield f"ws://{facts['address']}/compute"


@asynccontextmanager
async def bridge_to(url: str) -> AsyncGenerator[Bridge]:
    headers = {"Authorization": bearer()}
    async with connect(url, additional_headers=headers, compression=None) as socket:
        bridge = Bridge(socket, secrets.token_hex(16))
        await bridge.send(Hello(contract_version=1, bridge_id="test", nonce=bridge.nonce))
        welcome = await bridge.receive()
        assert isinstance(welcome, Welcome)
        assert welcome.proof == proof_of_node(SECRET, bridge.nonce)
        yield bridge


def probe(hold_ms: int) -> bytes:
    return encode(ProbeInput(hold_ms=hold_ms))


def workers() -> list[psutil.Process]:
    """The worker processes that this test's node has started."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
        and "gridpact.compute.serve.worker" in child.cmdline()
    ]


async def test_welcomes_a_bridge_and_computes() -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "dispatch", encode(dispatch_input()))
        result = await bridge.last()
        assert isinstance(result, Result)
        assert result.solve_ms > 0


async def test_says_of_a_task_that_takes_longer_that_a_worker_has_it() -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=100))
        assert await bridge.receive() == Accepted(task_id=TASK_ID.format(1), fencing_token=1)
        assert isinstance(await bridge.receive(), Result)


async def test_refuses_whoever_is_no_bridge() -> None:
    """401 without a valid token, 403 for browsers, 404 elsewhere; never a connection."""
    async with node() as url:
        for address, headers, status in (
            (url, {}, 401),
            (url, {"Authorization": bearer("another secret")}, 401),
            (url, {"Authorization": bearer(), "Origin": "https://example.org"}, 403),
            (f"{url}/other", {"Authorization": bearer()}, 404),
        ):
            with pytest.raises(InvalidStatus) as raised:
                await connect(address, additional_headers=headers)
            assert raised.value.response.status_code == status


async def test_refuses_a_token_that_was_used() -> None:
    async with node() as url:
        headers = {"Authorization": bearer()}
        async with connect(url, additional_headers=headers):
            with pytest.raises(InvalidStatus):
                await connect(url, additional_headers=headers)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (encode(Heartbeat(sequence=0)), "PROTOCOL_VIOLATION"),
        (b"\xc1", "MESSAGE_MALFORMED"),
        ("text", "PROTOCOL_VIOLATION"),
    ],
)
async def test_closes_a_connection_that_breaks_the_order(first: bytes | str, reason: str) -> None:
    async with node() as url:
        headers = {"Authorization": bearer()}
        async with connect(url, additional_headers=headers, compression=None) as socket:
            await socket.send(first)
            error = await Bridge(socket, "").receive()
            assert isinstance(error, Error)
            assert error.reason == reason
            with pytest.raises(ConnectionClosed):
                await socket.recv()


async def test_cancel_kills_the_worker_and_the_spare_goes_on() -> None:
    """The answer comes within half a second; the next task does not wait for a new process."""
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=600_000))
        assert isinstance(await bridge.receive(), Accepted)
        before = {process.pid for process in workers()}
        started = time.perf_counter()
        await bridge.send(Cancel(task_id=TASK_ID.format(1), fencing_token=1))
        error = await bridge.last()
        assert time.perf_counter() - started < 0.5
        assert isinstance(error, Error)
        assert (error.reason, error.retryable) == ("CANCELLED", False)
        assert len(before & {process.pid for process in workers()}) < len(before)
        await bridge.ask(2, "probe", probe(hold_ms=0))
        assert isinstance(await bridge.last(), Result)


async def test_cancel_right_after_the_task_is_answered_once() -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=600_000))
        await bridge.send(Cancel(task_id=TASK_ID.format(1), fencing_token=1))
        error = await bridge.last()
        assert isinstance(error, Error)
        assert error.reason == "CANCELLED"
        await bridge.ask(2, "probe", probe(hold_ms=0))
        assert isinstance(await bridge.last(), Result)


async def test_cancel_of_an_unknown_attempt_is_ignored() -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=300))
        await bridge.send(Cancel(task_id=TASK_ID.format(1), fencing_token=99))
        assert isinstance(await bridge.last(), Result)


async def test_task_stops_when_its_time_is_out() -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=600_000), remaining_ms=150)
        error = await bridge.last()
        assert isinstance(error, Error)
        assert error.reason == "TASK_TIMEOUT"


async def test_killed_worker_is_lost_and_replaced() -> None:
    """WORKER_LOST can be tried again; the node goes on."""
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=600_000))
        assert isinstance(await bridge.receive(), Accepted)
        for process in workers():
            os.kill(process.pid, signal.SIGKILL)
        error = await bridge.last()
        assert isinstance(error, Error)
        assert (error.reason, error.retryable) == ("WORKER_LOST", True)
        await bridge.ask(2, "probe", probe(hold_ms=0))
        assert isinstance(await bridge.last(), Result)


async def test_lost_bridge_stops_its_tasks() -> None:
    """A node without its bridge computes nothing that nobody will hear of."""
    async with node() as url:
        async with bridge_to(url) as bridge:
            await bridge.ask(1, "probe", probe(hold_ms=600_000))
            assert isinstance(await bridge.receive(), Accepted)
        async with bridge_to(url) as bridge:
            number = 2
            await bridge.ask(number, "probe", probe(hold_ms=0))
            # Refused as busy until the worker of the lost bridge is free.
            while not isinstance(await bridge.last(), Result):
                number += 1
                await bridge.ask(number, "probe", probe(hold_ms=0))


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("riddle", b"\x80", "KIND_UNKNOWN"),
        ("dispatch", b"\x80", "INVALID_ARGUMENT"),
        ("dispatch", b"\xc1", "MESSAGE_MALFORMED"),
        ("probe", b"\x81\xa7hold_ms\xff", "INVALID_ARGUMENT"),
    ],
)
async def test_says_what_is_wrong_with_a_task(kind: str, body: bytes, reason: str) -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, kind, body)
        error = await bridge.last()
        assert isinstance(error, Error)
        assert error.reason == reason
        assert not error.retryable


async def test_large_results_come_compressed() -> None:
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", encode(ProbeInput(result_bytes=1_000_000)))
        result = await bridge.last()
        assert isinstance(result, Result)
        assert result.encoding == "zstd"
        assert len(result.body) < 10_000


async def test_answers_heartbeats_while_every_worker_computes() -> None:
    """The front never computes: messages go back and forth while a worker is held."""
    async with node() as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=600_000))
        assert isinstance(await bridge.receive(), Accepted)
        started = time.perf_counter()
        await (await bridge.socket.ping())
        assert time.perf_counter() - started < 0.25


async def test_leaves_no_process_behind() -> None:
    async with node(workers=2) as url, bridge_to(url) as bridge:
        await bridge.ask(1, "probe", probe(hold_ms=600_000))
        assert isinstance(await bridge.receive(), Accepted)
        assert workers()
    assert workers() == []
