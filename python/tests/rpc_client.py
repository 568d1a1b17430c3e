"""A gRPC client that knows nothing but the descriptor set of the contracts.

It is made of grpcio and protobuf, so that it shares no code with what it calls. Messages are their
JSON form: dicts with the field names of the .proto files, int64 as text, bytes as base64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from gridpact.kit.settings import Address

Json = dict[str, Any]

_DEADLINE_S = 20.0


@dataclass
class Refused(Exception):
    """What a service said instead of an answer, out of ``grpc-status-details-bin``."""

    code: str
    message: str
    domain: str
    reason: str
    meta: dict[str, str] = field(default_factory=dict[str, str])
    violations: dict[str, str] = field(default_factory=dict[str, str])
    """The rule that each field broke."""
    retry_after_s: int | None = None


def methods() -> Mapping[str, MethodDescriptor]:
    """Every method of the contracts by path: ``gridpact.tasks.v1.TasksService/GetTask``."""
    described = FileDescriptorSet.FromString(
        (files("gridpact.contracts.proto") / "descriptors.binpb").read_bytes()
    )
    pool = DescriptorPool()
    for file in described.file:
        pool.AddSerializedFile(file.SerializeToString())
    return {
        f"{service.full_name}/{method.name}": method
        for file in described.file
        for service in pool.FindFileByName(file.name).services_by_name.values()
        for method in service.methods
    }


class RpcClient:
    """A connection; close it by leaving it."""

    def __init__(self, address: Address) -> None:
        self._channel = grpc.insecure_channel(str(address))
        self._methods = methods()

    def __enter__(self) -> RpcClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.close()

    def call(self, path: str, request: Json | bytes, token: str | None = None) -> Json:
        """The answer to a request, which may be bytes as they go on the wire. Raises Refused."""
        method = self._methods[path]
        request_class, response_class = map(
            GetMessageClass, (method.input_type, method.output_type)
        )
        data = request
        if not isinstance(data, bytes):
            data = ParseDict(data, request_class()).SerializeToString()
        invoke = self._channel.unary_unary(
            f"/{path}", response_deserializer=response_class.FromString
        )
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        try:
            response: Message = invoke(data, metadata=metadata, timeout=_DEADLINE_S)
        except grpc.RpcError as error:
            raise _refused(error) from error
        return MessageToDict(response, preserving_proto_field_name=True)


def _refused(error: Any) -> Refused:
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in status.details:
        known = next((kind for kind in (info, bad, retry) if detail.Unpack(kind)), None)
        assert known is not None, f"unexpected {detail.type_url}"
    assert not status.details or status.code == error.code().value[0]
    return Refused(
        code=error.code().name,
        message=error.details() or "",
        domain=info.domain,
        reason=info.reason,
        meta=dict(info.metadata),
        violations={found.field: found.reason for found in bad.field_violations},
        retry_after_s=retry.retry_delay.seconds or None,
    )
