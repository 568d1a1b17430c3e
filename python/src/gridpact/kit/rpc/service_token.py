"""The access token of a process of the platform, fetched with its secret and renewed in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gridpact.contracts.proto.gridpact.identity.v1 import (
    IdentityServiceStub,
    IssueServiceTokenRequest,
)
from gridpact.kit.rpc.client import RpcChannel

# A token is renewed when less than this share of its life is left.
_RENEW_AT = 0.3


class ServiceToken:
    """Credentials of an RpcChannel: ``RpcChannel(address, credentials=ServiceToken(…))``.

    ``identity`` is a channel of its own, without credentials (``no_token``).
    """

    def __init__(
        self,
        identity: RpcChannel,
        service: str,
        secret: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = IdentityServiceStub(identity)
        self._request = IssueServiceTokenRequest(service=service, secret=secret)
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = 0.0

    async def __call__(self) -> str:
        """A token that is good for minutes; GridpactError when identity gives none."""
        async with self._lock:
            if not self._token or self._monotonic() >= self._renew_at:
                began = self._monotonic()
                issued = await self._identity.issue_service_token(self._request)
                self._token = issued.access_token
                self._renew_at = began + issued.expires_in_s * (1 - _RENEW_AT)
        return self._token


async def no_token() -> None:
    """Credentials of calls that are public."""
    return
