"""The gRPC protocol of RocketMQ, from the official Python client.

Only the generated part of `rocketmq-python-client` is used. Its package would, when it is
imported, make a folder in the user's home for its log and load OpenTelemetry; its client would
run threads of its own, hide what the proxy answers, and leave a consumer deaf after a restart of
the broker (docs/brokers.md).
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gridpact.broker.port import BrokerError

if TYPE_CHECKING:
    # Its generated modules have no types.
    AckMessageEntry: Any
    AckMessageRequest: Any
    ChangeInvisibleDurationRequest: Any
    HeartbeatRequest: Any
    MessagingServiceStub: Any
    NotifyClientTerminationRequest: Any
    ReceiveMessageRequest: Any
    SendMessageRequest: Any
    TelemetryCommand: Any


def _without_its_package() -> None:
    """Lets `rocketmq.grpc_protocol` be imported without running `rocketmq/__init__.py`."""
    if "rocketmq" in sys.modules:
        return
    spec = importlib.util.find_spec("rocketmq")
    if spec is None or spec.submodule_search_locations is None:
        raise BrokerError("the client of RocketMQ is missing: run scripts/setup-rocketmq")
    package = ModuleType("rocketmq")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["rocketmq"] = package


if not TYPE_CHECKING:
    _without_its_package()
    from rocketmq.grpc_protocol.service_pb2 import (
        AckMessageEntry,
        AckMessageRequest,
        ChangeInvisibleDurationRequest,
        HeartbeatRequest,
        NotifyClientTerminationRequest,
        ReceiveMessageRequest,
        SendMessageRequest,
        TelemetryCommand,
    )
    from rocketmq.grpc_protocol.service_pb2_grpc import MessagingServiceStub

# Of rocketmq.grpc_protocol.definition_pb2, which has no types.
OK = 20000
MULTIPLE_RESULTS = 30000
INVALID_RECEIPT_HANDLE = 40013
MESSAGE_TYPE_CONFLICT = 40014
MESSAGE_NOT_FOUND = 40401
TOPIC_NOT_FOUND = 40402
CONSUMER_GROUP_NOT_FOUND = 40403

NORMAL, FIFO, DELAY = 1, 2, 3
SIMPLE_CONSUMER = 3
PYTHON = 6
TAG_FILTER = 1
IDENTITY = 1

__all__ = [
    "AckMessageEntry",
    "AckMessageRequest",
    "ChangeInvisibleDurationRequest",
    "HeartbeatRequest",
    "MessagingServiceStub",
    "NotifyClientTerminationRequest",
    "ReceiveMessageRequest",
    "SendMessageRequest",
    "TelemetryCommand",
]
