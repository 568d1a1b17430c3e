"""The process that hosts the services, over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from gridpact.contracts.errors import Reason
from gridpact.contracts.proto.gridpact.assets.v1 import (
    AssetsServiceStub,
    CreateSiteRequest,
    GetSiteRequest,
    ListSitesRequest,
    Site,
)
from gridpact.contracts.proto.gridpact.identity.v1 import (
    IdentityServiceStub,
    IssueServiceTokenRequest,
    LogInRequest,
)
from gridpact.contracts.proto.gridpact.series.v1 import (
    CreateSeriesRequest,
    IngestValuesRequest,
    Quantity,
    QueryValuesRequest,
    Series,
    SeriesServiceStub,
)
from gridpact.contracts.proto.gridpact.tasks.v1 import (
    CompleteAttempt,
    CompleteAttemptsRequest,
    CompleteAttemptsResponse,
    DeliveryServiceStub,
    Encoding,
    GetTaskRequest,
    GetTaskResultRequest,
    Lease,
    ListTasksRequest,
    OpenAttempt,
    OpenAttemptsRequest,
    ProgressReport,
    RenewLeasesRequest,
    ReportProgressRequest,
    SubmitTaskRequest,
    Succeeded,
    TaskProgress,
    TasksServiceStub,
    TaskState,
)
from gridpact.identity.bootstrap_admin import AdminSettings, bootstrap_admin
from gridpact.kit.errors import GridpactError
from gridpact.kit.rpc.client import RpcChannel
from gridpact.kit.settings import Address, SettingsError
from gridpact.services.bootstrap import SERVICES, HostSettings, serving_services
from tests.redis import RedisServer

EMAIL = "admin@example.com"
PASSWORD = "correct horse battery staple"
BRIDGE_SECRET = "b" * 64
START = datetime(2026, 6, 1, tzinfo=UTC)


def free_address() -> Address:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


Settings = Callable[..., HostSettings]


@pytest.fixture
async def settings_of(database_url: str, redis_server: RedisServer) -> Settings:
    """Settings of a process on a database that has an administrator."""
    await bootstrap_admin(
        AdminSettings(database_url=database_url, admin_email=EMAIL, admin_password=PASSWORD)
    )

    def make(**addresses: str) -> HostSettings:
        return HostSettings(
            database_url=database_url,
            redis_url=redis_server.url,
            rpc_address=free_address(),
            bridge_secret=BRIDGE_SECRET,
            **addresses,
        )

    return make


class Client:
    """What the API and the bridge would call."""

    def __init__(self, channel: Callable[[str, str | None], RpcChannel]) -> None:
        self._channel = channel

    async def log_in(self) -> None:
        identity = IdentityServiceStub(self._channel("identity", None))
        reply = await identity.log_in(LogInRequest(email=EMAIL, password=PASSWORD))
        assert reply.session is not None
        token = reply.session.access_token
        self.assets = AssetsServiceStub(self._channel("assets", token))
        self.series = SeriesServiceStub(self._channel("series", token))
        self.tasks = TasksServiceStub(self._channel("tasks", token))
        self.delivery_as_admin = DeliveryServiceStub(self._channel("tasks", token))
        service = await identity.issue_service_token(
            IssueServiceTokenRequest(service="bridge", secret=BRIDGE_SECRET)
        )
        self.delivery = DeliveryServiceStub(self._channel("tasks", service.access_token))


@asynccontextmanager
async def client(addresses: dict[str, Address]) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:

        def channel(service: str, token: str | None) -> RpcChannel:
            async def credentials() -> str | None:
                return token

            opened = RpcChannel(addresses[service], credentials=credentials)
            stack.callback(opened.close)
            return opened

        made = Client(channel)
        await made.log_in()
        yield made


@pytest.fixture(params=["together", "each-alone"])
async def connected(request: pytest.FixtureRequest, settings_of: Settings) -> AsyncIterator[Client]:
    """A client of services in one process, and of services that call each other by socket."""
    async with AsyncExitStack() as stack:
        addresses: dict[str, Address] = {}
        if request.param == "together":
            settings = settings_of()
            await stack.enter_async_context(serving_services(SERVICES, settings))
            addresses = dict.fromkeys(SERVICES, settings.rpc_address)
        else:
            for name in SERVICES:
                known = {
                    f"{other}_address": str(addresses[other])
                    for other in ("identity", "assets")
                    if other in addresses
                }
                settings = settings_of(**known)
                await stack.enter_async_context(serving_services([name], settings))
                addresses[name] = settings.rpc_address
        yield await stack.enter_async_context(client(addresses))


async def create_site(client: Client) -> str:
    site = Site(name="Farm", time_zone="Europe/Berlin", currency="EUR")
    reply = await client.assets.create_site(CreateSiteRequest(site=site))
    assert reply.site is not None
    return reply.site.site_id


async def test_a_series_of_a_site_is_written_and_read(connected: Client) -> None:
    draft = Series(
        site_id=await create_site(connected),
        name="Load",
        quantity=Quantity.POWER_KW,
        slot_duration_s=900,
    )
    created = (await connected.series.create_series(CreateSeriesRequest(series=draft))).series
    assert created is not None
    values = np.arange(4, dtype="<f8")
    report = await connected.series.ingest_values(
        IngestValuesRequest(
            series_id=created.series_id, start_time=START, values_f64=values.tobytes()
        )
    )
    assert (report.written_count, report.last_time) == (4, START + timedelta(minutes=45))
    window = await connected.series.query_values(
        QueryValuesRequest(
            series_id=created.series_id,
            from_time=START - timedelta(minutes=15),
            to_time=START + timedelta(hours=1),
        )
    )
    assert window.series == created
    np.testing.assert_array_equal(
        np.frombuffer(window.values_f64, "<f8"), np.concatenate([[np.nan], values])
    )


async def test_a_task_goes_from_submission_to_its_result(connected: Client) -> None:
    site_id = await create_site(connected)
    data = msgspec.msgpack.encode({"hold_ms": 1})
    submission = SubmitTaskRequest(idempotency_key="key", kind="probe", input=data, site_id=site_id)
    submitted = await connected.tasks.submit_task(submission)
    assert submitted.task is not None
    assert submitted.created
    task_id = submitted.task.task_id

    opening = OpenAttempt(task_id=task_id, bridge_id="bridge-1")
    [opened] = (
        await connected.delivery.open_attempts(OpenAttemptsRequest(attempts=[opening]))
    ).attempts
    assert opened.refusal is not None
    assert opened.refusal.reason == ""
    assert (opened.fencing_token, opened.attempt) == (1, 1)
    assert 0 < opened.remaining_ms <= 3_600_000

    lease = Lease(task_id=task_id, fencing_token=opened.fencing_token)
    progress = TaskProgress(
        fraction=0.5, stage="solve", objective=-1.5, bound=-2.5, relative_gap=0.625
    )
    await connected.delivery.report_progress(
        ReportProgressRequest(reports=[ProgressReport(lease=lease, progress=progress)])
    )
    [renewed] = (await connected.delivery.renew_leases(RenewLeasesRequest(leases=[lease]))).leases
    assert renewed.lease_ms == opened.lease_ms > 0
    task = (await connected.tasks.get_task(GetTaskRequest(task_id=task_id))).task
    assert task is not None
    assert (task.state, task.progress, task.site_id) == (TaskState.RUNNING, progress, site_id)

    result = msgspec.msgpack.encode({"held_ms": 1.0, "padding": ""})
    ending = CompleteAttempt(
        lease=lease,
        engine="julia",
        engine_version="0.1.0",
        solve_ms=1.25,
        succeeded=Succeeded(encoding=Encoding.IDENTITY, result=result),
    )
    [ended] = (await complete(connected, ending)).attempts
    assert ended.task_ended
    reply = await connected.tasks.get_task_result(GetTaskResultRequest(task_id=task_id))
    assert reply.task is not None
    assert (reply.result, reply.task.engine, reply.task.solve_ms) == (result, "julia", 1.25)
    listed = await connected.tasks.list_tasks(ListTasksRequest(state=TaskState.SUCCEEDED))
    assert listed.tasks == [reply.task]


async def complete(connected: Client, ending: CompleteAttempt) -> CompleteAttemptsResponse:
    requests = [CompleteAttemptsRequest(attempts=[ending])]
    [answer] = [each async for each in connected.delivery.complete_attempts(requests)]
    return answer


async def test_a_site_that_is_not_there_is_not_found_by_any_service(connected: Client) -> None:
    nowhere = "01981f6e-7c00-7000-8000-000000000001"
    series = Series(site_id=nowhere, name="Load", quantity=Quantity.POWER_KW, slot_duration_s=900)
    submission = SubmitTaskRequest(
        idempotency_key="k", kind="probe", input=b"\x80", site_id=nowhere
    )
    for call in (
        connected.assets.get_site(GetSiteRequest(site_id=nowhere)),
        connected.series.create_series(CreateSeriesRequest(series=series)),
        connected.tasks.submit_task(submission),
    ):
        with pytest.raises(GridpactError) as refused:
            await call
        assert refused.value.reason is Reason.NOT_FOUND
        assert refused.value.meta == {"resource": "site", "id": nowhere}


async def test_delivery_is_for_the_bridge_alone(connected: Client) -> None:
    opening = OpenAttemptsRequest(attempts=[OpenAttempt(task_id="x", bridge_id="b")])
    with pytest.raises(GridpactError) as refused:
        await connected.delivery_as_admin.open_attempts(opening)
    assert refused.value.reason is Reason.ROLE_INSUFFICIENT


@pytest.mark.parametrize("count", [0, 257])
async def test_a_batch_has_1_to_256_items(connected: Client, count: int) -> None:
    opening = OpenAttempt(task_id="x", bridge_id="b")
    with pytest.raises(GridpactError) as refused:
        await connected.delivery.open_attempts(OpenAttemptsRequest(attempts=[opening] * count))
    assert refused.value.reason is Reason.INVALID_ARGUMENT


async def test_an_attempt_ends_one_way_or_not_at_all(connected: Client) -> None:
    ending = CompleteAttempt(lease=Lease(task_id="x", fencing_token=1))
    with pytest.raises(GridpactError) as refused:
        await complete(connected, ending)
    assert [found.field for found in refused.value.violations] == ["attempts[0].outcome"]


async def test_hundreds_of_callers_at_once_are_all_served(connected: Client) -> None:
    data = msgspec.msgpack.encode({"hold_ms": 1})
    replies = await asyncio.gather(
        *(
            connected.tasks.submit_task(
                SubmitTaskRequest(idempotency_key=f"key-{i // 2}", kind="probe", input=data)
            )
            for i in range(300)
        )
    )
    assert len({reply.task.task_id for reply in replies if reply.task}) == 150
    assert [reply.created for reply in replies].count(True) == 150


async def test_the_process_serves_and_ends_on_sigterm(settings_of: Settings) -> None:
    settings = settings_of()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gridpact.services"),
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "GRIDPACT_DATABASE_URL": settings.database_url,
            "GRIDPACT_REDIS_URL": settings.redis_url,
            "GRIDPACT_RPC_ADDRESS": str(settings.rpc_address),
            "GRIDPACT_BRIDGE_SECRET": settings.bridge_secret,
        },
    )
    assert process.stdout is not None
    while b"event=ready" not in (line := await process.stdout.readline()):
        assert line, "it ended before it was ready"
    async with client(dict.fromkeys(SERVICES, settings.rpc_address)) as connected:
        assert not (await connected.assets.list_sites(ListSitesRequest())).sites
    process.send_signal(signal.SIGTERM)
    await process.stdout.read()
    async with asyncio.timeout(5):
        assert await process.wait() == 0


async def test_a_process_says_which_address_it_lacks(settings_of: Settings) -> None:
    with pytest.raises(SettingsError, match="GRIDPACT_IDENTITY_ADDRESS"):
        async with serving_services(["tasks"], settings_of()):
            pass
