"""The bridge as the consumer of what compute nodes say; it writes the pacts."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pact import Pact, match
from websockets.asyncio.server import ServerConnection, serve

from gridpact.bridge.domain import Failed, Header, Lease, Opened, Outcome, Progress, Succeeded
from gridpact.bridge.ports import WorkingNode
from gridpact.bridge.ws import NodeLink
from gridpact.kit.node_auth import proof_of_node
from gridpact.kit.violation import Violation
from tests.message_view import message_of, view_of

PACTS = Path(__file__).parents[1] / "pacts"
SOON_S = 10.0

Json = dict[str, Any]

SECRET = "known to bridge and node"
NONCE = "00112233445566778899aabbccddeeff"
ATTEMPT = {"task_id": "01981f6e-7c00-7000-8000-000000000004", "fencing_token": 7}
ACCEPTED = "accepted"
LEASE = Lease("01981f6e-7c00-7000-8000-000000000004", 7)

HELLO = {"type": "hello", "contract_version": 1, "bridge_id": "bridge-1", "nonce": NONCE}
CANCEL = {"type": "cancel", **ATTEMPT}
BATTERY = {
    "name": "Speicher 电池",
    "battery": {
        "capacity_kwh": 10.0,
        "max_charge_power_kw": 4.0,
        "max_discharge_power_kw": 5.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
    },
    "initial_energy_kwh": 0.0,
    "final_energy_kwh": 0.0,
}
PROBLEM = {
    "start_time": "2026-06-01T00:00:00Z",
    "slot_duration_s": 3600,
    "slots": 2,
    "currency": "EUR",
    "batteries": [BATTERY],
    "loads": [{"name": "House", "power_kw": {"float64": [1.0, 2.0]}}],
    "tariff": {
        "import_price_per_kwh": {"float64": [0.1, 0.4]},
        "export_price_per_kwh": {"float64": [0.05, 0.05]},
    },
    "grid": {"max_import_power_kw": 30.0, "max_export_power_kw": 20.0},
}
TOO_FULL = {**PROBLEM, "batteries": [{**BATTERY, "final_energy_kwh": 10.5}]}


def task(kind: str, problem: Json) -> Json:
    return {
        "type": "task",
        **ATTEMPT,
        "kind": kind,
        "attempt": 1,
        "remaining_ms": 60_000,
        "encoding": "identity",
        "body": {"msgpack": problem},
    }


def welcome(engine: str) -> Json:
    return {
        "type": "welcome",
        "contract_version": 1,
        "node_id": match.str("node-1"),
        "engine": engine,
        "engine_version": match.str("1.0"),
        "kinds": match.each_like("dispatch"),  # whatever it computes
        "capacity": match.int(1),
        "queue": match.int(128),
        "heartbeat_interval_ms": match.int(5000),
        "proof": proof_of_node(SECRET, NONCE),
    }


def heartbeat() -> Json:
    return {"type": "heartbeat", "sequence": match.int(0), "busy": match.int(0)}


def result(body: Json) -> Json:
    return {
        "type": "result",
        **ATTEMPT,
        "encoding": "identity",
        "solve_ms": match.number(4.2),
        "body": {"msgpack": body},
    }


def error(reason: str, *, violations: Any = ()) -> Json:
    return {
        "type": "error",
        **ATTEMPT,
        "reason": reason,
        "message": match.str("in words"),
        "retryable": False,
        "violations": list(violations),
    }


def series(*values: float) -> Json:
    """A series whose values the pact leaves open; the plans themselves are compared elsewhere."""
    return {"float64": [match.number(value) for value in values]}


PLAN = {
    "status": "OPTIMAL",
    "start_time": "2026-06-01T00:00:00Z",
    "slot_duration_s": 3600,
    "slots": 2,
    "currency": "EUR",
    "cost": match.number(0.3),
    "baseline_cost": match.number(0.9),
    "baseline_within_grid_limits": True,
    "savings": match.number(0.6),
    "energy_cost": match.number(0.3),
    "wear_cost": match.number(0.0),
    "relative_gap": match.number(0.0),
    "batteries": [
        {
            "name": "Speicher 电池",
            "power_kw": series(2.0, -2.0),
            "energy_kwh": series(2.0, 0.0),
            "marginal_value_per_kwh": series(0.1, 0.1),
            "reasons": [match.str("CHARGE_FROM_GRID"), match.str("DISCHARGE_TO_LOAD")],
        }
    ],
    "pv": [],
    "grid_power_kw": series(3.0, 0.0),
    "grid_price_per_kwh": series(0.1, 0.4),
}


@dataclass(frozen=True)
class Interaction:
    """What the bridge has said, what the node says to it, and what the bridge makes of that."""

    name: str  # begins with the type of the message
    said: list[Json]
    message: Json
    # None: the bridge hears it, and goes on. ACCEPTED: it need not keep the task any longer.
    meaning: Outcome | Progress | str | None


def interactions(engine: str) -> list[Interaction]:
    probe = [HELLO, task("probe", {"hold_ms": 0, "result_bytes": 0})]
    # What is done at once needs no `accepted`.
    slow = [HELLO, task("probe", {"hold_ms": 1_000, "result_bytes": 0})]
    held = [HELLO, task("probe", {"hold_ms": 600_000, "result_bytes": 0})]
    too_full = {"field": "batteries[0].final_energy_kwh", "rule": "at-most"}
    probed = {"held_ms": match.number(0.5), "padding": ""}
    return [
        Interaction("welcome", [HELLO], welcome(engine), None),
        Interaction("heartbeat", [HELLO], heartbeat(), None),
        Interaction("accepted", slow, {"type": "accepted", **ATTEMPT}, ACCEPTED),
        Interaction("result of a probe", probe, result(probed), succeeded(probed)),
        Interaction(
            "result of a dispatch",
            [HELLO, task("dispatch", PROBLEM)],
            result(PLAN),
            succeeded(PLAN),
        ),
        Interaction(
            "error for an input that breaks a rule",
            [HELLO, task("dispatch", TOO_FULL)],
            error("INVALID_ARGUMENT", violations=[{**too_full, "message": match.str("in words")}]),
            Failed("INVALID_ARGUMENT", "in words", (Violation(**too_full, message="in words"),)),
        ),
        Interaction(
            "error for a kind that the node does not know",
            [HELLO, task("kind-of-the-future", {})],
            error("KIND_UNKNOWN"),
            Failed("KIND_UNKNOWN", "in words"),
        ),
        Interaction(
            "error for a task that was cancelled",
            [*held, CANCEL],
            error("CANCELLED"),
            Failed("CANCELLED", "in words"),
        ),
    ]


def succeeded(body: Json) -> Succeeded:
    return Succeeded("identity", message_of(example(body)), 4.2)


def example(view: Any) -> Any:
    """The view with each matcher as the example that it gives."""
    match view:
        case dict():
            return {name: example(member) for name, member in view.items()}
        case list():
            return [example(item) for item in view]
        case _:
            return getattr(view, "value", view)


@dataclass
class Host:
    """What the connection tells the bridge."""

    heard: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    def joined(self, node: WorkingNode) -> None:
        self.heard.put_nowait(node)

    def left(self, node: WorkingNode) -> None:
        self.heard.put_nowait(f"{node.node_id} left")

    def shared(self, node: WorkingNode, others_count: int) -> None:
        pass

    def accepted(self, lease: Lease) -> None:
        self.heard.put_nowait((lease, ACCEPTED))

    def progressed(self, lease: Lease, progress: Progress) -> None:
        self.heard.put_nowait((lease, progress))

    def ended(self, lease: Lease, outcome: Outcome) -> None:
        self.heard.put_nowait((lease, outcome))

    async def next(self) -> Any:
        return await asyncio.wait_for(self.heard.get(), SOON_S)


class ScriptedNode:
    """The other end of the bridge's connection: says views, and gives what the bridge said."""

    def __init__(self) -> None:
        self._bridge: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        async def talk(socket: ServerConnection) -> None:
            self._bridge.set_result(socket)
            await socket.wait_closed()

        async with serve(talk, "127.0.0.1", 0) as server:
            yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/compute"

    async def hears(self) -> Json:
        """The bridge's next message that is no heartbeat."""
        socket = await self._bridge
        while True:
            view = view_of(await asyncio.wait_for(socket.recv(decode=False), SOON_S))
            if view["type"] != "heartbeat":
                return view

    async def says(self, view: Json) -> None:
        await (await self._bridge).send(message_of(view))


