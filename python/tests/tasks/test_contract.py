"""What the contracts say of an input, and how large it and its result may be, to the byte."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from gridpact.compute.serve.worker import packed_result
from gridpact.contracts.channels import BODY_BYTES, KINDS, LIMITS, QUEUE_BODY_BYTES
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import ComputeTaskHeaders, Result, TaskMessage
from gridpact.kit.compression import compress
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import new_identifier
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import Message, build, encode
from gridpact.tasks.contract import GeneratedContract
from gridpact.tasks.domain import Body, Encoding

SCHEMAS = Path(__file__).parents[3] / "contracts" / "schemas"


@pytest.mark.parametrize(
    ("member", "changes", "affinity"),
    [
        (None, {}, None),
        ("currency", {"currency": "CHF"}, "CHF"),
        ("options", {}, ""),  # stands for an optional member that is not there
    ],
)
def test_an_input_names_the_model_it_builds_on(
    member: str | None,
    changes: dict[str, Any],
    affinity: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {**KINDS, "dispatch": replace(KINDS["dispatch"], affinity=member)}
    monkeypatch.setattr("gridpact.tasks.contract.KINDS", kinds)
    schema = yaml.safe_load((SCHEMAS / "dispatch-input.yaml").read_text("utf-8"))
    data = msgspec.msgpack.encode(schema["examples"][0] | changes)
    assert (
        GeneratedContract().pack_input("dispatch", Body(Encoding.IDENTITY, data)).affinity
        == affinity
    )


def padded(size: int, *, noise: bool) -> bytes:
    """A probe's input of this size: all but a few bytes are a member that nobody knows."""
    padding = random.Random(1).randbytes(size - 8) if noise else bytes(size - 8)
    return b"\x81\xa1n\xc6" + len(padding).to_bytes(4, "big") + padding


@pytest.mark.parametrize("noise", [True, False], ids=["packed", "decoded"])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_an_input_is_taken_up_to_what_a_message_carries(noise: bool, beyond: int) -> None:
    """Noise stays as large as it is; what is all zeros is small when packed."""
    data = padded((BODY_BYTES if noise else LIMITS.decoded_bytes) + beyond, noise=noise)
    whole = Body(Encoding.IDENTITY, data)
    ways = [whole] if noise else [whole, Body(Encoding.ZSTD, compress(data, 0)[1])]
    for body in ways:
        if beyond <= 0:
            packed = GeneratedContract().pack_input("probe", body)
            assert len(packed.payload.data) <= BODY_BYTES
            assert packed.digest == hashlib.sha256(data).digest()
        else:
            with pytest.raises(ContractError) as refused:
                GeneratedContract().pack_input("probe", body)
            assert refused.value.reason == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_result_is_taken_up_to_what_a_message_carries(beyond: int) -> None:
    head = msgspec.msgpack.encode({"held_ms": 1.0, "padding": "x"})[1:]
    rest = padded(BODY_BYTES + beyond - len(head), noise=True)[1:]
    body = Body(Encoding.IDENTITY, b"\x83" + head + rest)
    assert len(body.data) == BODY_BYTES + beyond
    fault = GeneratedContract().fault_of_result("probe", body)
    assert (fault is None) == (beyond <= 0)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_body_leaves_room_for_the_rest_of_its_message(beyond: int) -> None:
    body = bytes(BODY_BYTES + beyond)
    lease = {"task_id": new_identifier(), "fencing_token": 2**53 - 1}
    longest: list[Message] = [
        TaskMessage(
            **lease,
            kind="k" * 64,
            attempt=1000,
            remaining_ms=86_400_000,
            encoding="identity",
            body=body,
            affinity_key="a" * 128,
            traceparent=f"00-{'0' * 32}-{'0' * 16}-00",
        ),
        Result(**lease, encoding="identity", solve_ms=1.5, body=body),
    ]
    for message in longest:
        if beyond <= 0:
            assert len(encode(message)) <= LIMITS.message_bytes
        else:
            with pytest.raises(ContractError, match="body"):
                encode(message)


@pytest.mark.parametrize("noise", [True, False], ids=["packed", "decoded"])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_the_python_engine_sends_a_result_up_to_what_a_message_carries(
    noise: bool, beyond: int
) -> None:
    result = padded((BODY_BYTES if noise else LIMITS.decoded_bytes) + beyond, noise=noise)
    if beyond <= 0:
        assert len(packed_result(result)[1]) <= BODY_BYTES
    else:
        with pytest.raises(GridpactError) as refused:
            packed_result(result)
        assert refused.value.reason is Reason.RESULT_TOO_LARGE


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("size", "claim", "body"),
    [
        (QUEUE_BODY_BYTES, {}, bytes(QUEUE_BODY_BYTES)),
        (QUEUE_BODY_BYTES + 1, {"claim_bytes": str(QUEUE_BODY_BYTES + 1)}, b"\x80"),
    ],
)
def test_the_first_message_of_a_task_keeps_to_the_contract(
    size: int, claim: dict[str, str], body: bytes
) -> None:
    task_id = new_identifier()
    message = GeneratedContract().first_message(
        task_id,
        "probe",
        "julia",
        Body(Encoding.ZSTD, bytes(size)),
        affinity_key="site:1",
        traceparent=TRACEPARENT,
        timeout_time=datetime(2026, 6, 1, tzinfo=UTC),
    )
    assert (message.topic, message.key) == ("compute-tasks-julia-probe", task_id)
    assert message.properties == {
        "task_id": task_id,
        "kind": "probe",
        "encoding": "zstd",
        "affinity_key": "site:1",
        "traceparent": TRACEPARENT,
        "timeout_epoch_ms": "1780272000000",
        **claim,
    }
    assert message.body == body
    build(ComputeTaskHeaders, dict(message.properties))


def test_what_is_not_known_of_a_task_is_not_in_its_message() -> None:
    message = GeneratedContract().first_message(
        new_identifier(),
        "probe",
        "auto",
        Body(Encoding.IDENTITY, b"\x80"),
        affinity_key=None,
        traceparent=None,
        timeout_time=None,
    )
    assert message.properties.keys() == {"task_id", "kind", "encoding"}
    build(ComputeTaskHeaders, dict(message.properties))
