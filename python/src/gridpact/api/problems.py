"""Every error as a problem document (RFC 9457)."""

from __future__ import annotations

from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gridpact.contracts.errors import Reason
from gridpact.contracts.rest import Problem, Violation
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log, current_trace_id
from gridpact.kit.rest import violations_from
from gridpact.kit.violation import ContractError

log = Log(__name__)

MEDIA_TYPE = "application/problem+json"

# What to wait when a reason says that waiting helps, and not how long.
_RETRY_AFTER_S = 1


def problem_of(error: GridpactError, instance: str) -> Response:
    """The response of an error; INTERNAL says nothing of its inside."""
    entry, internal = error.entry, error.reason is Reason.INTERNAL
    body = Problem(
        type=entry.problem_type,
        title=entry.title,
        status=entry.http_status,
        detail="internal error" if internal else error.message[:4096],
        instance=quote(instance)[:512],
        reason=error.reason.value,
        violations=None if internal else _violations(error) or None,
        meta=None if internal else _meta(error) or None,
        trace_id=current_trace_id.get(),
    )
    return Response(
        body.to_json(), entry.http_status, headers=_headers(error), media_type=MEDIA_TYPE
    )


async def on_gridpact_error(request: Request, error: Exception) -> Response:
    """What a use case, a service or the API itself refused."""
    assert isinstance(error, GridpactError)
    return problem_of(error, request.url.path)


async def on_contract_error(request: Request, error: Exception) -> Response:
    """A task's input that its message contract refuses."""
    assert isinstance(error, ContractError)
    return problem_of(GridpactError.of(error), request.url.path)


async def on_parameters(request: Request, error: Exception) -> Response:
    """Path, query and header parameters that break their schema."""
    assert isinstance(error, RequestValidationError)
    violations = violations_from(error.errors())
    return problem_of(GridpactError.invalid(violations), request.url.path)


async def on_routing(request: Request, error: Exception) -> Response:
    """No such path, or no such method on it."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        words = f"{request.method} is not offered here"
        refused = GridpactError(Reason.METHOD_NOT_ALLOWED, words, method=request.method)
        response = problem_of(refused, path)
        response.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return response
    if error.status_code == 404:
        words = "there is nothing at this path"
        return problem_of(
            GridpactError(Reason.NOT_FOUND, words, resource="path", id=path[:256]), path
        )
    log.error("http-exception", status=error.status_code, detail=error.detail)
    return problem_of(GridpactError(Reason.INTERNAL, "internal error"), path)


def _methods(request: Request) -> set[str]:
    """Every method that some route offers at the path of the request."""
    path = request.url.path
    return {
        method
        for route in request.app.routes
        if route.path_regex.fullmatch(path)
        for method in route.methods
    }


def _headers(error: GridpactError) -> dict[str, str]:
    status = error.entry.http_status
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}
    if status in (413, 504):
        # The rest of the body may not have been read, so the connection cannot be used again.
        return {"Connection": "close"}
    if status in (429, 503):
        return {"Retry-After": str(error.retry_after_s or _RETRY_AFTER_S)}
    return {}


def _violations(error: GridpactError) -> list[Violation]:
    return [
        Violation(
            field=violation.field[:256], rule=violation.rule[:64], message=violation.message[:1024]
        )
        for violation in error.violations
    ]


def _meta(error: GridpactError) -> dict[str, str]:
    return {name: value[:1024] for name, value in list(error.meta.items())[:32]}
