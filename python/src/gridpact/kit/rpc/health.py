"""grpc.health.v1: whether this process serves and has what it needs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.health.v1.health_grpc import HealthBase
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.server import Stream

from gridpact.kit.log import Log

log = Log(__name__)

# Returns when what it stands for answers, raises when it does not.
Check = Callable[[], Awaitable[None]]

_ANSWER_FRESH_S = 1.0
_CHECK_S = 2.0


async def passing(checks: Mapping[str, Check]) -> dict[str, bool]:
    """Which checks pass within two seconds; all run at once."""
    outcomes = await asyncio.gather(*(_passes(name, check) for name, check in checks.items()))
    return dict(zip(checks, outcomes, strict=True))


class Health(HealthBase):
    """Answers for the process as a whole (service name empty) and for each service alike."""

    def __init__(self, checks: Mapping[str, Check], services: frozenset[str]) -> None:
        self._checks = checks
        self._services = services | {""}
        self._draining = False
        self._known = False
        self._asked_at = -_ANSWER_FRESH_S

    def drain(self) -> None:
        """From now on the process is about to end."""
        self._draining = True

    async def Check(  # noqa: N802
        self, stream: Stream[HealthCheckRequest, HealthCheckResponse]
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        if request.service not in self._services:
            raise GRPCError(Status.NOT_FOUND, "no such service")
        await stream.send_message(HealthCheckResponse(status=await self._status()))

    async def Watch(  # noqa: N802
        self, stream: Stream[HealthCheckRequest, HealthCheckResponse]
    ) -> None:
        request = await stream.recv_message()
        assert request is not None
        said: int | None = None
        while True:
            known = request.service in self._services
            status = await self._status() if known else HealthCheckResponse.SERVICE_UNKNOWN
            if status != said:
                await stream.send_message(HealthCheckResponse(status=status))
                said = status
            await asyncio.sleep(_ANSWER_FRESH_S)

    async def _status(self) -> HealthCheckResponse.ServingStatus.ValueType:
        if self._draining:
            return HealthCheckResponse.NOT_SERVING
        if time.monotonic() - self._asked_at >= _ANSWER_FRESH_S:
            self._known = all((await passing(self._checks)).values())
            self._asked_at = time.monotonic()
        return HealthCheckResponse.SERVING if self._known else HealthCheckResponse.NOT_SERVING


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(_CHECK_S):
            await check()
    except Exception as error:
        log.warning("check-failed", check=name, cause=f"{type(error).__name__}: {error}")
        return False
    return True
