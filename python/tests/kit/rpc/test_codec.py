"""The codec gives and takes the same bytes as betterproto2, which is the slow way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import betterproto2
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from gridpact.contracts.proto.gridpact.assets import v1 as assets
from gridpact.contracts.proto.gridpact.identity import v1 as identity
from gridpact.contracts.proto.gridpact.series import v1 as series
from gridpact.contracts.proto.gridpact.tasks import v1 as tasks
from gridpact.kit.rpc.codec import FastCodec

CODEC = FastCodec()

KINDS = [
    kind
    for topic in (assets, identity, series, tasks)
    for name in topic.__all__
    if issubclass(kind := getattr(topic, name), betterproto2.Message)
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INTEGERS = {
    betterproto2.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    betterproto2.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    betterproto2.TYPE_UINT32: st.integers(0, 2**32 - 1),
    betterproto2.TYPE_UINT64: st.integers(0, 2**64 - 1),
}
TIMES = st.integers(-(10**15), 10**16).map(lambda us: EPOCH + timedelta(microseconds=us))


def values_of(kind: type[Any], name: str, meta: Any) -> st.SearchStrategy[Any]:
    """Values of a field when it is present."""
    match meta.proto_type:
        case betterproto2.TYPE_MESSAGE if meta.unwrap:
            return TIMES
        case betterproto2.TYPE_MESSAGE:
            return messages_of(kind._betterproto.cls_by_field[name])
        case betterproto2.TYPE_ENUM:
            return st.integers(0, 9).map(kind._betterproto.cls_by_field[name])
        case betterproto2.TYPE_STRING:
            return st.text(max_size=5)
        case betterproto2.TYPE_BYTES:
            return st.binary(max_size=5)
        case betterproto2.TYPE_BOOL:
            return st.booleans()
        case betterproto2.TYPE_DOUBLE:
            return st.floats(allow_nan=False)
        case other:
            return INTEGERS[other]


@st.composite
def messages_of(draw: st.DrawFn, kind: type[Any]) -> Any:
    chosen: dict[str, Any] = {}
    groups: set[str] = set()
    for name, meta in kind._betterproto.meta_by_field_name.items():
        if not draw(st.booleans()) or meta.group in groups:
            continue
        if meta.group:
            groups.add(meta.group)
        values = values_of(kind, name, meta)
        chosen[name] = draw(st.lists(values, max_size=2) if meta.repeated else values)
    return kind(**chosen)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_reads_and_writes_what_betterproto2_does(kind: type[Any], data: st.DataObject) -> None:
    message = data.draw(messages_of(kind))
    assert kind.FromString(CODEC.encode(message, kind)) == message
    assert CODEC.decode(bytes(message), kind) == message


def test_leaves_out_fields_of_another_type() -> None:
    assert CODEC.decode(b"\x08\x01", tasks.GetTaskRequest) == tasks.GetTaskRequest()


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x0a\x01\xff"])
def test_refuses_what_is_cut_off_or_no_text(data: bytes) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(data, tasks.GetTaskRequest)


@pytest.mark.parametrize(
    "message", [tasks.GetTaskRequest(task_id=5), tasks.Lease(fencing_token=2**63), tasks.Lease()]
)
def test_refuses_to_send_what_does_not_fit(message: betterproto2.Message) -> None:
    wanted = type(message) if message != tasks.Lease() else tasks.Task
    with pytest.raises((TypeError, ValueError)):
        CODEC.encode(message, wanted)
