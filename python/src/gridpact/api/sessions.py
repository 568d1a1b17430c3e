"""The operations tagged ``sessions``, and the keys."""

from __future__ import annotations

from typing import Annotated, cast

from starlette.requests import Request
from starlette.responses import Response

from gridpact.api.answers import answer
from gridpact.api.bodies import json_body
from gridpact.api.services import Services
from gridpact.contracts import rest
from gridpact.contracts.proto.gridpact.identity.v1 import (
    GetCurrentUserRequest,
    GetKeysRequest,
    LogInRequest,
    LogOutRequest,
    RefreshSessionRequest,
    Session,
)

Login = Annotated[rest.Login, json_body(rest.Login)]
Refresh = Annotated[rest.Refresh, json_body(rest.Refresh)]


class Sessions:
    """Log in, refresh, log out, who am I, keys."""

    def __init__(self, services: Services) -> None:
        self._identity = services.identity

    async def log_in(self, request: Request, login: Login) -> Response:
        # The address of the connection: a header that the caller wrote would prove nothing.
        host = request.client.host if request.client else ""
        response = await self._identity.log_in(
            LogInRequest(email=login.email, password=login.password, remote_address=host)
        )
        return _session(response.session, 201)

    async def refresh_session(self, refresh: Refresh) -> Response:
        response = await self._identity.refresh_session(
            RefreshSessionRequest(refresh_token=refresh.refresh_token)
        )
        return _session(response.session, 200)

    async def log_out(self, refresh: Refresh) -> Response:
        await self._identity.log_out(LogOutRequest(refresh_token=refresh.refresh_token))
        return Response(status_code=204)

    async def get_current_user(self) -> Response:
        user = await self._identity.get_current_user(GetCurrentUserRequest())
        return answer(
            rest.User(
                user_id=user.user_id,
                organisation_id=user.organisation_id,
                email=user.email,
                role=cast("rest.Role", (user.role.name or "").lower()),
            )
        )

    async def get_keys(self) -> Response:
        response = await self._identity.get_keys(GetKeysRequest())
        return answer(
            rest.Jwks(
                keys=[
                    rest.Jwk(kty="RSA", use="sig", alg="RS256", kid=key.kid, n=key.n, e=key.e)
                    for key in response.keys
                ]
            )
        )


def _session(session: Session | None, status: int) -> Response:
    assert session is not None
    return answer(
        rest.Session(
            access_token=session.access_token,
            token_type="Bearer",  # noqa: S106  # the scheme, no secret
            expires_in_s=session.expires_in_s,
            refresh_token=session.refresh_token,
        ),
        status,
    )
