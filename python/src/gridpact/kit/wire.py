"""MsgPack on the wire: strict bytes in, checked messages out, and back.

``decode`` refuses whatever the contract does not allow and names every violation; unknown map keys
are ignored. ``encode`` refuses what a reader would refuse, and the same message always gives the
same bytes: members in the contract's order, absent ones left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import msgpack
import msgspec
import numpy as np
from msgspec import Struct

from gridpact.kit.rules import Rule, violations_of_rules
from gridpact.kit.series import Float64Series
from gridpact.kit.shapes import Record
from gridpact.kit.violation import ContractError, Violation

FLOAT64_EXT_TYPE = 1


class Message(Struct, kw_only=True, frozen=True):
    """Base of every generated message. Optional members without a default are UNSET when absent."""

    __shape__: ClassVar[Record]
    __rules__: ClassVar[tuple[Rule, ...]] = ()


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts; the numbers stand in contracts/asyncapi.yaml, ``x-limits``."""

    message_bytes: int
    decoded_bytes: int
    depth: int
    string_bytes: int
    container_items: int
    values: int


class MessageSet(Generic[M]):
    """The messages that may arrive at one place, told apart by their member ``type``."""

    def __init__(self, *kinds: type[M]) -> None:
        self._kinds = {str(kind.__struct_config__.tag): kind for kind in kinds}

    def kind_of(self, plain: object) -> type[M]:
        """The message type that ``type`` names; ContractError when there is none."""
        tag = cast("dict[str, object]", plain).get("type") if isinstance(plain, dict) else None
        kind = self._kinds.get(tag) if isinstance(tag, str) else None
        if kind is None:
            message = f"must be one of {', '.join(self._kinds)}"
            raise ContractError.of([Violation("type", "discriminator", message)])
        return kind


def decode(kind: type[M], data: bytes, limits: Limits) -> M:
    """The message that ``data`` holds; ContractError when the contract refuses it."""
    return build(kind, unpack(data, limits))


def decode_one_of(kinds: MessageSet[M], data: bytes, limits: Limits) -> M:
    """The message that ``data`` holds, one of ``kinds``; ContractError as ``decode``."""
    plain = unpack(data, limits)
    return build(kinds.kind_of(plain), plain)


def encode(message: Message) -> bytes:
    """The bytes of a message; ContractError when it breaks its own contract."""
    found = violations_of(type(message), message)
    found.extend(violations_of_rules(message))
    if found:
        raise ContractError.of(found)
    return msgspec.msgpack.encode(message, enc_hook=_extension_of)


def to_json(message: Message) -> bytes:
    """The message as JSON; series become arrays of numbers."""
    return msgspec.json.encode(message, enc_hook=_list_of)


def build(kind: type[M], plain: object) -> M:
    """The message of a plain value (what JSON or MsgPack decode to); ContractError otherwise."""
    found = violations_of(kind, plain)
    if found:
        raise ContractError.of(found)
    # The shape has been checked: what is left to convert (5 to 5.0, 51.0 to 51) loses nothing.
    message = msgspec.convert(plain, kind, strict=False, dec_hook=_series_of)
    found.extend(violations_of_rules(message))
    if found:
        raise ContractError.of(found)
    return message


def violations_of(kind: type[Message], value: object) -> list[Violation]:
    """Every violation of the shape of ``kind`` (not of its rules) by a plain or built value."""
    found: list[Violation] = []
    kind.__shape__.check(value, "", found)
    return found


def unpack(data: bytes, limits: Limits) -> object:
    """Exactly one MsgPack value that fills ``data``, as plain Python values.

    Refuses with ContractError: truncation, trailing bytes, keys that are no text or occur twice,
    invalid UTF-8, unknown extension types, NaN and infinities, nesting or sizes above ``limits``.
    Besides the content of texts and series it never makes more objects than ``limits.values``.
    """
    if len(data) > limits.decoded_bytes:
        words = f"the message has {len(data)} bytes, at most {limits.decoded_bytes} are read"
        raise ContractError("MESSAGE_TOO_LARGE", words)
    containers = _Containers(limits.values)
    try:
        # Passes over the bytes without making anything: a length that lies ends here, and not after
        # room was made for it, once more at every level.
        msgspec.msgpack.decode(data, type=msgspec.Raw)
        plain: object = msgpack.unpackb(
            data,
            object_pairs_hook=containers.map_of,
            list_hook=containers.list_of,
            ext_hook=_value_of_extension,
            max_str_len=limits.string_bytes,
            max_array_len=limits.container_items,
            max_map_len=limits.container_items,
        )
    except (ValueError, RecursionError, msgpack.UnpackException, msgspec.DecodeError) as error:
        words = str(error) or type(error).__name__
        raise ContractError("MESSAGE_MALFORMED", f"cannot be decoded: {words}") from error
    _refuse_depth_and_nan(plain, limits.depth)
    return plain


class _Containers:
    """Makes arrays and maps, and counts what is in them: a byte may be a whole empty map."""

    def __init__(self, values: int) -> None:
        self._limit = values
        self._left = values

    def map_of(self, pairs: list[tuple[Any, object]]) -> dict[str, object]:
        self._count(len(pairs))
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise ValueError("a key occurs twice")
        if not all(isinstance(key, str) for key in entries):
            raise ValueError("a map key is not a text")
        return entries

    def list_of(self, items: list[object]) -> list[object]:
        self._count(len(items))
        return items

    def _count(self, entries: int) -> None:
        self._left -= entries
        if self._left < 0:
            raise ValueError(f"more than {self._limit} values in all")


def _value_of_extension(code: int, data: bytes) -> Float64Series:
    if code != FLOAT64_EXT_TYPE:
        raise ValueError(f"extension type {code} is unknown")
    if len(data) % 8:
        raise ValueError(f"a Float64 series has {len(data)} bytes, no multiple of 8")
    series = Float64Series(data)
    if not np.isfinite(np.asarray(series)).all():
        raise ValueError("a Float64 series has a value that is not finite")
    return series


def _refuse_depth_and_nan(plain: object, depth_left: int) -> None:
    match plain:
        case float():
            if not math.isfinite(plain):
                raise ContractError("MESSAGE_MALFORMED", "a number is not finite")
        case dict() | list():
            if depth_left == 0:
                raise ContractError("MESSAGE_MALFORMED", "values nest too deep")
            items = cast("dict[str, object]", plain).values() if isinstance(plain, dict) else plain
            for item in cast("list[object]", items):
                if not isinstance(item, str | int):
                    _refuse_depth_and_nan(item, depth_left - 1)
        case msgpack.Timestamp():
            raise ContractError("MESSAGE_MALFORMED", "extension type -1 is unknown")
        case _:
            pass


def _series_of(kind: type, value: object) -> object:
    if kind is not Float64Series:
        raise NotImplementedError(f"no conversion to {kind}")
    return value if isinstance(value, Float64Series) else Float64Series(cast("bytes", value))


def _extension_of(value: object) -> object:
    if isinstance(value, Float64Series):
        return msgspec.msgpack.Ext(FLOAT64_EXT_TYPE, value.to_bytes())
    raise NotImplementedError(f"{type(value).__name__} has no form on the wire")


def _list_of(value: object) -> object:
    if isinstance(value, Float64Series):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")


__all__ = [
    "ContractError",
    "Float64Series",
    "Limits",
    "Message",
    "MessageSet",
    "build",
    "decode",
    "decode_one_of",
    "encode",
    "to_json",
    "unpack",
    "violations_of",
]
