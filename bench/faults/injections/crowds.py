"""Too many at once: of nodes that come back, and of tasks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from statistics import quantiles

from msgspec import UNSET
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.faults.clients import Wish, probe
from bench.faults.history import now_s
from bench.faults.scene import Scene
from bench.faults.stage import until
from gridpact.contracts.channels import (
    CONTRACT_VERSION,
    HEARTBEAT_INTERVAL_MS,
    KINDS,
    LIMITS,
    SEND_TO_NODE,
)
from gridpact.contracts.messages import (
    Accepted,
    Heartbeat,
    Hello,
    ProbeInput,
    ProbeResult,
    Result,
    TaskMessage,
    Welcome,
)
from gridpact.kit.compression import decompress
from gridpact.kit.node_auth import proof_of_node
from gridpact.kit.wire import Message, decode, decode_one_of, encode

_NODES = 500
_AWAY_S = 2.0
_ALL_BACK_S = 20.0
# Those who come back shall not do so all in the same moment.
_LEAST_SPREAD_S = 0.1
_SAMPLE = 40

_HOLD_MS = 200
_PEAK_S = 4.0
_OVERLOAD = 3.0
_OVERLOAD_S = 5.0
_LEAST_GOODPUT = 0.9
_MOST_ATTEMPTS = 1.1


class Crowd:
    """Nodes that answer probes at once, hundreds of them behind one address."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._nodes: set[ServerConnection] = set()
        self._server: Server | None = None
        self._port = 0
        self.joined_s: list[float] = []
        self.task_count = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/compute"

    @property
    def count(self) -> int:
        return len(self._nodes)

    async def open(self) -> None:
        self._server = await serve(
            self._node,
            "127.0.0.1",
            self._port,
            compression=None,
            ping_interval=None,
            backlog=1024,
            max_size=LIMITS.message_bytes,
            close_timeout=0.1,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    def vanish(self) -> None:
        """Every connection breaks, and nobody listens any more."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for node in [*self._nodes]:
            node.transport.abort()

    async def close(self) -> None:
        self.vanish()
        assert self._server is not None
        await self._server.wait_closed()

    async def beat(self) -> None:
        """The heartbeats of all, spread over the interval."""
        while True:
            nodes = [*self._nodes]
            pause_s = HEARTBEAT_INTERVAL_MS / 1000 / max(1, len(nodes))
            for number, node in enumerate(nodes):
                with suppress(ConnectionClosed):
                    await node.send(encode(Heartbeat(sequence=number)))
                await asyncio.sleep(pause_s)
            if not nodes:
                await asyncio.sleep(0.1)

    async def _node(self, socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await self._serve(socket)
        self._nodes.discard(socket)

    async def _serve(self, socket: ServerConnection) -> None:
        async for data in socket:
            assert isinstance(data, bytes)
            match decode_one_of(SEND_TO_NODE, data, LIMITS):
                case Hello(nonce=nonce):
                    await _say(socket, self._welcome(nonce))
                    self._nodes.add(socket)
                    self.joined_s.append(now_s())
                case TaskMessage() as task:
                    self.task_count += 1
                    for answer in _answers(task):
                        await _say(socket, answer)
                case _:
                    pass

    def _welcome(self, nonce: str) -> Welcome:
        return Welcome(
            contract_version=CONTRACT_VERSION,
            node_id=f"crowd-{len(self.joined_s)}",
            engine="python",
            engine_version="crowd",
            kinds=["probe"],
            capacity=1,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            proof=proof_of_node(self._secret, nonce),
        )


async def _say(socket: ServerConnection, message: Message) -> None:
    await socket.send(encode(message))


def _answers(task: TaskMessage) -> tuple[Accepted, Result]:
    body = decompress(task.encoding, task.body, LIMITS.decoded_bytes)
    wanted = decode(KINDS["probe"].input, body, LIMITS)
    assert isinstance(wanted, ProbeInput)
    held_ms = 0 if wanted.hold_ms is UNSET else float(wanted.hold_ms)
    result = ProbeResult(held_ms=held_ms, padding="x" * wanted.result_bytes)
    return (
        Accepted(task_id=task.task_id, fencing_token=task.fencing_token),
        Result(
            task_id=task.task_id,
            fencing_token=task.fencing_token,
            encoding="identity",
            body=encode(result),
            solve_ms=0.0,
        ),
    )


@asynccontextmanager
async def _crowd(secret: str) -> AsyncIterator[Crowd]:
    crowd = Crowd(secret)
    await crowd.open()
    beating = asyncio.create_task(crowd.beat())
    try:
        yield crowd
    finally:
        beating.cancel()
        await crowd.close()


async def nodes_come_back_at_once(scene: Scene) -> None:
    """22: 500 nodes are away for two seconds and come back to their bridge."""
    async with _crowd(scene.stage.running.secrets.compute_secret) as crowd:

        async def are_there() -> bool:
            return crowd.count == _NODES

        urls = ",".join([crowd.url] * _NODES)
        async with scene.stage.another("gridpact.bridge", compute_urls=urls):
            await until(are_there, "all nodes have joined", 60)
            # With the platform's own bridge away, every task is a node's of the crowd.
            with scene.stage.frozen("bridge"):
                before_ms = await _p99_ms(scene)
                mark = scene.stage.mark("another-bridge")
                crowd.vanish()
                scene.strike(_NODES)
                crowd.joined_s.clear()
                await scene.stage.until_logged("another-bridge", "node-left", mark)
                scene.notice()
                await asyncio.sleep(_AWAY_S)
                await crowd.open()
                scene.heal()
                opened_s = now_s()
                await until(are_there, "all nodes are back", _ALL_BACK_S + 40)
                after_ms = await _p99_ms(scene)
            back_s = sorted(each - opened_s for each in crowd.joined_s)
            scene.require(crowd.task_count > 0, "no task went to the crowd")
    tenths = quantiles(back_s, n=10)
    scene.notes |= {
        "all_back_s": round(back_s[-1], 2),
        "middle_four_fifths_s": round(tenths[-1] - tenths[0], 2),
        "p99_before_ms": round(before_ms),
        "p99_after_ms": round(after_ms),
    }
    scene.require(back_s[-1] <= _ALL_BACK_S, f"the last node was back after {back_s[-1]:.1f} s")
    scene.require(tenths[-1] - tenths[0] >= _LEAST_SPREAD_S, "the nodes came back all at once")
    scene.require(
        after_ms <= max(1000.0, 5 * before_ms),
        f"p99 was {before_ms:.0f} ms and is {after_ms:.0f} ms",
    )


async def _p99_ms(scene: Scene) -> float:
    times: list[float] = []
    for _ in range(_SAMPLE):
        began = now_s()
        task_id = await scene.witness()
        times.append(1000 * (await scene.users.until_told(task_id) - began))
    return quantiles(times, n=100)[-1]


async def overload_and_rolling_stops(scene: Scene) -> None:
    """25: three times what the workers can do, and every process told to stop meanwhile."""
    peak = await _peak(scene)
    goodput, keys = await _overload(scene, peak)
    scene.notes |= {"peak_per_s": round(peak, 1), "goodput_per_s": round(goodput, 1)}
    scene.require(
        goodput >= _LEAST_GOODPUT * peak, f"goodput {goodput:.1f}/s of a peak of {peak:.1f}/s"
    )
    await _rolling_stops(scene)
    scene.heal()
    for key in keys:
        await scene.users.until_ended(scene.users.tasks[key])
    rows = await scene.stage.rows(
        "SELECT sum(attempt_count)::float8 / count(*) FROM tasks.tasks WHERE label = ANY(%s)", keys
    )
    attempts = rows[0][0]
    scene.notes["attempts_per_task"] = round(attempts, 3)
    scene.require(attempts <= _MOST_ATTEMPTS, f"{attempts:.2f} attempts a task")


def _work(scene: Scene) -> Wish:
    return probe(scene.key(), hold_ms=_HOLD_MS, result_bytes=1, engine=scene.stage.engine)


async def _peak(scene: Scene) -> float:
    """What the workers do when there is always something to do, and not much more."""
    ends: list[float] = []
    until_s = now_s() + _PEAK_S

    async def one_user() -> None:
        while now_s() < until_s:
            task_id = await scene.users.submit(_work(scene))
            ends.append(await scene.users.until_told(task_id))

    began = now_s()
    await asyncio.gather(*(one_user() for _ in range(8)))
    return _rate(ends, began + 1.0, until_s)


async def _overload(scene: Scene, peak: float) -> tuple[float, list[str]]:
    """Goodput while three times as much comes in as the workers can do, and what came in."""
    wishes: list[Wish] = []
    requests: list[asyncio.Task[str]] = []
    began = now_s()
    while now_s() < began + _OVERLOAD_S:
        due = int((now_s() - began) * peak * _OVERLOAD)
        while len(wishes) < due:
            wishes.append(_work(scene))
            requests.append(asyncio.create_task(scene.users.submit(wishes[-1])))
        await asyncio.sleep(0.01)
    ended = now_s()
    await asyncio.gather(*requests)
    scene.strike(len(wishes))
    scene.notes["offered_per_s"] = round(len(wishes) / _OVERLOAD_S, 1)
    tasks = {scene.users.tasks[wish.key] for wish in wishes}
    ends = [end for task_id, end in scene.users.ended_s.items() if task_id in tasks]
    return _rate(ends, began + 1.0, ended), [wish.key for wish in wishes]


def _rate(ends: Sequence[float], start_s: float, end_s: float) -> float:
    return sum(start_s <= end < end_s for end in ends) / (end_s - start_s)


async def _rolling_stops(scene: Scene) -> None:
    stage = scene.stage
    for name in stage.names():
        # PostgreSQL takes SIGTERM as a wish to wait until every client has left.
        number = signal.SIGINT if name == "postgres" else signal.SIGTERM
        told = stage.kill(name, number)
        scene.strike()
        await stage.until_back(name, told, within_s=90)
