"""MsgPack messages as JSON, and back, by msgpack-python: none of the implementations under test.

Bytes that hold MsgPack are shown as ``{"msgpack": …}``, a Float64 series (extension type 1) as
``{"float64": […]}``, so that a view tells exactly which bytes it stands for.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

_FLOAT64 = 1


def view_of(data: bytes) -> Any:
    """The JSON form of a message; ValueError when it is not exactly one MsgPack value."""
    return _shown(msgpack.unpackb(data))


def message_of(view: Any) -> bytes:
    """The message that a view stands for, the members of each map in the order of their names."""
    data = msgpack.packb(_meant(view))
    assert data is not None
    return data


def _shown(value: Any) -> Any:
    match value:
        case dict():
            return {name: _shown(member) for name, member in value.items()}
        case list():
            return [_shown(item) for item in value]
        case bytes():
            return {"msgpack": view_of(value)}
        case msgpack.ExtType(code=code, data=data):
            assert code == _FLOAT64
            return {"float64": list(struct.unpack(f"<{len(data) // 8}d", data))}
        case _:
            return value


def _meant(view: Any) -> Any:
    match view:
        case {"msgpack": inner}:
            return message_of(inner)
        case {"float64": values}:
            return msgpack.ExtType(_FLOAT64, struct.pack(f"<{len(values)}d", *values))
        case dict():
            return {name: _meant(member) for name, member in sorted(view.items())}
        case list():
            return [_meant(item) for item in view]
        case _:
            return view
