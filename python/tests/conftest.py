"""Servers that tests share. A server starts with the first test that asks for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from gridpact.migrations import upgrade
from tests.postgres import PostgresServer
from tests.redis import RedisServer


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Lets tests interrupt what they start; a run in the background passes SIGINT on as ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test run."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a database at the newest revision, to be copied."""
    url = postgres.create_database()
    upgrade(url)
    return url.rpartition("/")[2]


@pytest.fixture
def database_url(postgres: PostgresServer, migrated_template: str) -> str:
    """A database of this test's own, empty and at the newest revision."""
    return postgres.create_database(migrated_template)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server of this test run."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()
