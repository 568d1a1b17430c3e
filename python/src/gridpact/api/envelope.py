"""What is around every request: its trace, the headers of its answer, and the last safety net."""

from __future__ import annotations

import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gridpact.api.problems import problem_of
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log
from gridpact.kit.trace import begin_trace

log = Log(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Envelope:
    """ASGI middleware; outermost of what the application adds itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin_trace(_header(scope, b"traceparent"))
        began = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            log.debug("caller-gone", method=scope["method"], path=scope["path"])
            return
        except Exception:
            log.exception("request-failed", method=scope["method"], path=scope["path"])
            if status:
                raise
            failure = problem_of(GridpactError(Reason.INTERNAL, "internal error"), scope["path"])
            await failure(scope, receive, send_with_headers)
        duration_ms = (time.perf_counter() - began) * 1000
        log.debug(
            "request", method=scope["method"], path=scope["path"], status=status, ms=duration_ms
        )


def _header(scope: Scope, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
