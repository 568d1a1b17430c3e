"""The gRPC services on real stores, which the tests of gRPC and of REST share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import migrated_template, postgres, redis_server  # noqa: F401  # fixtures
from tests.postgres import PostgresServer
from tests.redis import RedisServer
from tests.services import Services, running_services

# Pact's engine would report every run to its makers.
os.environ["PACT_DO_NOT_TRACK"] = "true"


@pytest.fixture(scope="session")
def services(
    postgres: PostgresServer,  # noqa: F811
    migrated_template: str,  # noqa: F811
    redis_server: RedisServer,  # noqa: F811
) -> Iterator[Services]:
    """The process of the gRPC services, with the accounts of ``tests.services``."""
    database_url = postgres.create_database(migrated_template)
    with running_services(database_url, redis_server.url) as services:
        yield services
