from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from gridpact.contracts.errors import Reason
from gridpact.kit.database import Database
from gridpact.kit.errors import GridpactError
from tests.postgres import PostgresServer


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the test may kill."""
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


async def count(database: Database) -> int:
    async with database.transaction() as connection:
        row = await (await connection.execute("SELECT count(*) FROM things")).fetchone()
        assert row is not None
        return row[0]


async def test_a_transaction_happens_whole_or_not_at_all(database_url: str) -> None:
    async with Database(database_url).opened() as database:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE things (id int)")
            await connection.execute("INSERT INTO things VALUES (1)")

        async def fail() -> None:
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO things VALUES (2)")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        assert await count(database) == 1


async def test_nobody_notices_a_restart_between_two_transactions(
    own_postgres: PostgresServer,
) -> None:
    async with Database(own_postgres.url).opened() as database:
        await asyncio.gather(*(database.check() for _ in range(10)))
        own_postgres.kill()
        own_postgres.start()
        await asyncio.gather(*(database.check() for _ in range(10)))


async def test_a_server_lost_in_a_transaction_is_unavailable(
    own_postgres: PostgresServer,
) -> None:
    async with Database(own_postgres.url, wait_s=0.5).opened() as database:

        async def lose_the_server() -> None:
            async with database.transaction() as connection:
                own_postgres.kill()
                await connection.execute("SELECT 1")

        with pytest.raises(GridpactError) as raised:
            await lose_the_server()
        assert raised.value.reason is Reason.UNAVAILABLE
        with pytest.raises(GridpactError) as raised:
            await database.check()
        assert raised.value.retry_after_s == 1
        own_postgres.start()
        async with asyncio.timeout(20):
            while True:
                try:
                    await database.check()
                    break
                except GridpactError:
                    await asyncio.sleep(0.1)


async def test_an_exhausted_pool_is_unavailable(database_url: str) -> None:
    limited = Database(database_url, max_connections=2, wait_s=0.05)
    async with (
        limited.opened() as database,
        database.transaction(),
        database.transaction(),
    ):
        with pytest.raises(GridpactError) as raised:
            await database.check()
        assert raised.value.reason is Reason.UNAVAILABLE


async def test_a_wrong_statement_stays_what_it_is(database_url: str) -> None:
    async with Database(database_url).opened() as database:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await count(database)


async def test_a_database_that_never_answers_is_unavailable() -> None:
    nowhere = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(GridpactError) as raised:
        async with nowhere.opened(wait_s=0.2):
            pass
    assert raised.value.reason is Reason.UNAVAILABLE
