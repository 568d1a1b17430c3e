"""Who may call which method: a table that every service declares, and nothing beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Protocol

from grpclib.const import Handler

from gridpact.kit.caller import Access


class RpcService(Protocol):
    """A generated service base, completed by the table of who may call its methods."""

    ACCESS: ClassVar[Mapping[str, Access]]

    def __mapping__(self) -> dict[str, Handler]: ...


def access_by_path(services: Collection[RpcService]) -> dict[str, Access]:
    """The access of each method path, such as ``/gridpact.tasks.v1.TasksService/GetTask``.

    ValueError when a method is missing from its service's table, or the table names a method that
    does not exist: a method that nobody decided on must not be served.
    """
    table: dict[str, Access] = {}
    for service in services:
        paths = {path.rpartition("/")[2]: path for path in service.__mapping__()}
        if set(paths) != set(service.ACCESS):
            odd = ", ".join(sorted(set(paths) ^ set(service.ACCESS)))
            raise ValueError(f"the access table of {type(service).__name__} is wrong about {odd}")
        table |= {paths[method]: access for method, access in service.ACCESS.items()}
    return table


def method_paths(services: Collection[Any]) -> set[str]:
    """Every method path that these handlers serve."""
    return {path for service in services for path in service.__mapping__()}
