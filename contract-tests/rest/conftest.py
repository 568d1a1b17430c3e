"""What the REST tests call: the API on the real services."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.running import free_address, running
from tests.services import PASSWORD, ROLES, Services, email
from tests.stored import Stored, store_one_of_each


@pytest.fixture(scope="session")
def api(services: Services) -> Iterator[httpx.Client]:
    """A client of ``python -m gridpact.api``."""
    address = free_address()
    settings = {
        "GRIDPACT_REDIS_URL": services.redis_url,
        "GRIDPACT_RPC_ADDRESS": str(services.address),
        "GRIDPACT_API_ADDRESS": str(address),
    }
    with (
        running([sys.executable, "-m", "gridpact.api"], settings),
        httpx.Client(base_url=f"http://{address}", timeout=20) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def tokens(api: httpx.Client) -> dict[str, str]:
    """An access token of each account of ``tests.services``, by name."""

    def log_in(name: str) -> str:
        account = {"email": email(name), "password": PASSWORD}
        return api.post("/v1/sessions", json=account).raise_for_status().json()["access_token"]

    return {name: log_in(name) for name in ROLES}


@pytest.fixture(scope="session")
def stored(api: httpx.Client, tokens: dict[str, str], services: Services) -> Stored:
    """One of each, of the organisation of all accounts but the stranger's."""
    return store_one_of_each(api, tokens["admin"], services)
