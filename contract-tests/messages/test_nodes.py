"""The compute nodes as providers: real processes, held to what the bridge relies on."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from pact import Verifier
from pact.types import Message
from websockets.sync.client import connect

from gridpact.kit.node_auth import bearer_of_bridge
from gridpact.platform.compute import ComputeNode, compute_nodes
from gridpact.platform.error import PlatformError
from gridpact.platform.options import PlatformOptions
from tests.message_view import message_of, view_of
from tests.running import free_address, running

PACTS = Path(__file__).parents[1] / "pacts"
SOON_S = 20.0

Json = dict[str, Any]


class Bridge:
    """Says to a node what a provider state names, and gives what the node answers."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._said: list[Json] = []

    def set_state(self, state: str, parameters: Json | None) -> None:
        assert parameters is not None, state
        self._said = parameters["said"]

    def answer(self, name: str) -> Message:
        """The first answer of the type with which the interaction's name begins, or an error."""
        wanted = name.split()[0]
        bearer = bearer_of_bridge(self._secret, int(time.time()), secrets.token_hex(16))
        with connect(self._url, additional_headers={"Authorization": bearer}) as socket:
            hello, *others = self._said
            socket.send(message_of(hello))
            view = view_of(socket.recv(SOON_S, decode=False))
            for said in others:
                socket.send(message_of(said))
            while view["type"] not in (wanted, "error"):
                view = view_of(socket.recv(SOON_S, decode=False))
        content_type = "application/json"
        return Message(
            contents=json.dumps(view).encode(),
            metadata={"contentType": content_type},
            content_type=content_type,
        )


def pact_of(engine: str) -> Path:
    return PACTS / f"bridge-compute-{engine}.json"


def secret_of(pact: Path) -> str:
    """What bridge and node share, by the pact: the proof in it is made of it."""
    states = json.loads(pact.read_text("utf-8"))["interactions"][0]["providerStates"]
    return states[0]["params"]["secret"]


def node_of(engine: Any) -> ComputeNode:
    try:
        return compute_nodes(PlatformOptions(engine=engine), lambda _: None)[0]
    except PlatformError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("engine", ["julia", "python"])
@pytest.mark.timeout(300)  # Julia compiles at its first start
def test_node_says_what_the_bridge_relies_on(engine: str) -> None:
    pact = pact_of(engine)
    node, address = node_of(engine), free_address()
    command = [*node.command, "--port", str(address.port), "--workers", "2"]
    settings = {**node.environment, "GRIDPACT_COMPUTE_SECRET": secret_of(pact)}
    with running(command, settings):
        bridge = Bridge(f"ws://{address}/compute", secret_of(pact))
        verifier = (
            Verifier(f"compute-{engine}")
            .message_handler(bridge.answer)
            .state_handler(bridge.set_state)
            .set_request_timeout(int(2 * SOON_S * 1000))
            .add_source(pact)
        )
        try:
            verifier.verify()
        except RuntimeError:
            pytest.fail(verifier.output(strip_ansi=True))
        finally:
            # pact stops its two servers but leaves them open.
            for part in (verifier._message_producer, verifier._state_handler):
                part._server.server_close()
