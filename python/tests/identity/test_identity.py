"""Identity on PostgreSQL and Redis, called as its gRPC interface calls it."""

from __future__ import annotations

import asyncio
import re
import statistics
import time

import psycopg
import pytest
import redis.asyncio

from gridpact.contracts.errors import Reason
from gridpact.contracts.proto.gridpact.identity.v1 import (
    GetCurrentUserRequest,
    GetKeysRequest,
    IssueServiceTokenRequest,
    LogInRequest,
    LogOutRequest,
    RefreshSessionRequest,
    Session,
)
from gridpact.contracts.proto.gridpact.identity.v1 import Role as RoleMessage
from gridpact.identity.bootstrap import Identity, build_identity
from gridpact.kit.caller import Caller, Role, current_caller
from gridpact.kit.database import Database
from gridpact.kit.errors import GridpactError
from gridpact.kit.revocations import Revocations
from gridpact.kit.tokens import TokenVerifier
from tests.identity.conftest import BRIDGE_SECRET, EMAIL, PASSWORD


async def log_in(identity: Identity, email: str = EMAIL, password: str = PASSWORD) -> Session:
    request = LogInRequest(email=email, password=password, remote_address="192.0.2.1")
    response = await identity.rpc.log_in(request)
    assert response.session is not None
    return response.session


async def refresh(identity: Identity, token: str) -> Session:
    response = await identity.rpc.refresh_session(RefreshSessionRequest(refresh_token=token))
    assert response.session is not None
    return response.session


async def caller_of(identity: Identity, revocations: Revocations, session: Session) -> Caller:
    return await TokenVerifier(identity.keys, revocations).caller(session.access_token)


async def refused(call: object) -> GridpactError:
    with pytest.raises(GridpactError) as raised:
        await call  # type: ignore[misc]
    return raised.value


class TestLogIn:
    async def test_opens_a_session_whose_token_verifies(
        self, identity: Identity, revocations: Revocations
    ) -> None:
        session = await log_in(identity)
        caller = await caller_of(identity, revocations, session)
        assert caller.role is Role.OPERATOR
        assert session.expires_in_s == 600
        assert re.fullmatch(r"[A-Za-z0-9_.-]{16,512}", session.refresh_token)
        current_caller.set(caller)
        user = await identity.rpc.get_current_user(GetCurrentUserRequest())
        assert (user.user_id, user.organisation_id) == (caller.user_id, caller.organisation_id)
        assert (user.email, user.role) == (EMAIL.lower(), RoleMessage.OPERATOR)

    async def test_the_address_is_read_in_any_case(self, identity: Identity) -> None:
        await log_in(identity, email=f"  {EMAIL.upper()} ")

    @pytest.mark.parametrize(
        ("email", "password"),
        [(EMAIL, "wrong"), ("nobody@example.org", PASSWORD), (EMAIL, ""), ("", PASSWORD)],
    )
    async def test_refuses_wrong_credentials(
        self, identity: Identity, email: str, password: str
    ) -> None:
        error = await refused(log_in(identity, email, password))
        assert error.reason is Reason.CREDENTIALS_WRONG

    async def test_refuses_a_disabled_user_in_the_same_words(
        self, identity: Identity, database: Database
    ) -> None:
        wrong = await refused(log_in(identity, EMAIL, "wrong"))
        async with database.transaction() as connection:
            await connection.execute("UPDATE identity.users SET disabled_time = now()")
        disabled = await refused(log_in(identity))
        assert (disabled.reason, disabled.message) == (wrong.reason, wrong.message)

    async def test_takes_as_long_for_an_unknown_address(self, identity: Identity) -> None:
        async def seconds(email: str) -> float:
            began = time.perf_counter()
            await refused(log_in(identity, email, "wrong"))
            return time.perf_counter() - began

        await seconds("warm@up.example")
        known = [await seconds(EMAIL) for _ in range(4)]
        unknown = [await seconds(f"nobody{i}@example.org") for i in range(4)]
        assert 0.4 < statistics.median(unknown) / statistics.median(known) < 2.5

    async def test_ten_failures_lock_the_address_and_no_other(self, identity: Identity) -> None:
        for _ in range(10):
            error = await refused(log_in(identity, EMAIL, "wrong"))
            assert error.reason is Reason.CREDENTIALS_WRONG
        locked = await refused(log_in(identity))
        assert locked.reason is Reason.TOO_MANY_ATTEMPTS
        assert locked.retry_after_s is not None
        assert 590 < locked.retry_after_s <= 600
        other = await refused(log_in(identity, "nobody@example.org"))
        assert other.reason is Reason.CREDENTIALS_WRONG

    async def test_many_tries_at_once_do_not_slip_through(self, identity: Identity) -> None:
        errors = await asyncio.gather(*(refused(log_in(identity, EMAIL, "x")) for _ in range(25)))
        tried = [error for error in errors if error.reason is Reason.CREDENTIALS_WRONG]
        assert 10 <= len(tried) <= 11

    async def test_success_forgives_earlier_failures(self, identity: Identity) -> None:
        for _ in range(2):
            for _ in range(6):
                await refused(log_in(identity, EMAIL, "wrong"))
            await log_in(identity)

    async def test_is_audited_without_the_password(
        self, identity: Identity, database: Database
    ) -> None:
        await log_in(identity)
        await refused(log_in(identity, EMAIL, "hunter2"))
        async with database.transaction() as connection:
            rows = await (
                await connection.execute(
                    "SELECT action, subject, remote_address, audit_entries::text"
                    " FROM identity.audit_entries ORDER BY recorded_time"
                )
            ).fetchall()
        assert [row[:3] for row in rows] == [
            ("logged-in", None, "192.0.2.1"),
            ("log-in-refused", EMAIL.lower(), "192.0.2.1"),
        ]
        assert "hunter2" not in str(rows)


