from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gridpact.kit.database import Database
from tests.tasks.stores import PostgresUnderTest


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url).opened() as database:
        yield database


@pytest.fixture
def postgres_store(database: Database) -> PostgresUnderTest:
    return PostgresUnderTest(database)
