"""Identity over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from gridpact.contracts.proto.gridpact.identity.v1 import (
    GetCurrentUserRequest,
    GetCurrentUserResponse,
    GetKeysRequest,
    GetKeysResponse,
    IdentityServiceBase,
    IssueServiceTokenRequest,
    IssueServiceTokenResponse,
    LogInRequest,
    LogInResponse,
    LogOutRequest,
    LogOutResponse,
    PublicKey,
    RefreshSessionRequest,
    RefreshSessionResponse,
    Role,
    Session,
)
from gridpact.identity.service import IdentityService, TokenPair
from gridpact.kit.caller import Access, caller


class IdentityRpc(IdentityServiceBase):
    """Decodes, calls, encodes."""

    ACCESS: ClassVar[Mapping[str, Access]] = MappingProxyType(
        {
            "LogIn": Access.PUBLIC,
            "RefreshSession": Access.PUBLIC,
            "LogOut": Access.PUBLIC,
            "GetKeys": Access.PUBLIC,
            "IssueServiceToken": Access.PUBLIC,
            "GetCurrentUser": Access.VIEWER,
        }
    )

    def __init__(self, service: IdentityService) -> None:
        self._service = service

    async def log_in(self, message: LogInRequest) -> LogInResponse:
        pair = await self._service.log_in(message.email, message.password, message.remote_address)
        return LogInResponse(session=_session(pair))

    async def refresh_session(self, message: RefreshSessionRequest) -> RefreshSessionResponse:
        pair = await self._service.refresh_session(message.refresh_token)
        return RefreshSessionResponse(session=_session(pair))

    async def log_out(self, message: LogOutRequest) -> LogOutResponse:
        await self._service.log_out(message.refresh_token)
        return LogOutResponse()

    async def get_keys(self, message: GetKeysRequest) -> GetKeysResponse:
        keys = self._service.public_keys()
        return GetKeysResponse(keys=[PublicKey(kid=key.kid, n=key.n, e=key.e) for key in keys])

    async def get_current_user(self, message: GetCurrentUserRequest) -> GetCurrentUserResponse:
        user = await self._service.current_user(caller())
        return GetCurrentUserResponse(
            user_id=user.user_id,
            organisation_id=user.organisation_id,
            email=user.email,
            role=Role(int(user.role)),
        )

    async def issue_service_token(
        self, message: IssueServiceTokenRequest
    ) -> IssueServiceTokenResponse:
        token, expires_in_s = await self._service.issue_service_token(
            message.service, message.secret
        )
        return IssueServiceTokenResponse(access_token=token, expires_in_s=expires_in_s)


def _session(pair: TokenPair) -> Session:
    return Session(
        access_token=pair.access_token,
        expires_in_s=pair.expires_in_s,
        refresh_token=pair.refresh_token,
    )
