"""The API, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gridpact.api.application import application
from gridpact.api.event_hub import EventHub
from gridpact.api.event_log import RedisEventLog
from gridpact.api.event_stream import EventStreams
from gridpact.api.http_protocol import BoundedProtocol
from gridpact.api.platform import Platform
from gridpact.api.series import TimeSeries
from gridpact.api.services import Services
from gridpact.api.sessions import Sessions
from gridpact.api.sites import Sites
from gridpact.api.tasks import Tasks
from gridpact.contracts.proto.gridpact.identity.v1 import GetKeysRequest
from gridpact.kit.errors import unavailable
from gridpact.kit.redis_connection import connect_redis, redis_errors
from gridpact.kit.revocations import Revocations
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.rpc.health import Check
from gridpact.kit.settings import ApiSettings
from gridpact.kit.tokens import Keys, PublicKey, TokenVerifier

_STOP_S = 3


def build_app(
    services: Services,
    verifier: TokenVerifier,
    streams: EventStreams,
    checks: Mapping[str, Check],
) -> FastAPI:
    """The whole application on these services; nothing in it opens a connection."""
    return application(
        verifier,
        Sessions(services),
        Sites(services),
        TimeSeries(services),
        Tasks(services, streams),
        Platform(checks),
    )


def keys_of(services: Services) -> Keys:
    """The keys as identity tells them."""

    async def fetch() -> list[PublicKey]:
        response = await services.identity.get_keys(GetKeysRequest())
        return [PublicKey(key.kid, key.n, key.e) for key in response.keys]

    return Keys(fetch)


@asynccontextmanager
async def wired_app(settings: ApiSettings) -> AsyncIterator[tuple[FastAPI, EventHub]]:
    """The application on the services and the Redis of the settings, and the hub of its streams."""
    async with AsyncExitStack() as stack:
        channel = RpcChannel(settings.rpc_address)
        stack.callback(channel.close)
        services = Services.on(channel)
        redis = connect_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        revocations = Revocations(redis)
        event_log = RedisEventLog(redis)
        hub = await stack.enter_async_context(EventHub(event_log).running())
        revocations.on_revoked(hub.end_session)
        await stack.enter_async_context(revocations.following())

        async def check_services() -> None:
            response = await HealthStub(channel).Check(HealthCheckRequest())
            if response.status != HealthCheckResponse.SERVING:
                raise unavailable("the services do not serve yet")

        async def check_redis() -> None:
            with redis_errors():
                await redis.execute_command("PING")

        verifier = TokenVerifier(keys_of(services), revocations)
        checks = {"services": check_services, "redis": check_redis}
        yield build_app(services, verifier, EventStreams(hub, event_log), checks), hub


@asynccontextmanager
async def serving_api(settings: ApiSettings) -> AsyncIterator[Mapping[str, object]]:
    """Serves the API while entered; on leaving, streams end and requests may finish."""
    async with wired_app(settings) as (app, hub):
        server = _Server(
            uvicorn.Config(
                app,
                host=settings.api_address.host,
                port=settings.api_address.port,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # Whoever is in front may not be believed what it says of the caller.
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_STOP_S,
            )
        )
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(), name="uvicorn")
            await server.listening.wait()
            yield {"address": settings.api_address}
            hub.close()
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """uvicorn without signal handlers of its own, which says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup()
        self.listening.set()
