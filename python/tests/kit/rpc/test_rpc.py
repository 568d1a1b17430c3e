from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, ClassVar

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.reflection.v1.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from gridpact.contracts.errors import REASONS, Reason
from gridpact.contracts.proto.gridpact.identity.v1 import (
    GetCurrentUserRequest,
    GetCurrentUserResponse,
    GetKeysResponse,
    IdentityServiceBase,
    IdentityServiceStub,
    LogInRequest,
    LogInResponse,
    Session,
)
from gridpact.kit.caller import Access, Role, caller, current_token
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import current_trace_id
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.rpc.server import MAX_MESSAGE_BYTES, serving_rpc
from gridpact.kit.settings import Address
from gridpact.kit.tokens import TokenVerifier
from gridpact.kit.trace import begin_trace
from gridpact.kit.violation import Violation
from tests import tokens
from tests.tcp_relay import Relay


class Service(IdentityServiceBase):
    """Identity's interface with whatever behaviour a test gives it."""

    ACCESS: ClassVar[Mapping[str, Access]] = {
        "LogIn": Access.PUBLIC,
        "RefreshSession": Access.PUBLIC,
        "LogOut": Access.PUBLIC,
        "GetKeys": Access.VIEWER,
        "GetCurrentUser": Access.ENGINEER,
        "IssueServiceToken": Access.SERVICE,
    }

    def __init__(self) -> None:
        self.log_in_as: Callable[[LogInRequest], Awaitable[LogInResponse]]

    async def log_in(self, message: LogInRequest) -> LogInResponse:
        return await self.log_in_as(message)

    async def get_current_user(self, message: GetCurrentUserRequest) -> GetCurrentUserResponse:
        return GetCurrentUserResponse(user_id=caller().user_id, email=str(current_trace_id.get()))

    async def get_keys(self, message: Any) -> GetKeysResponse:
        return GetKeysResponse()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def stub(service: Service, address: Address) -> AsyncIterator[IdentityServiceStub]:
    verifier = TokenVerifier(tokens.keys(), frozenset())
    async with serving_rpc([service], address, verifier, {}):
        channel = RpcChannel(address)
        yield IdentityServiceStub(channel)
        channel.close()


async def health_of(channel: grpc.aio.Channel) -> int:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        HealthCheckRequest.SerializeToString,
        HealthCheckResponse.FromString,
    )
    return (await check(HealthCheckRequest())).status


async def failing(stub: IdentityServiceStub, service: Service, error: Exception) -> GridpactError:
    async def fail(message: LogInRequest) -> LogInResponse:
        raise error

    service.log_in_as = fail
    with pytest.raises(GridpactError) as raised:
        await stub.log_in(LogInRequest())
    return raised.value


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.INTERNAL])
async def test_every_reason_crosses_with_message_meta_and_violations(
    stub: IdentityServiceStub, service: Service, reason: Reason
) -> None:
    violations = [Violation("a.b[0]", "minimum", "must be at least 1; it is 0")]
    sent = GridpactError(reason, "what went wrong: ü", violations=violations, retry_after_s=7)
    got = await failing(stub, service, sent)
    assert (got.reason, got.message, got.meta) == (reason, sent.message, {"retry_after_s": "7"})
    assert got.violations == tuple(violations)


async def test_an_unexpected_failure_says_nothing_of_its_inside(
    stub: IdentityServiceStub, service: Service
) -> None:
    got = await failing(stub, service, RuntimeError("password is hunter2"))
    assert got.reason is Reason.INTERNAL
    assert "hunter2" not in str(got)
    told = GridpactError(Reason.INTERNAL, "table secret_x is missing", table="secret_x")
    assert "secret" not in repr(vars(await failing(stub, service, told)))


async def test_many_violations_are_cut_to_what_a_trailer_holds(
    stub: IdentityServiceStub, service: Service
) -> None:
    violations = [Violation(f"items[{i}]", "minimum", "x" * 200) for i in range(100)]
    got = await failing(stub, service, GridpactError.invalid(violations))
    assert 5 < len(got.violations) < 100
    assert got.violations == tuple(violations[: len(got.violations)])


async def test_another_client_takes_the_longest_error_there_is(
    stub: IdentityServiceStub, service: Service, address: Address
) -> None:
    async def fail(message: LogInRequest) -> LogInResponse:
        violations = [Violation("é" * 256, "rule", "格" * 1024) for _ in range(100)]
        meta = {f"name_{i}": "格" * 1024 for i in range(20)}
        raise GridpactError(Reason.INFEASIBLE, "格" * 4096, violations=violations, **meta)

    service.log_in_as = fail
    async with grpc.aio.insecure_channel(str(address)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/gridpact.identity.v1.IdentityService/LogIn")(b"")
    assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.VIEWER, False),
        (Role.OPERATOR, False),
        (Role.ENGINEER, True),
        (Role.ADMIN, True),
        (Role.SERVICE, False),
    ],
)
async def test_a_role_may_call_what_the_table_gives_it(
    stub: IdentityServiceStub, role: Role, allowed: bool
) -> None:
    current_token.set(tokens.token(role))
    if allowed:
        await stub.get_current_user()
        return
    with pytest.raises(GridpactError) as raised:
        await stub.get_current_user()
    assert raised.value.reason is Reason.ROLE_INSUFFICIENT
    assert raised.value.meta == {"required_role": "engineer"}


async def test_a_call_without_a_token_is_refused(stub: IdentityServiceStub) -> None:
    with pytest.raises(GridpactError) as raised:
        await stub.get_keys()
    assert raised.value.reason is Reason.TOKEN_MISSING


