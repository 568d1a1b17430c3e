"""betterproto2's messages as bytes and back, by protobuf's own parser, which is written in C.

betterproto2 does the same in Python and takes twenty times as long; it also takes truncated fields
and fields of the wrong type as they are. What is copied here between the two are values only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Protocol, cast

import betterproto2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.encoding.base import CodecBase

from gridpact.contracts.proto.message_pool import default_message_pool

_TIMESTAMP = "google.protobuf.Timestamp"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Whatever the contract calls it, and however it is generated: it has the fields of its descriptor.
Ours = Any
Theirs = Any


class FastCodec(CodecBase):
    """The codec of our channels and servers; protobuf's own messages pass it too."""

    @property
    def __content_subtype__(self) -> str:
        return "proto"

    def encode(self, message: Any, message_type: type[Any]) -> bytes:
        """The bytes of a message; TypeError or ValueError when a value does not fit its field."""
        if not isinstance(message, message_type):
            raise TypeError(
                f"the message is a {type(message).__name__}, no {message_type.__name__}"
            )
        if isinstance(message, Message):
            return message.SerializeToString()
        form = _form_of(message_type)
        theirs = form.theirs()
        form.fill(message, theirs)
        return theirs.SerializeToString()

    def decode(self, data: bytes, message_type: type[Any]) -> Any:
        """The message that ``data`` holds, unknown fields left out; protobuf's DecodeError."""
        if issubclass(message_type, Message):
            return message_type.FromString(data)
        form = _form_of(message_type)
        return form.read(form.theirs.FromString(data))


def contract_descriptors() -> DescriptorPool:
    """A new pool of what the contracts say of services and messages."""
    pool = DescriptorPool()
    ours = files("gridpact.contracts.proto") / "descriptors.binpb"
    for file in FileDescriptorSet.FromString(ours.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@cache
def _descriptors() -> DescriptorPool:
    return contract_descriptors()


class _Form(Protocol):
    """How values get from one kind of message into the other."""

    theirs: type[Message]

    def fill(self, ours: Ours, theirs: Theirs) -> None: ...

    def read(self, theirs: Theirs) -> Ours: ...


class _MessageForm:
    """The form of a betterproto2 message."""

    def __init__(self, ours: type[betterproto2.Message], descriptor: Descriptor) -> None:
        self.theirs = GetMessageClass(descriptor)
        self._ours = ours
        self._writers: list[tuple[str, Callable[[Theirs, str, Any], None]]] = []
        self._readers: dict[str, Callable[[Any], Any] | None] = {}
        meta = ours._betterproto  # pyright: ignore[reportPrivateUsage]
        for field in descriptor.fields:
            if meta.field_name_by_number[field.number] != field.name:
                raise TypeError(f"{ours.__name__} calls the field {field.name} something else")
            self._writers.append((field.name, _writer(field)))
            self._readers[field.name] = _reader(field, meta.cls_by_field)

    def fill(self, ours: Ours, theirs: Theirs) -> None:
        for name, write in self._writers:
            value = getattr(ours, name)
            if value is not None:
                write(theirs, name, value)

    def read(self, theirs: Theirs) -> Ours:
        values: dict[str, Any] = {}
        for field, value in theirs.ListFields():
            read = self._readers[field.name]
            values[field.name] = value if read is None else read(value)
        return self._ours(**values)


class _TimestampForm:
    """A time: the contracts' microseconds of a ``datetime``."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.theirs = GetMessageClass(descriptor)

    def fill(self, ours: Ours, theirs: Theirs) -> None:
        since = cast("datetime", ours) - _EPOCH
        theirs.seconds = since.days * 86400 + since.seconds
        theirs.nanos = since.microseconds * 1000
        theirs.SetInParent()

    def read(self, theirs: Theirs) -> Ours:
        return _EPOCH + timedelta(seconds=theirs.seconds, microseconds=theirs.nanos // 1000)


@cache
def _form_of(ours: type[Any]) -> _Form:
    url = default_message_pool.type_to_url[ours]
    return _form_of_name(url.rpartition("/")[2])


@cache
def _form_of_name(name: str) -> _Form:
    descriptor = _descriptors().FindMessageTypeByName(name)
    if name == _TIMESTAMP:
        return _TimestampForm(descriptor)
    ours = default_message_pool.url_to_type[f"type.googleapis.com/{name}"]
    return _MessageForm(ours, descriptor)


def _writer(field: FieldDescriptor) -> Callable[[Theirs, str, Any], None]:
    if field.message_type is None:
        return _extend if field.is_repeated else setattr
    # Not looked up before it is used: a message may hold others of its own kind.
    full_name = field.message_type.full_name

    def write(theirs: Theirs, name: str, value: Any) -> None:
        inner = getattr(theirs, name)
        # Present although it may be empty.
        inner.SetInParent()
        _form_of_name(full_name).fill(value, inner)

    def write_each(theirs: Theirs, name: str, values: Any) -> None:
        inner, form = getattr(theirs, name), _form_of_name(full_name)
        for value in values:
            form.fill(value, inner.add())

    return write_each if field.is_repeated else write


def _extend(theirs: Theirs, name: str, values: Any) -> None:
    getattr(theirs, name).extend(values)


def _reader(field: FieldDescriptor, classes: dict[str, type[Any]]) -> Callable[[Any], Any] | None:
    """How a value of theirs becomes one of ours; None where it is the same."""
    if field.message_type is not None:
        full_name = field.message_type.full_name

        def read(value: Any) -> Any:
            return _form_of_name(full_name).read(value)

        def read_each(values: Any) -> Any:
            form = _form_of_name(full_name)
            return [form.read(value) for value in values]

        return read_each if field.is_repeated else read
    if field.enum_type is not None:
        kind = classes[field.name]
        return (lambda values: [kind(value) for value in values]) if field.is_repeated else kind
    return list if field.is_repeated else None