async def converse(engine: str, interaction: Interaction, message: Json) -> None:
    """Has a bridge and a node talk as the interaction says, and checks what comes of it."""
    node, host = ScriptedNode(), Host()
    async with node.running() as url:
        link = asyncio.create_task(NodeLink(url, SECRET, "bridge-1", host).run())
        try:
            assert await node.hears() == HELLO
            await node.says(message if message["type"] == "welcome" else example(welcome(engine)))
            joined = await host.next()
            assert (joined.node_id, joined.engine, joined.engine_version) == (
                "node-1",
                engine,
                "1.0",
            )
            assert (joined.kinds, joined.capacity, joined.queue) == (("dispatch",), 1, 128)
            for said in interaction.said[1:]:
                say(joined, said)
                assert await node.hears() == said
            if message["type"] != "welcome":
                await node.says(message)
            if interaction.meaning is None:
                # It has heard it, and goes on.
                await node.says(example(error("CANCELLED")))
                assert await host.next() == (LEASE, Failed("CANCELLED", "in words"))
            else:
                assert await host.next() == (LEASE, interaction.meaning)
        finally:
            link.cancel()
            await asyncio.gather(link, return_exceptions=True)


def say(node: WorkingNode, view: Json) -> None:
    """Has the bridge send the message of this view, by what it would send it with."""
    if view["type"] == "cancel":
        node.send_cancel(LEASE)
        return
    opened = Opened(LEASE, view["attempt"], view["remaining_ms"], cancel_requested=False)
    header = Header(LEASE.task_id, view["kind"], view["encoding"], traceparent=None)
    node.send_task(opened, header, message_of(view["body"]["msgpack"]))


@pytest.mark.parametrize("engine", ["julia", "python"])
def test_bridge_understands_what_it_relies_on(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the pact that is committed says just that."""
    monkeypatch.setattr(secrets, "token_hex", lambda _: NONCE)
    pact = Pact("bridge", f"compute-{engine}").with_specification("V4")
    stated = {interaction.name: interaction for interaction in interactions(engine)}
    for interaction in stated.values():
        said: Json = {"secret": SECRET, "said": interaction.said}
        pact.upon_receiving(interaction.name, "Async").given(
            "the bridge has connected and said", said
        ).with_body(interaction.message, "application/json")

    played: set[str] = set()
    for message in pact.interactions("Async"):
        interaction = stated[message.description]
        assert message.contents is not None
        assert message.contents.contents is not None
        asyncio.run(converse(engine, interaction, json.loads(message.contents.contents)))
        played.add(interaction.name)
    assert played == set(stated)

    path = PACTS / f"bridge-compute-{engine}.json"
    committed = path.read_text("utf-8") if path.exists() else ""
    pact.write_file(PACTS, overwrite=True)
    assert path.read_text("utf-8") == committed, f"{path.name} has changed: see git diff"
