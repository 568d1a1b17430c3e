"""Which TCP port each process listens on: the usual one when it is free, else any free one."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from gridpact.kit.settings import Address

HOST = "127.0.0.1"

USUAL_PORTS = {
    "postgres": 5432,
    "redis": 6379,
    "services": 7420,
    "compute-julia": 7430,
    "compute-python": 7431,
    "api": 8420,
    "rocketmq-names": 9876,
    "rocketmq-broker": 10911,
    "rocketmq": 8081,
}

# A server that takes more ports, at fixed distances from the one it is told.
OFFSETS = {"rocketmq-broker": (-2, 0, 1)}


class PortClaims:
    """Ports chosen for one platform and kept from every other one while this object lives.

    Between the choice of a port and the start of its server lies a moment in which a second
    platform could choose the same. Each claim therefore also binds an abstract Unix socket named
    after the port: unique in the network namespace, and let go by the kernel at any death.
    """

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []

    def claim(self, names: Iterable[str]) -> dict[str, Address]:
        """An address for every name; those without a usual port get any free one."""
        return {
            name: Address(HOST, self._claim(USUAL_PORTS.get(name), OFFSETS.get(name, (0,))))
            for name in names
        }

    def close(self) -> None:
        for claim in self._claims:
            claim.close()

    def _claim(self, usual_port: int | None, offsets: Sequence[int]) -> int:
        port = usual_port
        while port is None or not all(self._take(port + offset) for offset in offsets):
            port = _any_free_port()
        return port

    def _take(self, port: int) -> bool:
        if not _is_free(port):
            return False
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0gridpact-port-{port}")
        except OSError:
            claim.close()
            return False
        self._claims.append(claim)
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
