"""Wires the bridge."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from gridpact.bridge.mq import header_of
from gridpact.bridge.repository import RedisCancelWishes
from gridpact.bridge.rpc import GrpcTaskOwner, ending_bytes
from gridpact.bridge.service import Bridge
from gridpact.bridge.ws import NodeLink
from gridpact.broker.bootstrap import connected_broker
from gridpact.contracts.channels import QUEUE_ADDRESS, QUEUE_ENGINES, QUEUE_INVISIBILITY_MS
from gridpact.kit.background import running
from gridpact.kit.redis_connection import connect_redis
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.rpc.service_token import ServiceToken, no_token
from gridpact.kit.settings import BridgeSettings

# What is at work may end; then everything is handed back. Together less than a process has to end.
DRAIN_S = 2.0
HAND_BACK_S = 2.0


@asynccontextmanager
async def serving(settings: BridgeSettings) -> AsyncIterator[Mapping[str, object]]:
    """The bridge, delivering while entered; drained when left."""
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
                engine: broker.consumer(QUEUE_ADDRESS.format(engine=engine))
                for engine in QUEUE_ENGINES
            },
            read_header=header_of,
            invisible_duration=timedelta(milliseconds=QUEUE_INVISIBILITY_MS),
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
