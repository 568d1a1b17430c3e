"""Queue messages: their headers, as the contract defines them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET

from gridpact.bridge.domain import Header
from gridpact.contracts.messages import ComputeTaskHeaders
from gridpact.kit.wire import build


def header_of(properties: Mapping[str, str]) -> Header:
    """The header of a message; ContractError when its properties break the contract."""
    headers = build(ComputeTaskHeaders, dict(properties))
    return Header(
        task_id=headers.task_id,
        kind=headers.kind,
        encoding=headers.encoding,
        affinity_key=None if headers.affinity_key is UNSET else headers.affinity_key,
        claim_bytes=None if headers.claim_bytes is UNSET else int(headers.claim_bytes),
        timeout_epoch_ms=(
            None if headers.timeout_epoch_ms is UNSET else int(headers.timeout_epoch_ms)
        ),
        traceparent=None if headers.traceparent is UNSET else headers.traceparent,
    )
