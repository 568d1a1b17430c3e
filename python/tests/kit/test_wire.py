from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gridpact.contracts.channels import LIMITS, RECEIVE_FROM_NODE
from gridpact.contracts.messages import (
    Battery,
    DispatchGrid,
    DispatchGridFee,
    DispatchInput,
    DispatchLoad,
    Heartbeat,
    ProbeInput,
    Progress,
)
from gridpact.kit.series import Float64Series
from gridpact.kit.violation import ContractError
from gridpact.kit.wire import build, decode, decode_one_of, encode, to_json, unpack

TASK_ID = "01981f6e-7c00-7000-8000-000000000004"

finite = st.floats(0, 1e6)
series = arrays(np.float64, st.integers(1, 50), elements=finite)


def packed(plain: object) -> bytes:
    return bytes(msgpack.packb(plain))  # pyright: ignore[reportArgumentType]  # None for a stream


def load(power_kw: Any) -> dict[str, object]:
    return {"name": "House", "power_kw": power_kw}


@given(power_kw=series)
def test_series_comes_back_bit_for_bit(power_kw: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    message = DispatchLoad(name="House", power_kw=Float64Series(power_kw))
    again = decode(DispatchLoad, encode(message), LIMITS)
    assert again == message
    assert np.asarray(again.power_kw).tobytes() == power_kw.tobytes()


@given(power_kw=series)
def test_series_may_come_as_extension_list_or_bin(
    power_kw: np.ndarray[Any, np.dtype[np.float64]],
) -> None:
    forms = (msgpack.ExtType(1, power_kw.tobytes()), power_kw.tolist(), power_kw.tobytes())
    messages = [decode(DispatchLoad, packed(load(form)), LIMITS) for form in forms]
    assert messages[0] == messages[1] == messages[2]


def test_whole_numbers_may_stand_for_floats_and_the_reverse() -> None:
    plain = {"type": "progress", "task_id": TASK_ID, "fencing_token": 7.0, "fraction": 1}
    message = build(Progress, {**plain, "stage": "solve"})
    assert (message.fencing_token, message.fraction) == (7, 1.0)
    assert isinstance(message.fencing_token, int)
    assert isinstance(message.fraction, float)


def test_absent_members_are_left_out_and_defaults_written() -> None:
    beat = {"type": "heartbeat", "sequence": 1, "others": 0}
    assert unpack(encode(Heartbeat(sequence=1)), LIMITS) == beat
    assert unpack(encode(ProbeInput()), LIMITS) == {"hold_ms": 0, "result_bytes": 0}


def test_every_violation_is_named() -> None:
    plain = {
        "type": "progress",
        "task_id": "x",
        "fencing_token": 0,
        "fraction": 2,
        "objective": None,
    }
    with pytest.raises(ContractError) as refused:
        build(Progress, plain)
    assert [(found.field, found.rule) for found in refused.value.violations] == [
        ("task_id", "min-length"),
        ("task_id", "pattern"),
        ("fencing_token", "minimum"),
        ("fraction", "maximum"),
        ("stage", "required"),
        ("objective", "type"),
    ]


def test_at_most_a_hundred_violations_are_named() -> None:
    plain = {"loads": [{}] * 200}
    with pytest.raises(ContractError) as refused:
        build(DispatchInput, plain)
    assert len(refused.value.violations) == 100


def test_what_a_reader_would_refuse_is_not_sent() -> None:
    with pytest.raises(ContractError, match="fraction must be at most 1"):
        encode(Progress(task_id=TASK_ID, fencing_token=7, fraction=2.0, stage="solve"))
    with pytest.raises(ContractError, match=r"power_kw\[1\] must be a number"):
        encode(DispatchLoad(name="House", power_kw=Float64Series([0.0, math.nan])))
    with pytest.raises(ContractError, match="min_energy_kwh must be at most 10"):
        encode(
            Battery(
                capacity_kwh=10,
                min_energy_kwh=11,
                max_charge_power_kw=1,
                max_discharge_power_kw=1,
                charge_efficiency=1,
                discharge_efficiency=1,
            )
        )


def test_message_is_told_by_its_type() -> None:
    beat = Heartbeat(sequence=1, busy=0)
    assert decode_one_of(RECEIVE_FROM_NODE, encode(beat), LIMITS) == beat


@pytest.mark.parametrize("plain", [{"type": "cancel"}, {"type": 1}, {}, 5])
def test_unknown_type_is_refused(plain: object) -> None:
    """`cancel` is a message, but not one that a node sends."""
    with pytest.raises(ContractError) as refused:
        decode_one_of(RECEIVE_FROM_NODE, packed(plain), LIMITS)
    assert [(v.field, v.rule) for v in refused.value.violations] == [("type", "discriminator")]


@given(data=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused_with_a_reason(data: bytes) -> None:
    reason = "MESSAGE_MALFORMED"
    try:
        unpack(data, LIMITS)
    except ContractError as error:
        reason = error.reason
    assert reason == "MESSAGE_MALFORMED"


def test_json_carries_series_as_numbers() -> None:
    fee = DispatchGridFee(name="Netz", price_per_kwh=Float64Series([0.5, -0.25]))
    assert to_json(fee) == b'{"name":"Netz","price_per_kwh":[0.5,-0.25]}'


def test_decoding_keeps_nothing_of_the_message_alive() -> None:
    """A series is a copy: it may be written to, and the message's bytes may go."""
    message = decode(DispatchLoad, packed(load([1.0, 2.0])), LIMITS)
    np.asarray(message.power_kw)[0] = 5.0
    assert message.power_kw == Float64Series([5.0, 2.0])


def test_message_above_the_limit_is_too_large() -> None:
    with pytest.raises(ContractError) as refused:
        decode(DispatchGrid, bytes(LIMITS.decoded_bytes + 1), LIMITS)
    assert refused.value.reason == "MESSAGE_TOO_LARGE"
