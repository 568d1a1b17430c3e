"""GridpactError as ``google.rpc.Status``, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log
from gridpact.kit.violation import Violation

log = Log(__name__)

DOMAIN = "gridpact"

# gRPC clients commonly refuse more than 8 KiB of trailers. The message stands there twice, once
# percent-encoded; details are base64.
_MESSAGE_BYTES = 300
_META_BYTES = 160
_META_COUNT = 8
_VIOLATION_BYTES = 600
_VIOLATIONS_BYTES = 2000

# What a peer may say that is none of our services (a proxy, grpclib itself), or a lost connection.
_REASON_WITHOUT_INFO = {
    Status.UNAVAILABLE: Reason.UNAVAILABLE,
    Status.CANCELLED: Reason.UNAVAILABLE,
    Status.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    Status.UNAUTHENTICATED: Reason.TOKEN_INVALID,
    Status.INVALID_ARGUMENT: Reason.INVALID_ARGUMENT,
    Status.RESOURCE_EXHAUSTED: Reason.MESSAGE_TOO_LARGE,
}


_KINDS: Mapping[str, type[Message]] = {
    "google.rpc.ErrorInfo": ErrorInfo,
    "google.rpc.BadRequest": BadRequest,
    "google.rpc.RetryInfo": RetryInfo,
}


class StatusDetails(StatusDetailsCodecBase):
    """The ``grpc-status-details-bin`` trailer: ErrorInfo, BadRequest and RetryInfo."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        """The serialized ``google.rpc.Status`` with these detail messages."""
        whole = RpcStatus(code=status.value, message=message or "")
        for detail in details or ():
            whole.details.add().Pack(detail)
        return whole.SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes) -> list[Message]:
        """The detail messages of the kinds we know; none when the trailer is broken."""
        try:
            return [
                _KINDS[packed.TypeName()].FromString(packed.value)
                for packed in RpcStatus.FromString(data).details
                if packed.TypeName() in _KINDS
            ]
        except DecodeError:
            log.warning("status-details-broken", status=status.name)
            return []


def to_grpc(error: GridpactError) -> GRPCError:
    """The error as gRPC says it; INTERNAL says nothing of its inside."""
    internal = error.reason is Reason.INTERNAL
    message = "internal error" if internal else _short(error.message, _MESSAGE_BYTES)
    shown = [] if internal else list(error.meta.items())[:_META_COUNT]
    meta = {name: _short(value, _META_BYTES) for name, value in shown}
    details: list[Message] = [ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=meta)]
    if error.violations and not internal:
        details.append(BadRequest(field_violations=_fitting(error.violations)))
    if error.retry_after_s is not None:
        details.append(RetryInfo(retry_delay=Duration(seconds=error.retry_after_s)))
    return GRPCError(Status(int(error.entry.grpc_code)), message, details)


def from_grpc(error: GRPCError) -> GridpactError:
    """The error that a service raised, or what comes nearest to what another peer said."""
    details: Sequence[Any] = error.details or ()
    info = next((each for each in details if isinstance(each, ErrorInfo)), None)
    if info is None or info.domain != DOMAIN or info.reason not in Reason.__members__:
        reason = _REASON_WITHOUT_INFO.get(error.status, Reason.INTERNAL)
        if reason is Reason.INTERNAL:
            log.error("foreign-status", status=error.status.name, message=error.message)
            return GridpactError(reason, "internal error")
        return GridpactError(reason, error.message or reason.replace("_", " ").lower())
    violations = [
        Violation(violation.field, violation.reason, violation.description)
        for each in details
        if isinstance(each, BadRequest)
        for violation in each.field_violations
    ]
    return GridpactError(
        Reason(info.reason), error.message or "", violations=violations, **info.metadata
    )


def _short(text: str, most_bytes: int) -> str:
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    return data[: most_bytes - 3].decode(errors="ignore") + "…"


def _fitting(violations: Sequence[Violation]) -> list[BadRequest.FieldViolation]:
    """The first violations, as many as a trailer holds."""
    fitting: list[BadRequest.FieldViolation] = []
    room = _VIOLATIONS_BYTES
    for violation in violations:
        packed = BadRequest.FieldViolation(
            field=_short(violation.field, _VIOLATION_BYTES),
            reason=violation.rule,
            description=_short(violation.message, _VIOLATION_BYTES),
        )
        room -= packed.ByteSize()
        if room < 0:
            break
        fitting.append(packed)
    return fitting
