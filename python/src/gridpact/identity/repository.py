"""Identity in PostgreSQL (accounts, keys, audit) and Redis (sessions, failures)."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import cast

import redis.asyncio

from gridpact.identity.domain import (
    FAILURE_WINDOW_S,
    MAX_FAILURES,
    AuditEntry,
    OpenSession,
    RefreshToken,
    Rotation,
    User,
)
from gridpact.identity.signing import SigningKey
from gridpact.kit.caller import Role
from gridpact.kit.database import Connection, Database
from gridpact.kit.identifiers import new_identifier
from gridpact.kit.log import current_trace_id
from gridpact.kit.redis_connection import redis_errors

# Any constant that is no other's: whoever makes the first key or account holds this lock.
_LOCK = 7_420_002

_USER_COLUMNS = (
    "user_id::text, organisation_id::text, email, role, password_hash, disabled_time IS NOT NULL"
)


class UserRepository:
    """Accounts and organisations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_email(self, email: str) -> User | None:
        return await self._one("email = %s", email)

    async def by_id(self, user_id: str) -> User | None:
        return await self._one("user_id = %s::uuid", user_id)

    async def create(self, organisation: str, email: str, role: Role, password_hash: str) -> bool:
        """Makes the account, and its organisation when there is none of that name.

        False when there is an account of that address, which stays as it is.
        """
        async with self._database.transaction() as connection:
            await _lock(connection)
            found = await connection.execute(
                "SELECT 1 FROM identity.users WHERE email = %s", (email,)
            )
            if await found.fetchone() is not None:
                return False
            await connection.execute(
                "INSERT INTO identity.organisations (organisation_id, name) VALUES (%s, %s)"
                " ON CONFLICT (name) DO NOTHING",
                (new_identifier(), organisation),
            )
            await connection.execute(
                "INSERT INTO identity.users"
                " (user_id, organisation_id, email, role, password_hash)"
                " SELECT %s, organisation_id, %s, %s, %s"
                " FROM identity.organisations WHERE name = %s",
                (new_identifier(), email, role.word, password_hash, organisation),
            )
            return True

    async def _one(self, condition: str, value: str) -> User | None:
        statement = f"SELECT {_USER_COLUMNS} FROM identity.users WHERE {condition}"
        async with self._database.transaction() as connection:
            cursor = await connection.execute(statement.encode(), (value,))
            row = await cursor.fetchone()
        if row is None:
            return None
        user_id, organisation_id, email, role, password_hash, disabled = row
        return User(user_id, organisation_id, email, Role.of(role), password_hash, disabled)


class AuditRepository:
    """The audit record; nothing is ever changed in it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entry: AuditEntry) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO identity.audit_entries (audit_id, action, organisation_id, user_id,"
                " session_id, subject, remote_address, trace_id)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    new_identifier(),
                    entry.action,
                    entry.organisation_id or None,
                    entry.user_id or None,
                    entry.session_id or None,
                    entry.subject or None,
                    entry.remote_address or None,
                    current_trace_id.get(),
                ),
            )


async def load_signing_keys(database: Database) -> list[SigningKey]:
    """The signing keys, the newest first; makes the first one, once however many ask at once."""
    async with database.transaction() as connection:
        await _lock(connection)
        cursor = await connection.execute(
            "SELECT kid, private_key_pem, refresh_secret FROM identity.signing_keys"
            " ORDER BY created_time DESC"
        )
        rows = await cursor.fetchall()
        if rows:
            return [SigningKey.load(*row) for row in rows]
        key = await asyncio.to_thread(SigningKey.generate)
        await connection.execute(
            "INSERT INTO identity.signing_keys (kid, private_key_pem, refresh_secret)"
            " VALUES (%s, %s, %s)",
            (key.kid, key.private_key_pem(), key.refresh_secret),
        )
        return [key]


class SessionRepository:
    """Open sessions: a Redis hash each, gone by itself when the session's life ends."""

    # KEYS: session. ARGV: generation shown.
    _ROTATE = """
        local good = redis.call('HGET', KEYS[1], 'generation')
        if not good then return 'unknown' end
        if ARGV[1] == good then
            redis.call('HINCRBY', KEYS[1], 'generation', 1)
            return 'renewed'
        end
        redis.call('DEL', KEYS[1])
        return 'reused'
    """

    def __init__(self, connection: redis.asyncio.Redis) -> None:
        self._redis = connection
        self._rotate = connection.register_script(self._ROTATE)

    async def open(self, session: OpenSession, lifetime_s: int) -> None:
        key = _session_key(session.session_id)
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, mapping={"user_id": session.user_id, "generation": 1})
                pipeline.expire(key, lifetime_s)
                await pipeline.execute()

    async def find(self, session_id: str) -> OpenSession | None:
        with redis_errors():
            user_id = await cast(
                "Awaitable[bytes | None]", self._redis.hget(_session_key(session_id), "user_id")
            )
        return None if user_id is None else OpenSession(session_id, user_id.decode())

    async def rotate(self, token: RefreshToken) -> Rotation:
        key = _session_key(token.session_id)
        with redis_errors():
            return Rotation((await self._rotate(keys=[key], args=[token.generation])).decode())

    async def close(self, session_id: str) -> None:
        with redis_errors():
            await self._redis.delete(_session_key(session_id))


class FailureRepository:
    """Failed log ins: a Redis sorted set an address, of the times within the window."""

    def __init__(
        self, connection: redis.asyncio.Redis, *, now: Callable[[], float] = time.time
    ) -> None:
        self._redis = connection
        self._now = now

    async def seconds_to_wait(self, email: str) -> int:
        since = self._now() - FAILURE_WINDOW_S
        with redis_errors():
            latest = await self._redis.zrevrangebyscore(
                _failure_key(email), "+inf", f"({since}", withscores=True, start=0, num=MAX_FAILURES
            )
        if len(latest) < MAX_FAILURES:
            return 0
        _, oldest = cast("tuple[bytes, float]", latest[-1])
        return max(1, math.ceil(oldest - since))

    async def add(self, email: str) -> None:
        key = _failure_key(email)
        now = self._now()
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.zremrangebyscore(key, "-inf", now - FAILURE_WINDOW_S)
                pipeline.zadd(key, {new_identifier(): now})
                pipeline.expire(key, FAILURE_WINDOW_S)
                await pipeline.execute()

    async def forget(self, email: str) -> None:
        with redis_errors():
            await self._redis.delete(_failure_key(email))


async def _lock(connection: Connection) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def _session_key(session_id: str) -> str:
    return f"gridpact:session:{session_id}"


def _failure_key(email: str) -> str:
    # Addresses are personal, and a caller chooses their length: only a digest goes into Redis.
    return f"gridpact:log-in-failures:{hashlib.sha256(email.encode()).hexdigest()[:32]}"
