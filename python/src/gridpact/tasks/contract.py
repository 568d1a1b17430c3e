"""What the contracts say of a task: the generated shapes behind the port `TaskContract`."""

from __future__ import annotations

import hashlib
from datetime import datetime

from msgspec import UNSET

from gridpact.contracts import shapes
from gridpact.contracts.channels import (
    BODY_BYTES,
    KINDS,
    LIMITS,
    QUEUE_ADDRESS,
    QUEUE_BODY_BYTES,
    QUEUE_ENGINES,
    ZSTD_THRESHOLD_BYTES,
)
from gridpact.kit.compression import compress, decompress
from gridpact.kit.shapes import Field, Numeric, Record, Text
from gridpact.kit.violation import ContractError, Violation
from gridpact.kit.wire import Message, decode
from gridpact.tasks.domain import Body, Encoding
from gridpact.tasks.ports import PackedInput, QueueMessage, Request

_REQUEST = Record(
    (
        # As the header Idempotency-Key in contracts/openapi.yaml.
        Field("idempotency_key", Text(1, 128, pattern="^[A-Za-z0-9_.:-]+$")),
        Field("kind", shapes.TASK_KIND),
        Field("engine_choice", Text(choices=QUEUE_ENGINES)),
        Field("site_id", shapes.IDENTIFIER, required=False),
        Field("label", shapes.NAME, required=False),
        # As contracts/schemas/probe-submission.yaml.
        Field("timeout_s", Numeric(above=0, maximum=86400)),
    )
)

# An empty map.
_BODY_OF_CLAIM = b"\x80"


class GeneratedContract:
    """The TaskContract of this release."""

    def check_request(self, request: Request) -> list[Violation]:
        found: list[Violation] = []
        members = {field.name: getattr(request, field.name) for field in _REQUEST.fields}
        given = {name: value for name, value in members.items() if value is not None}
        _REQUEST.check(given, "", found)
        return found

    def pack_input(self, kind: str, body: Body) -> PackedInput:
        data = decompress(body.encoding.value, body.data, LIMITS.decoded_bytes)
        wanted = decode(KINDS[kind].input, data, LIMITS)
        # The bytes that were checked are the bytes that the worker gets.
        if body.encoding is Encoding.IDENTITY:
            encoding, packed = compress(data, ZSTD_THRESHOLD_BYTES)
            body = Body(Encoding(encoding), packed)
        if len(body.data) > BODY_BYTES:
            words = f"it has {len(body.data)} bytes when packed, at most {BODY_BYTES} are taken"
            raise ContractError("MESSAGE_TOO_LARGE", words)
        return PackedInput(body, hashlib.sha256(data).digest(), _affinity_of(kind, wanted))

    def first_message(
        self,
        task_id: str,
        kind: str,
        engine_choice: str,
        payload: Body,
        *,
        affinity_key: str | None,
        traceparent: str | None,
        timeout_time: datetime | None,
    ) -> QueueMessage:
        size = len(payload.data)
        is_claim = size > QUEUE_BODY_BYTES
        properties = {
            "task_id": task_id,
            "kind": kind,
            "encoding": payload.encoding.value,
            "affinity_key": affinity_key,
            "traceparent": traceparent,
            "claim_bytes": str(size) if is_claim else None,
            "timeout_epoch_ms": timeout_time and str(int(timeout_time.timestamp() * 1000)),
        }
        return QueueMessage(
            topic=QUEUE_ADDRESS.format(engine=engine_choice, kind=kind),
            key=task_id,
            properties={name: value for name, value in properties.items() if value is not None},
            body=_BODY_OF_CLAIM if is_claim else payload.data,
        )

    def fault_of_result(self, kind: str, body: Body) -> str | None:
        if len(body.data) > BODY_BYTES:
            return f"it has {len(body.data)} bytes, at most {BODY_BYTES} are taken"
        try:
            data = decompress(body.encoding.value, body.data, LIMITS.decoded_bytes)
            decode(KINDS[kind].result, data, LIMITS)
        except ContractError as error:
            return error.message
        return None


def _affinity_of(kind: str, wanted: Message) -> str | None:
    member = KINDS[kind].affinity
    if member is None:
        return None
    value = getattr(wanted, member)
    return "" if value is UNSET else value
