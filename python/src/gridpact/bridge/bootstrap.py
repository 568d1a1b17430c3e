"""Wires the bridge."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from gridpact.bridge.domain import LaneRules
from gridpact.bridge.mq import header_of
from gridpact.bridge.repository import RedisCancelWishes
from gridpact.bridge.rpc import GrpcTaskOwner, ending_bytes
from gridpact.bridge.service import Bridge
from gridpact.bridge.ws import NodeLink
from gridpact.broker.bootstrap import connected_broker
from gridpact.contracts.channels import (
    KINDS,
    QUEUE_ADDRESS,
    QUEUE_ENGINES,
    QUEUE_INVISIBILITY_MS,
    QUEUE_MAX_ATTEMPTS,
)
from gridpact.kit.background import running
from gridpact.kit.redis_connection import connect_redis
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.rpc.service_token import ServiceToken, no_token
from gridpact.kit.settings import BridgeSettings, SettingsError

# What is at work may end; then everything is handed back. Together less than a process has to end.
DRAIN_S = 2.0
HAND_BACK_S = 2.0


@asynccontextmanager
async def serving(settings: BridgeSettings) -> AsyncIterator[Mapping[str, object]]:
    """The bridge, delivering while entered; drained when left."""
    lanes = lane_rules(settings)
    bridge_id = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        identity = RpcChannel(settings.rpc_address, credentials=no_token)
        stack.callback(identity.close)
        token = ServiceToken(identity, "bridge", settings.bridge_secret)
        tasks = RpcChannel(settings.rpc_address, credentials=token)
        stack.callback(tasks.close)
        redis = connect_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        broker = await stack.enter_async_context(connected_broker(settings))
        bridge = Bridge(
            owner=GrpcTaskOwner(tasks, bridge_id),
            cancels=RedisCancelWishes(redis),
            consumers={
                rules: broker.consumer(QUEUE_ADDRESS.format(engine=rules.choice, kind=rules.kind))
                for rules in lanes
            },
            bridge_id=bridge_id,
            read_header=header_of,
            invisible_duration=timedelta(milliseconds=QUEUE_INVISIBILITY_MS),
            max_attempts=QUEUE_MAX_ATTEMPTS,
            ending_bytes=ending_bytes,
        )
        for url in settings.compute_urls:
            link = NodeLink(url, settings.compute_secret, bridge_id, bridge)
            await stack.enter_async_context(running(link.run(), f"link {url}"))
        await stack.enter_async_context(running(bridge.run(), "bridge"))
        try:
            yield {"bridge_id": bridge_id, "nodes": len(settings.compute_urls)}
        finally:
            await bridge.drain(DRAIN_S, HAND_BACK_S)


def lane_rules(settings: BridgeSettings) -> list[LaneRules]:
    """Every topic of the queue, served as the contract and the settings say.

    Raises SettingsError that names the variable and what it must look like.
    """
    priorities = _by_kind("GRIDPACT_KIND_PRIORITY", settings.kind_priority)
    concurrencies = _by_kind("GRIDPACT_KIND_CONCURRENCY", settings.kind_concurrency)
    for kind, priority in priorities.items():
        if priority not in ("urgent", "normal"):
            words = f"{kind} is urgent or normal, not {priority!r}"
            raise SettingsError(f"GRIDPACT_KIND_PRIORITY: {words}")
    for kind, text in concurrencies.items():
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            words = f"{kind} takes a whole number, at least 1, not {text!r}"
            raise SettingsError(f"GRIDPACT_KIND_CONCURRENCY: {words}")
    return [
        LaneRules(
            choice=choice,
            kind=kind.name,
            is_urgent=priorities.get(kind.name, kind.priority) == "urgent",
            concurrency=(
                int(concurrencies[kind.name]) if kind.name in concurrencies else kind.concurrency
            ),
        )
        for choice in QUEUE_ENGINES
        for kind in KINDS.values()
    ]


def _by_kind(variable: str, items: Sequence[str]) -> dict[str, str]:
    """Settings of the form `dispatch=3,replay=1`."""
    found: dict[str, str] = {}
    for item in items:
        kind, separator, value = item.partition("=")
        if not separator or kind not in KINDS:
            known = ", ".join(KINDS)
            raise SettingsError(f"{variable}: {item!r} is not kind=value; the kinds are {known}")
        found[kind] = value
    return found
