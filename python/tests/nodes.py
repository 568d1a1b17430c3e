"""Each compute node as a process of its own, and a bridge that speaks to it by hand."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from websockets.sync.client import ClientConnection, connect

from gridpact.contracts.channels import COMPUTE_ADDRESS, KINDS, LIMITS, RECEIVE_FROM_NODE
from gridpact.contracts.messages import (
    Accepted,
    Cancel,
    Error,
    Heartbeat,
    Hello,
    Progress,
    Result,
    TaskMessage,
    Welcome,
)
from gridpact.kit.compression import Encoding, compress, decompress
from gridpact.kit.node_auth import bearer_of_bridge
from gridpact.kit.settings import Address
from gridpact.kit.wire import Message, build, decode, decode_one_of, encode
from gridpact.platform.compute import compute_nodes
from gridpact.platform.error import PlatformError
from gridpact.platform.options import Engine, PlatformOptions
from tests.bombs import peak_bytes
from tests.running import free_address, running

SECRET = "a shared secret"
SOON_S = 60.0
TASK_ID = "01981f6e-7c00-7000-8000-000000000004"
LOOK_AGAIN_S = 0.02
HEARTBEAT_S = 4.0
OTHERS_S = 20.0


HELLO: Message = Hello(contract_version=1, bridge_id="test", nonce="ab" * 16)


def a_bearer() -> str:
    """The value of `Authorization` with which a bridge may come in, once."""
    return bearer_of_bridge(SECRET, int(time.time()), secrets.token_hex(16))


class Bridge:
    """A connection to a node, greeted; it beats while it waits for an answer."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._socket.send(encode(HELLO))
        welcome = self.receive()
        assert isinstance(welcome, Welcome)
        self.welcome = welcome
        self._tokens = itertools.count(1)

    def ask(
        self,
        kind: str,
        wanted: dict[str, Any],
        *,
        remaining_ms: int = 600_000,
        affinity_key: str | None = None,
    ) -> int:
        """Sends a task; its fencing token."""
        packed = compress(encode(build(KINDS[kind].input, wanted)), 16384)
        return self.ask_packed(kind, packed, remaining_ms=remaining_ms, affinity_key=affinity_key)

    def ask_packed(
        self,
        kind: str,
        packed: tuple[Encoding, bytes],
        *,
        remaining_ms: int = 600_000,
        affinity_key: str | None = None,
    ) -> int:
        """Sends a task with this encoding and body, whatever they hold; its fencing token."""
        token = next(self._tokens)
        encoding, body = packed
        more = {} if affinity_key is None else {"affinity_key": affinity_key}
        self._socket.send(
            encode(
                TaskMessage(
                    task_id=TASK_ID,
                    kind=kind,
                    attempt=1,
                    fencing_token=token,
                    remaining_ms=remaining_ms,
                    encoding=encoding,
                    body=body,
                    **more,
                )
            )
        )
        return token

    def beat(self) -> None:
        """Tells the node that the bridge is there, which it must hear while a test waits."""
        self._socket.send(encode(Heartbeat(sequence=0)))

    def cancel(self, token: int) -> None:
        self._socket.send(encode(Cancel(task_id=TASK_ID, fencing_token=token)))

    def receive(self) -> Welcome | Accepted | Progress | Result | Error:
        """The next message that is no heartbeat."""
        deadline = time.monotonic() + SOON_S
        while True:
            try:
                data = self._socket.recv(HEARTBEAT_S, decode=False)
            except TimeoutError:
                assert time.monotonic() < deadline, "the node says nothing"
                self.beat()
                continue
            message = decode_one_of(RECEIVE_FROM_NODE, data, LIMITS)
            if not isinstance(message, Heartbeat):
                return message

    def until_others(self, count: int) -> None:
        """Passes over all messages up to the heartbeat that says this of other bridges' tasks."""
        deadline = time.monotonic() + OTHERS_S
        while time.monotonic() < deadline:
            try:
                data = self._socket.recv(HEARTBEAT_S, decode=False)
            except TimeoutError:
                self.beat()
                continue
            message = decode_one_of(RECEIVE_FROM_NODE, data, LIMITS)
            if isinstance(message, Heartbeat) and message.others == count:
                return
        raise AssertionError(f"the node does not say that others have {count} tasks")

    def heard(self) -> tuple[list[Progress], Result | Error]:
        """What is said of the next task: its progress, and how it ended."""
        reports: list[Progress] = []
        while True:
            match self.receive():
                case Progress() as report:
                    reports.append(report)
                case Result() | Error() as last:
                    return reports, last
                case Accepted() | Welcome():
                    pass

    def answer(self) -> Result | Error:
        """How the next task ended."""
        return self.heard()[1]


def result_of(kind: str, message: Result | Error) -> Any:
    assert isinstance(message, Result), message
    body = decompress(message.encoding, message.body, LIMITS.decoded_bytes)
    return decode(KINDS[kind].result, body, LIMITS)


def error_of(message: Result | Error) -> Error:
    assert isinstance(message, Error)
    assert message.task_id == TASK_ID
    return message


class Node:
    """A running compute node with one worker and its spare."""

    def __init__(self, engine: str, address: Address, process: psutil.Process) -> None:
        self.engine = engine
        self.address = address
        self._process = process

    @contextmanager
    def bridge(self) -> Iterator[Bridge]:
        headers, url = {"Authorization": a_bearer()}, f"ws://{self.address}{COMPUTE_ADDRESS}"
        with connect(url, additional_headers=headers, compression=None) as socket:
            yield Bridge(socket)

    @property
    def peak_bytes(self) -> int:
        """The most memory that the front process has had."""
        return peak_bytes(self._process.pid)

    def cpu_seconds(self) -> float:
        """What the front and its workers have computed so far, however busy the machine is."""
        times = self._process.cpu_times()
        return times.user + times.system + sum(self._cpu().values())

    def workers(self) -> list[psutil.Process]:
        return [it for it in self._process.children() if it.status() != psutil.STATUS_ZOMBIE]

    def until_quiet(self) -> None:
        """Returns when worker and spare are there and compute nothing."""
        deadline = time.monotonic() + SOON_S
        before: dict[int, float] = {}
        while len(before) != 2 or before != self._cpu():
            assert time.monotonic() < deadline, "the node does not come to rest"
            before = self._cpu()
            time.sleep(0.25)

    def until_computing(self, seconds: float, bridge: Bridge) -> psutil.Process:
        """Returns the worker that has computed for the bridge for as long, from a state of rest."""
        before = self._cpu()
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            for pid, spent in self._cpu().items():
                if pid in before and spent - before[pid] >= seconds:
                    return psutil.Process(pid)
            bridge.beat()
            time.sleep(LOOK_AGAIN_S)
        raise AssertionError("no worker computes")

    def _cpu(self) -> dict[int, float]:
        """Seconds of CPU time by process id."""
        spent: dict[int, float] = {}
        for worker in self.workers():
            times = worker.cpu_times()
            spent[worker.pid] = times.user + times.system
        return spent


@contextmanager
def started(engine: Engine, **settings: str) -> Iterator[Node]:
    """A node with the settings besides its secret; skips where the engine is missing."""
    try:
        node = compute_nodes(PlatformOptions(engine=engine), lambda _: None)[0]
    except PlatformError as error:
        pytest.skip(str(error))
    address = free_address()
    command = [*node.command, "--port", str(address.port), "--workers", "1"]
    own = {"GRIDPACT_COMPUTE_SECRET": SECRET}
    with running(command, {**node.environment, **own, **settings}) as facts:
        yield Node(engine, address, psutil.Process(int(facts["pid"])))
