"""The operations tagged ``platform`` (keys are with the sessions)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from gridpact.api.answers import answer
from gridpact.contracts import rest
from gridpact.kit.rpc.health import Check, passing


class Platform:
    """Liveness and readiness of this process."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def get_liveness(self) -> Response:
        return answer(rest.Health(status="ok", checks={}))

    async def get_readiness(self) -> Response:
        outcomes = await passing(self._checks)
        ready = all(outcomes.values())
        health = rest.Health(
            status="ok" if ready else "unavailable",
            checks={name: "ok" if passed else "unavailable" for name, passed in outcomes.items()},
        )
        return answer(health, 200 if ready else 503)
