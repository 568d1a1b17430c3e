"""Wires the services of one process and serves them.

A service that needs another one gets its generated interface: the service itself where both are in
this process, a client where it is elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from gridpact.assets.bootstrap import build_assets
from gridpact.broker.bootstrap import connected_broker
from gridpact.contracts.proto.gridpact.assets.v1 import AssetsServiceBase, AssetsServiceStub
from gridpact.contracts.proto.gridpact.identity.v1 import GetKeysRequest, IdentityServiceStub
from gridpact.identity.bootstrap import build_identity
from gridpact.kit.database import Database
from gridpact.kit.redis_connection import connect_redis
from gridpact.kit.revocations import Revocations
from gridpact.kit.rpc.access import RpcService
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.rpc.server import serving_rpc
from gridpact.kit.settings import Address, ServicesSettings, SettingsError
from gridpact.kit.tokens import Keys, PublicKey, TokenVerifier
from gridpact.series.bootstrap import build_series
from gridpact.tasks.bootstrap import POLICY, running_tasks

SERVICES = ("identity", "assets", "series", "tasks")


@dataclass(frozen=True, slots=True)
class HostSettings(ServicesSettings):
    """The settings of the process.

    identity_address, assets_address: where the services are that it does not host itself.
    republish_delay_s: how long a waiting task may be without a sign of its message before the
        message counts as lost (`gridpact.tasks.domain.Policy`).
    """

    identity_address: str = ""
    assets_address: str = ""
    republish_delay_s: int = 30


@asynccontextmanager
async def serving_services(
    names: Collection[str], settings: HostSettings
) -> AsyncIterator[Mapping[str, object]]:
    """Serves the named services of SERVICES while entered."""
    async with AsyncExitStack() as stack:
        elsewhere = {
            name: _channel(stack, name, address)
            for name, address, callers in (
                ("identity", settings.identity_address, SERVICES),
                ("assets", settings.assets_address, ("series", "tasks")),
            )
            if name not in names and not set(callers).isdisjoint(names)
        }
        database = await stack.enter_async_context(Database(settings.database_url).opened())
        redis = connect_redis(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        revocations = Revocations(redis)
        await stack.enter_async_context(revocations.following())

        hosted: list[RpcService] = []
        assets: AssetsServiceBase | AssetsServiceStub | None = None
        if "identity" in names:
            identity = await build_identity(database, redis, revocations, settings.bridge_secret)
            hosted.append(identity.rpc)
            keys = identity.keys
        else:
            keys = _keys_of(elsewhere["identity"])
        if "assets" in names:
            hosted.append(assets := build_assets(database))
        elif "assets" in elsewhere:
            assets = AssetsServiceStub(elsewhere["assets"])
        if "series" in names and assets:
            hosted.append(build_series(database, assets))
        if "tasks" in names and assets:
            policy = replace(POLICY, republish_delay=timedelta(seconds=settings.republish_delay_s))
            broker = await stack.enter_async_context(connected_broker(settings))
            tasks = await stack.enter_async_context(
                running_tasks(database, redis, broker, assets, policy)
            )
            hosted += [tasks.tasks, tasks.delivery]

        verifier = TokenVerifier(keys, revocations)
        checks = {"database": database.check}
        await stack.enter_async_context(serving_rpc(hosted, settings.rpc_address, verifier, checks))
        yield {"address": settings.rpc_address, "services": ",".join(names)}


def _channel(stack: AsyncExitStack, name: str, address: str) -> RpcChannel:
    variable = f"GRIDPACT_{name.upper()}_ADDRESS"
    try:
        channel = RpcChannel(Address.parse(address))
    except ValueError as error:
        words = f"{variable} {error}: this process does not host {name}"
        raise SettingsError(words) from error
    stack.callback(channel.close)
    return channel


def _keys_of(channel: RpcChannel) -> Keys:
    identity = IdentityServiceStub(channel)

    async def fetch() -> list[PublicKey]:
        response = await identity.get_keys(GetKeysRequest())
        return [PublicKey(key.kid, key.n, key.e) for key in response.keys]

    return Keys(fetch)
