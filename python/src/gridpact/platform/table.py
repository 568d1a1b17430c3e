"""The process table: what the embedded platform consists of, and what waits for what.

initdb ── postgres ── migrate ──┬── first-admin
                                ├── services ──┬── bridge
redis ──────────────────────────┤              └── api
                                └── relay
compute-julia    compute-python

With RocketMQ as the broker, relay and bridge also wait for it:  rocketmq-names ── rocketmq
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gridpact.kit.settings import Address
from gridpact.platform.compute import ComputeNode
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import dies_with_parent
from gridpact.platform.options import Broker, PlatformOptions
from gridpact.platform.postgres import Postgres, database_url
from gridpact.platform.probes import grpc_is_serving, http_is_ready
from gridpact.platform.redis import prepare_redis, redis_url
from gridpact.platform.rocketmq import (
    BROKER_IS_BROKEN,
    BROKER_READY,
    NAME_SERVER_READY,
    ROCKETMQ_LISTENERS,
    START_SECONDS,
    STOP_SECONDS,
    Rocketmq,
    RocketmqPorts,
)
from gridpact.platform.state import Secrets
from gridpact.platform.steps import Steps
from gridpact.platform.supervisor import ProcessSpec

Addresses = Mapping[str, Address]


def listeners(computes: Sequence[ComputeNode], broker: Broker) -> tuple[str, ...]:
    """The processes that need an address."""
    return (
        *("postgres", "redis", "services", "api"),
        *(node.name for node in computes),
        *(ROCKETMQ_LISTENERS if broker == "rocketmq" else ()),
    )


def platform_environment(
    state_dir: Path, broker: str, secrets: Secrets, addresses: Addresses
) -> dict[str, str]:
    """The variables of `gridpact.kit.settings` that describe this platform."""
    computes = [address for name, address in addresses.items() if name.startswith("compute-")]
    environment = {
        "GRIDPACT_STATE_DIR": str(state_dir),
        "GRIDPACT_DATABASE_URL": database_url(addresses["postgres"], secrets.database_password),
        "GRIDPACT_REDIS_URL": redis_url(addresses["redis"], secrets.redis_password),
        "GRIDPACT_RPC_ADDRESS": str(addresses["services"]),
        "GRIDPACT_API_ADDRESS": str(addresses["api"]),
        "GRIDPACT_COMPUTE_URLS": ",".join(f"ws://{address}/compute" for address in computes),
        "GRIDPACT_COMPUTE_SECRET": secrets.compute_secret,
        "GRIDPACT_BRIDGE_SECRET": secrets.bridge_secret,
        "GRIDPACT_BROKER": broker,
    }
    if broker == "rocketmq":
        environment["GRIDPACT_ROCKETMQ_ENDPOINTS"] = str(addresses["rocketmq"])
        environment["GRIDPACT_ROCKETMQ_NAME_SERVERS"] = str(addresses["rocketmq-names"])
    return environment


def process_table(
    options: PlatformOptions,
    secrets: Secrets,
    addresses: Addresses,
    computes: Sequence[ComputeNode],
    steps: Steps,
) -> tuple[ProcessSpec, ...]:
    """The rows for these options, without the steps that were taken before.

    Writes what the servers need to start. Raises PlatformError.
    """
    postgres = Postgres.find(database_folder(options.state_dir))
    if postgres.is_initialised():
        postgres.prepare()
        done = steps.done() | {"initdb"}
    else:
        steps.forget()
        done = frozenset[str]()

    def environment(process: str) -> dict[str, str]:
        detours = options.detours.get(process, {})
        told = {**addresses, **{name: Address.parse(text) for name, text in detours.items()}}
        return platform_environment(options.state_dir, options.broker, secrets, told)

    broker = _rocketmq_rows(options, addresses) if options.broker == "rocketmq" else ()
    brokers = ("redis", *(row.name for row in broker))
    rows = (
        ProcessSpec(
            name="initdb",
            command=_python("gridpact.platform.postgres", str(postgres.data.parent)),
            environment={"GRIDPACT_DATABASE_PASSWORD": secrets.database_password},
            one_shot=True,
        ),
        ProcessSpec(
            name="postgres",
            command=postgres.server_command(addresses["postgres"]),
            after=("initdb",),
            ready_line=re.compile("database system is ready to accept connections"),
            # The fast shutdown: it does not wait for clients to leave.
            stop_signal=signal.SIGINT,
            stop_seconds=20.0,
            address=str(addresses["postgres"]),
        ),
        ProcessSpec(
            name="redis",
            command=prepare_redis(
                options.state_dir / "redis", addresses["redis"], secrets.redis_password
            ),
            ready_line=re.compile("Ready to accept connections"),
            address=str(addresses["redis"]),
        ),
        *broker,
        ProcessSpec(
            name="migrate",
            command=_python("gridpact.migrations"),
            environment=environment("migrate"),
            after=("postgres",),
            one_shot=True,
        ),
        ProcessSpec(
            name="first-admin",
            command=_python("gridpact.identity.bootstrap_admin"),
            environment={
                **environment("first-admin"),
                "GRIDPACT_ADMIN_EMAIL": secrets.admin_email,
                "GRIDPACT_ADMIN_PASSWORD": secrets.admin_password,
            },
            after=("postgres", "migrate"),
            one_shot=True,
        ),
        ProcessSpec(
            name="services",
            command=_python("gridpact.services"),
            environment=environment("services"),
            after=("postgres", "redis", "migrate"),
            probe=partial(grpc_is_serving, addresses["services"]),
            address=str(addresses["services"]),
        ),
        ProcessSpec(
            name="relay",
            command=_python("gridpact.relay"),
            environment=environment("relay"),
            after=("postgres", *brokers, "migrate"),
        ),
        ProcessSpec(
            name="bridge",
            command=_python("gridpact.bridge"),
            environment=environment("bridge"),
            after=(*brokers, "services"),
        ),
        ProcessSpec(
            name="api",
            command=_python("gridpact.api"),
            environment=environment("api"),
            after=("redis", "services"),
            probe=partial(http_is_ready, addresses["api"], "/health/ready"),
            address=str(addresses["api"]),
        ),
        *(_compute_row(node, secrets, addresses[node.name], options.workers) for node in computes),
    )
    mortal = tuple(replace(row, command=dies_with_parent(row.command)) for row in rows)
    return _narrowed(mortal, options.only or tuple(row.name for row in rows), done)


def database_folder(state_dir: Path) -> Path:
    """Where PostgreSQL's data lies, with the memory of what was done to it."""
    folder = state_dir / "postgres"
    folder.mkdir(exist_ok=True)
    return folder


