"""One whole platform for all tests of this folder: every process real, every boundary crossed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gridpact.cli.access import client_of
from gridpact.cli.client import Client
from gridpact.platform.options import PlatformOptions
from gridpact.platform.running import running_platform
from tests.system.under_test import PlatformUnderTest


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PlatformUnderTest]:
    """A platform with one worker for each engine, the Julia engine where there is a Julia."""
    options = PlatformOptions(state_dir=tmp_path_factory.mktemp("platform") / "state", workers=1)
    async with running_platform(options) as running:
        yield PlatformUnderTest(running)


@pytest.fixture(params=["julia", "python"])
def engine(request: pytest.FixtureRequest, platform: PlatformUnderTest) -> str:
    """Each engine that the platform runs."""
    if request.param not in platform.engines:
        pytest.skip(f"no {request.param} engine runs on this machine")
    return request.param


@pytest.fixture
async def client(platform: PlatformUnderTest) -> AsyncIterator[Client]:
    async with client_of(platform.running) as client:
        yield client