async def test_the_trace_and_the_caller_arrive(stub: IdentityServiceStub) -> None:
    user_id = tokens.claims()["sub"]
    current_token.set(tokens.token(sub=user_id))
    trace_id = begin_trace()
    response = await stub.get_current_user()
    assert (response.user_id, response.email) == (user_id, trace_id)


async def test_a_message_of_the_largest_size_passes_and_a_larger_one_does_not(
    stub: IdentityServiceStub, service: Service
) -> None:
    async def answer(message: LogInRequest) -> LogInResponse:
        return LogInResponse(session=Session(expires_in_s=len(message.password)))

    service.log_in_as = answer
    overhead = len(bytes(LogInRequest(password="x" * 20_000_000))) - 20_000_000
    fits = MAX_MESSAGE_BYTES - overhead
    response = await stub.log_in(LogInRequest(password="x" * fits))
    assert response.session is not None
    assert response.session.expires_in_s == fits
    with pytest.raises(GridpactError) as raised:
        await stub.log_in(LogInRequest(password="x" * (fits + 1)))
    assert raised.value.reason is Reason.MESSAGE_TOO_LARGE


async def test_a_call_that_takes_too_long_is_cancelled_on_both_sides(
    stub: IdentityServiceStub, service: Service
) -> None:
    cancelled = asyncio.Event()

    async def hang(message: LogInRequest) -> LogInResponse:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    service.log_in_as = hang
    with pytest.raises(GridpactError) as raised:
        await stub.log_in(LogInRequest(), timeout=0.05)
    assert raised.value.reason is Reason.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_a_server_out_of_reach_is_unavailable_and_found_again(
    stub: IdentityServiceStub, service: Service, address: Address
) -> None:
    async def answer(message: LogInRequest) -> LogInResponse:
        return LogInResponse()

    service.log_in_as = answer
    relay = Relay(address)
    async with relay.running():
        channel = RpcChannel(relay.address)
        through_relay = IdentityServiceStub(channel)
        await through_relay.log_in(LogInRequest())
    with pytest.raises(GridpactError) as raised:
        await through_relay.log_in(LogInRequest())
    assert raised.value.reason is Reason.UNAVAILABLE
    assert raised.value.retry_after_s == 1
    async with relay.running(relay.address.port):
        await through_relay.log_in(LogInRequest())
        channel.close()


async def test_calls_under_way_end_before_the_server_does(
    service: Service, address: Address
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: LogInRequest) -> LogInResponse:
        started.set()
        await go_on.wait()
        return LogInResponse()

    async def call_and_leave() -> LogInResponse:
        channel = RpcChannel(address)
        try:
            return await IdentityServiceStub(channel).log_in(LogInRequest())
        finally:
            channel.close()

    service.log_in_as = slow
    verifier = TokenVerifier(tokens.keys(), frozenset())
    async with serving_rpc([service], address, verifier, {}):
        call = asyncio.create_task(call_and_leave())
        await started.wait()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    assert await call == LogInResponse()


async def test_a_method_that_the_table_forgets_is_never_served(address: Address) -> None:
    class Forgetful(Service):
        ACCESS: ClassVar[Mapping[str, Access]] = {"LogIn": Access.PUBLIC}

    verifier = TokenVerifier(tokens.keys(), frozenset())
    with pytest.raises(ValueError, match="GetKeys"):
        async with serving_rpc([Forgetful()], address, verifier, {}):
            pass


async def test_another_grpc_client_reads_errors_health_and_reflection(
    stub: IdentityServiceStub, service: Service, address: Address
) -> None:
    async def fail(message: LogInRequest) -> LogInResponse:
        raise GridpactError(
            Reason.TOO_MANY_ATTEMPTS,
            "wait",
            violations=[Violation("email", "limit", "must rest")],
            retry_after_s=30,
        )

    service.log_in_as = fail
    async with grpc.aio.insecure_channel(str(address)) as channel:
        log_in = channel.unary_unary("/gridpact.identity.v1.IdentityService/LogIn")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await log_in(b"")
        error = raised.value
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(error.trailing_metadata() or ())
        status = RpcStatus.FromString(trailers["grpc-status-details-bin"])
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        for packed, kind in zip(status.details, (info, bad, retry), strict=True):
            assert packed.Unpack(kind)
        assert (info.reason, info.domain) == ("TOO_MANY_ATTEMPTS", "gridpact")
        assert info.metadata == {"retry_after_s": "30"}
        assert bad.field_violations[0].field == "email"
        assert retry.retry_delay.seconds == 30

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await log_in(b"\x0a\x01\xff")
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT

        assert await health_of(channel) == HealthCheckResponse.SERVING

        symbol = "gridpact.identity.v1.IdentityService"
        ask = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            ServerReflectionRequest.SerializeToString,
            ServerReflectionResponse.FromString,
        )
        questions = [
            ServerReflectionRequest(list_services=""),
            ServerReflectionRequest(file_containing_symbol=symbol),
            ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
        ]
        services, file, health_file = [answer async for answer in ask(iter(questions))]
        assert symbol in {each.name for each in services.list_services_response.service}
        for answer in (file, health_file):
            assert answer.file_descriptor_response.file_descriptor_proto


async def test_health_follows_its_checks(service: Service, address: Address) -> None:
    async def fails() -> None:
        raise GridpactError(Reason.UNAVAILABLE, "no database")

    verifier = TokenVerifier(tokens.keys(), frozenset())
    async with (
        serving_rpc([service], address, verifier, {"database": fails}),
        grpc.aio.insecure_channel(str(address)) as channel,
    ):
        assert await health_of(channel) == HealthCheckResponse.NOT_SERVING


def test_the_registry_and_grpc_agree_on_the_codes() -> None:
    codes = {code.value[0]: code.name for code in grpc.StatusCode}
    assert all(codes[entry.grpc_code] == entry.grpc_code.name for entry in REASONS.values())
