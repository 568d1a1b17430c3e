"""The services behind the API, by their generated interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gridpact.contracts.proto.gridpact.assets.v1 import AssetsServiceBase, AssetsServiceStub
from gridpact.contracts.proto.gridpact.identity.v1 import IdentityServiceBase, IdentityServiceStub
from gridpact.contracts.proto.gridpact.series.v1 import SeriesServiceBase, SeriesServiceStub
from gridpact.contracts.proto.gridpact.tasks.v1 import TasksServiceBase, TasksServiceStub
from gridpact.kit.errors import GridpactError
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.violation import Violation


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


@contextmanager
def fields_renamed(names: Mapping[str, str]) -> Iterator[None]:
    """Says of a service's violations what REST calls their fields (``from`` for ``from_time``)."""
    try:
        yield
    except GridpactError as error:
        if not any(violation.field in names for violation in error.violations):
            raise
        violations = [
            Violation(names.get(each.field, each.field), each.rule, each.message)
            for each in error.violations
        ]
        raise GridpactError.invalid(violations) from error
