"""PostgreSQL: one pool a process, one transaction a use case."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from gridpact.kit.errors import unavailable
from gridpact.kit.log import Log

log = Log(__name__)

Connection = AsyncConnection[TupleRow]

_SESSION_OPTIONS = (
    "-c TimeZone=UTC -c statement_timeout=20s -c lock_timeout=5s"
    " -c idle_in_transaction_session_timeout=30s"
)


class Database:
    """A pool of connections that mends itself after the server was restarted.

    Whatever keeps a transaction from running (no free connection within ``wait_s``, a lost server,
    a lock or statement timeout, a full disk) is UNAVAILABLE with retry_after_s; mistakes in a
    statement stay psycopg's errors.
    """

    def __init__(self, url: str, *, max_connections: int = 10, wait_s: float = 5.0) -> None:
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            kwargs={"options": _SESSION_OPTIONS, "application_name": "gridpact"},
            min_size=2,
            max_size=max_connections,
            timeout=wait_s,
            reconnect_timeout=30.0,
            check=_refuse_dead,
            open=False,
        )

    @asynccontextmanager
    async def opened(self, wait_s: float = 30.0) -> AsyncIterator[Database]:
        """The database with its pool open; waits until the server answers."""
        try:
            await self._pool.open(wait=True, timeout=wait_s)
        except PoolTimeout as error:
            await self._pool.close()
            raise unavailable(f"PostgreSQL did not answer within {wait_s:g} s") from error
        try:
            yield self
        finally:
            await self._pool.close(timeout=2.0)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, PoolClosed, psycopg.OperationalError) as error:
            log.warning("database-unavailable", cause=f"{type(error).__name__}: {error}".strip())
            raise unavailable("the database does not answer") from error

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Connection]:
        """A connection on which every statement is a transaction of its own: one round trip, not
        three."""
        async with self.transaction() as connection:
            await connection.set_autocommit(True)
            try:
                yield connection
            finally:
                # A broken one is not used again.
                if not connection.closed:
                    await connection.set_autocommit(False)

    async def check(self) -> None:
        """Returns when the database answers; UNAVAILABLE when it does not."""
        async with self.transaction() as connection:
            await connection.execute("SELECT 1")


async def _refuse_dead(connection: Connection) -> None:
    """Keeps the pool from handing out a connection whose server is gone, without a round trip.

    An idle connection has nothing to read. If there is something, it is the farewell of the server
    (or a notice): only then it is worth asking.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(connection)
