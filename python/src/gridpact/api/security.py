"""The way into an operation: a verified token and a role, before anything else is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request

from gridpact.contracts.operations import Operation
from gridpact.kit.caller import Access, current_caller, current_token
from gridpact.kit.tokens import TokenVerifier, bearer_token

Guard = Callable[[Request], Awaitable[None]]


def guard_of(operation: Operation, verifier: TokenVerifier) -> Guard:
    """Lets those through who may call the operation, as ``x-gateway`` says; 401 or 403.

    The caller becomes the current one, the token goes along to the services, and
    ``request.state.token_expires`` is the Unix time at which it ends.
    """
    access = Access.PUBLIC if operation.role is None else Access[operation.role.upper()]

    async def guard(request: Request) -> None:
        if access is Access.PUBLIC:
            return
        token = bearer_token(request.headers.get("authorization"))
        caller, expires = await verifier.caller_until(token)
        caller.require(access)
        current_caller.set(caller)
        current_token.set(token)
        request.state.token_expires = expires

    return guard
