"""Which API the command line talks to, and as whom.

`--url` and `--token`, or GRIDPACT_URL and GRIDPACT_TOKEN, name any API. Otherwise it is the
platform that runs on the state folder, as its first administrator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gridpact.cli.client import Client
from gridpact.contracts.rest import Login
from gridpact.platform.running import NotReadyYetError, RunningPlatform, find_platform
from gridpact.platform.state import write_private


class NoPlatformError(Exception):
    """Nothing was named and nothing runs here."""


@dataclass(frozen=True, slots=True)
class Access:
    """What the caller said; an absent member means the platform on the state folder."""

    url: str | None = None
    token: str | None = None
    state_dir: Path | None = None

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """A client that may call the API. Raises NoPlatformError and NotReadyYetError."""
        platform = self._platform()
        if platform is not None:
            async with client_of(platform, self.url, self.token) as client:
                yield client
        elif self.url:
            async with Client(self.url, self.token) as client:
                yield client
        else:
            raise NoPlatformError(
                "no platform runs here: start one with `gridpact up`, "
                "or name one with --url and --token"
            )

    def _platform(self) -> RunningPlatform | None:
        """The platform on the state folder, unless another one is meant."""
        if self.url and self.token:
            return None
        try:
            return find_platform(self.state_dir)
        except NotReadyYetError:
            if self.url:
                return None
            raise


class _SavedSession(msgspec.Struct):
    """The access token of the last log-in, so that scripts need not log in for every task."""

    api_url: str
    access_token: str


@asynccontextmanager
async def client_of(
    platform: RunningPlatform, url: str | None = None, token: str | None = None
) -> AsyncGenerator[Client]:
    """A client logged in as the platform's administrator, unless a token is given."""
    api_url = url or platform.api_url
    file = platform.folder.path / "session.json"

    async def log_in(client: Client) -> str:
        secrets = platform.secrets
        login = Login(email=secrets.admin_email, password=secrets.admin_password)
        session = await client.log_in(login)
        saved = _SavedSession(api_url, session.access_token)
        write_private(file, msgspec.json.encode(saved))
        return session.access_token

    if token is None:
        token = _saved_token(file, api_url)
        async with Client(api_url, token, renew=log_in) as client:
            yield client
    else:
        async with Client(api_url, token) as client:
            yield client


def _saved_token(file: Path, api_url: str) -> str | None:
    try:
        saved = msgspec.json.decode(file.read_bytes(), type=_SavedSession)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None  # logging in makes a new one
    return saved.access_token if saved.api_url == api_url else None