class TestRefresh:
    async def test_gives_a_new_pair_of_the_same_session(
        self, identity: Identity, revocations: Revocations
    ) -> None:
        first = await log_in(identity)
        second = await refresh(identity, first.refresh_token)
        third = await refresh(identity, second.refresh_token)
        assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
        callers = {await caller_of(identity, revocations, each) for each in (first, second, third)}
        assert len(callers) == 1

    async def test_a_token_used_twice_ends_the_session(
        self, identity: Identity, revocations: Revocations
    ) -> None:
        first = await log_in(identity)
        second = await refresh(identity, first.refresh_token)
        for token in (first.refresh_token, second.refresh_token):
            error = await refused(refresh(identity, token))
            assert error.reason is Reason.REFRESH_TOKEN_INVALID
        error = await refused(caller_of(identity, revocations, second))
        assert error.reason is Reason.TOKEN_INVALID

    async def test_of_many_at_once_one_wins_and_the_session_ends(
        self, identity: Identity, revocations: Revocations
    ) -> None:
        session = await log_in(identity)
        calls = (refresh(identity, session.refresh_token) for _ in range(10))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, Session) for outcome in outcomes) == 1
        assert (await refused(caller_of(identity, revocations, session))).reason

    async def test_refuses_forged_tokens_without_harm(self, identity: Identity) -> None:
        session = await log_in(identity)
        session_id, generation, seal = session.refresh_token.split(".")
        for forged in (
            f"{session_id}.2.{seal}",
            f"{'0' * 32}.{generation}.{seal}",
            f"{session_id}.{generation}.{seal[::-1]}",
            session.access_token,
            "",
        ):
            error = await refused(refresh(identity, forged))
            assert error.reason is Reason.REFRESH_TOKEN_INVALID
        await refresh(identity, session.refresh_token)

    async def test_a_disabled_user_is_out(
        self, identity: Identity, database: Database, revocations: Revocations
    ) -> None:
        session = await log_in(identity)
        async with database.transaction() as connection:
            await connection.execute("UPDATE identity.users SET disabled_time = now()")
        await refused(refresh(identity, session.refresh_token))
        await refused(caller_of(identity, revocations, session))

    async def test_a_flushed_redis_only_asks_for_a_new_log_in(
        self, identity: Identity, connection: redis.asyncio.Redis
    ) -> None:
        session = await log_in(identity)
        await connection.flushall()
        error = await refused(refresh(identity, session.refresh_token))
        assert error.reason is Reason.REFRESH_TOKEN_INVALID
        await log_in(identity)


class TestLogOut:
    async def test_ends_the_session_and_its_tokens_and_may_be_repeated(
        self, identity: Identity, revocations: Revocations
    ) -> None:
        session = await log_in(identity)
        other = await log_in(identity)
        for _ in range(2):
            await identity.rpc.log_out(LogOutRequest(refresh_token=session.refresh_token))
        error = await refused(caller_of(identity, revocations, session))
        assert error.reason is Reason.TOKEN_INVALID
        await refused(refresh(identity, session.refresh_token))
        await caller_of(identity, revocations, other)

    async def test_an_unknown_token_is_no_error(self, identity: Identity) -> None:
        await identity.rpc.log_out(LogOutRequest(refresh_token="of.no.session"))


class TestKeys:
    async def test_are_made_once_however_many_start(
        self, database: Database, connection: redis.asyncio.Redis, revocations: Revocations
    ) -> None:
        started = await asyncio.gather(
            *(build_identity(database, connection, revocations, "secret") for _ in range(4))
        )
        answers = [await each.rpc.get_keys(GetKeysRequest()) for each in started]
        assert len({each.keys[0].kid for each in answers}) == 1
        assert all(len(each.keys) == 1 for each in answers)


class TestServiceToken:
    async def test_is_given_for_the_secret(
        self, identity: Identity, revocations: Revocations
    ) -> None:
        request = IssueServiceTokenRequest(service="bridge", secret=BRIDGE_SECRET)
        response = await identity.rpc.issue_service_token(request)
        caller = await TokenVerifier(identity.keys, revocations).caller(response.access_token)
        assert (caller.role, caller.user_id, caller.organisation_id) == (Role.SERVICE, "bridge", "")

    @pytest.mark.parametrize(
        ("service", "secret"),
        [("bridge", "wrong"), ("bridge", ""), ("admin", BRIDGE_SECRET), ("", BRIDGE_SECRET)],
    )
    async def test_is_refused_otherwise(
        self, identity: Identity, service: str, secret: str
    ) -> None:
        request = IssueServiceTokenRequest(service=service, secret=secret)
        error = await refused(identity.rpc.issue_service_token(request))
        assert error.reason is Reason.CREDENTIALS_WRONG


async def test_the_database_knows_one_account_an_address(
    identity: Identity, database: Database
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        async with database.transaction() as connection:
            await connection.execute("UPDATE identity.users SET email = 'Upper@Example.org'")