def _rocketmq_rows(options: PlatformOptions, addresses: Addresses) -> tuple[ProcessSpec, ...]:
    rocketmq = Rocketmq.find(
        options.state_dir / "rocketmq",
        RocketmqPorts(*(addresses[name] for name in ROCKETMQ_LISTENERS)),
    )
    rocketmq.prepare()
    return (
        ProcessSpec(
            name="rocketmq-names",
            command=rocketmq.name_server_command(),
            environment=rocketmq.environment,
            ready_line=NAME_SERVER_READY,
            address=str(rocketmq.ports.names),
        ),
        ProcessSpec(
            name="rocketmq",
            command=rocketmq.broker_command(),
            environment=rocketmq.environment,
            after=("rocketmq-names",),
            ready_line=BROKER_READY,
            probe=rocketmq.is_ready,
            fatal_line=BROKER_IS_BROKEN,
            ready_seconds=START_SECONDS,
            stop_seconds=STOP_SECONDS,
            address=str(rocketmq.ports.proxy),
        ),
    )


def _compute_row(
    node: ComputeNode, secrets: Secrets, address: Address, workers: int
) -> ProcessSpec:
    arguments = ("--host", address.host, "--port", str(address.port), "--workers", str(workers))
    return ProcessSpec(
        name=node.name,
        command=(*node.command, *arguments),
        environment={"GRIDPACT_COMPUTE_SECRET": secrets.compute_secret, **node.environment},
        # Julia compiles its packages at the first start of all, and without a system image at
        # each: what a busy machine takes longer for would otherwise begin anew for ever.
        ready_seconds=120.0,
        longest_ready_seconds=960.0,
        address=str(address),
    )


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _narrowed(
    rows: Sequence[ProcessSpec], wanted: Sequence[str], done: frozenset[str]
) -> tuple[ProcessSpec, ...]:
    """The wanted rows that are not done, waiting for none that is left out."""
    if unknown := set(wanted) - {row.name for row in rows}:
        raise PlatformError(f"no such process: {', '.join(sorted(unknown))}")
    # A database is made for whoever wants its server.
    names = {*wanted, "initdb"} if "postgres" in wanted else set(wanted)
    return tuple(
        replace(row, after=tuple(name for name in row.after if name in names - done))
        for row in rows
        if row.name in names - done
    )
