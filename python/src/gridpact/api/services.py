"""The services behind the API, by their generated interface."""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.contracts.proto.gridpact.assets.v1 import AssetsServiceBase, AssetsServiceStub
from gridpact.contracts.proto.gridpact.identity.v1 import IdentityServiceBase, IdentityServiceStub
from gridpact.contracts.proto.gridpact.series.v1 import SeriesServiceBase, SeriesServiceStub
from gridpact.contracts.proto.gridpact.tasks.v1 import TasksServiceBase, TasksServiceStub
from gridpact.kit.rpc.client import RpcChannel


@dataclass(frozen=True, slots=True)
class Services:
    """Each is a stub on a channel, or the service itself in the same process."""

    identity: IdentityServiceStub | IdentityServiceBase
    assets: AssetsServiceStub | AssetsServiceBase
    series: SeriesServiceStub | SeriesServiceBase
    tasks: TasksServiceStub | TasksServiceBase

    @classmethod
    def on(cls, channel: RpcChannel) -> Services:
        """All of them in one process at the other end of a channel."""
        return cls(
            IdentityServiceStub(channel),
            AssetsServiceStub(channel),
            SeriesServiceStub(channel),
            TasksServiceStub(channel),
        )
