"""The application: the contract's operations, each with its guard and its handler."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gridpact.api import problems
from gridpact.api.bodies import BodyRoom
from gridpact.api.documents import contract, document_routes
from gridpact.api.envelope import Envelope
from gridpact.api.security import guard_of
from gridpact.contracts.operations import OPERATIONS
from gridpact.kit.errors import GridpactError
from gridpact.kit.tokens import TokenVerifier
from gridpact.kit.violation import ContractError

Handler = Callable[..., Awaitable[Response]]


def application(verifier: TokenVerifier, *groups: object) -> FastAPI:
    """Serves every operation of the contract by the method of that name of one of ``groups``.

    ``createSite`` is served by ``create_site``. ValueError when an operation has no handler, or a
    handler no operation.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.body_room = BodyRoom()
    app.openapi = contract  # the file is the truth; nothing is derived from the code
    handlers = _handlers(groups)
    for operation_id, operation in OPERATIONS.items():
        app.router.routes.append(
            APIRoute(
                operation.path,
                handlers[_snake_case(operation_id)],
                methods=[operation.method],
                operation_id=operation_id,
                dependencies=[Depends(guard_of(operation, verifier))],
                response_model=None,
            )
        )
    app.router.routes.extend(document_routes())
    app.add_exception_handler(GridpactError, problems.on_gridpact_error)
    app.add_exception_handler(ContractError, problems.on_contract_error)
    app.add_exception_handler(RequestValidationError, problems.on_parameters)
    app.add_exception_handler(HTTPException, problems.on_routing)
    app.add_middleware(Envelope)
    return app


def _handlers(groups: tuple[object, ...]) -> dict[str, Handler]:
    handlers: dict[str, Any] = {
        name: getattr(group, name)
        for group in groups
        for name in vars(type(group))
        if not name.startswith("_")
    }
    wanted = {_snake_case(operation_id) for operation_id in OPERATIONS}
    if handlers.keys() != wanted:
        odd = ", ".join(sorted(handlers.keys() ^ wanted))
        raise ValueError(f"handlers and operations do not match: {odd}")
    return handlers


def _snake_case(operation_id: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", operation_id).lower()
