from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from gridpact.api.bootstrap import build_app
from gridpact.api.event_hub import EventHub
from gridpact.api.event_stream import EventStreams
from gridpact.kit.caller import Role
from gridpact.kit.tokens import TokenVerifier
from tests import tokens
from tests.api.fakes import FakeEventLog, FakeServices


@pytest.fixture
def fakes() -> FakeServices:
    return FakeServices()


@pytest.fixture
async def app(fakes: FakeServices) -> FastAPI:
    event_log = FakeEventLog()
    streams = EventStreams(EventHub(event_log), event_log)
    verifier = TokenVerifier(tokens.keys(), frozenset())
    return build_app(fakes.services, verifier, streams, {})


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process, with an administrator's token."""
    headers = {"Authorization": f"Bearer {tokens.token(Role.ADMIN)}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers
    ) as opened:
        yield opened
