from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from gridpact.identity.bootstrap import Identity, build_identity
from gridpact.identity.domain import canonical_email
from gridpact.identity.passwords import Argon2Passwords
from gridpact.identity.repository import UserRepository
from gridpact.kit.caller import Role
from gridpact.kit.database import Database
from gridpact.kit.redis_connection import connect_redis
from gridpact.kit.revocations import Revocations
from tests.redis import RedisServer

EMAIL = "Operator@Example.org"
PASSWORD = "correct horse battery staple"
BRIDGE_SECRET = "bridge-secret-of-this-test"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url).opened() as opened:
        yield opened


@pytest.fixture
async def connection(redis_server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    client = connect_redis(redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def revocations(connection: redis.asyncio.Redis) -> Revocations:
    return Revocations(connection)


@pytest.fixture
async def identity(
    database: Database, connection: redis.asyncio.Redis, revocations: Revocations
) -> Identity:
    """Identity on real stores, with one operator."""
    password_hash = await Argon2Passwords().hash(PASSWORD)
    users = UserRepository(database)
    await users.create("Lindenhof", canonical_email(EMAIL), Role.OPERATOR, password_hash)
    return await build_identity(database, connection, revocations, BRIDGE_SECRET)
