"""Settings of a process, read from the environment.

A frozen dataclass names what its process needs: field ``database_url`` is the variable
``GRIDPACT_DATABASE_URL``. Everything that is missing or wrong is reported at once, by variable
name and without the value, because a value may be a secret.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

Kind = TypeVar("Kind")

PREFIX = "GRIDPACT_"

LEAST_WORKER_MEMORY_MIB = 256


class SettingsError(Exception):
    """The environment lacks what a process needs; the message names every variable at fault."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address; ``str()`` gives ``host:port``, with brackets around an IPv6 host."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads ``host:port`` or ``[v6]:port``; raises ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        bare_host = host.removeprefix("[").removesuffix("]")
        if not colon or not bare_host or not port.isascii() or not port.isdigit():
            raise ValueError("must be host:port")
        if not 0 < int(port) < 65536:
            raise ValueError("the port must lie between 1 and 65535")
        return cls(bare_host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServicesSettings:
    """What ``python -m gridpact.services`` needs; ``rocketmq_…`` only with that broker."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    rpc_address: Address
    bridge_secret: str = field(repr=False)
    broker: str = "redis"
    rocketmq_endpoints: str = ""
    rocketmq_name_servers: tuple[str, ...] = ()
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What ``python -m gridpact.api`` needs."""

    redis_url: str = field(repr=False)
    rpc_address: Address
    api_address: Address
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """What ``python -m gridpact.relay`` needs; ``rocketmq_…`` only with that broker."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    broker: str = "redis"
    rocketmq_endpoints: str = ""
    rocketmq_name_servers: tuple[str, ...] = ()
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """What ``python -m gridpact.bridge`` needs; ``rocketmq_…`` only with that broker.

    ``kind_concurrency`` and ``kind_priority`` override what the contract says of kinds (`x-kinds`):
    `dispatch=3,replay=1` at once, `replay=urgent` or `mpc-step=normal`.
    """

    redis_url: str = field(repr=False)
    rpc_address: Address
    compute_urls: tuple[str, ...]
    compute_secret: str = field(repr=False)
    bridge_secret: str = field(repr=False)
    kind_concurrency: tuple[str, ...] = ()
    kind_priority: tuple[str, ...] = ()
    broker: str = "redis"
    rocketmq_endpoints: str = ""
    rocketmq_name_servers: tuple[str, ...] = ()
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What `gridpact dead-letters` needs; ``rocketmq_…`` only with that broker."""

    redis_url: str = field(repr=False)
    rpc_address: Address
    bridge_secret: str = field(repr=False)
    broker: str = "redis"
    rocketmq_endpoints: str = ""
    rocketmq_name_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """What ``python -m gridpact.compute`` needs besides its command line.

    ``worker_memory_mib``: what a worker may use; 0 means its share of the machine.
    """

    compute_secret: str = field(repr=False)
    worker_memory_mib: int = 0
    log_level: str = "info"

    def __post_init__(self) -> None:
        if self.worker_memory_mib and self.worker_memory_mib < LEAST_WORKER_MEMORY_MIB:
            words = f"must be at least {LEAST_WORKER_MEMORY_MIB}"
            raise SettingsError(f"GRIDPACT_WORKER_MEMORY_MIB {words}")


def read_settings(kind: type[Kind], environment: Mapping[str, str] | None = None) -> Kind:
    """Builds the dataclass ``kind`` from the environment (by default the process's own).

    An empty variable counts as missing. Raises SettingsError naming every variable that is
    missing without a default or cannot be read.
    """
    source = os.environ if environment is None else environment
    annotations = get_type_hints(kind)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for spec in fields(kind):  # pyright: ignore[reportArgumentType]  # any dataclass will do
        variable = PREFIX + spec.name.upper()
        text = source.get(variable, "")
        if not text:
            if spec.default is MISSING and spec.default_factory is MISSING:
                faults.append(f"{variable} is not set")
            continue
        try:
            values[spec.name] = _reader(annotations[spec.name])(text)
        except ValueError as error:
            faults.append(f"{variable} {error}")
    if faults:
        raise SettingsError("; ".join(faults))
    return kind(**values)


def _reader(annotation: object) -> Callable[[str], object]:
    readers: dict[object, Callable[[str], object]] = {
        str: str,
        int: _whole_number,
        Path: Path,
        Address: Address.parse,
        tuple[str, ...]: _comma_separated,
    }
    return readers[annotation]


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _comma_separated(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
