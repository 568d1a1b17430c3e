"""Every gRPC method, called over a socket by a client that shares no code with the services.

A case is the way to a request that succeeds, and the whole answer that it must get. The same
requests, sent by others or broken, are refused as the contract says.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest.mock import ANY

import msgpack
import pytest

from gridpact.contracts.errors import REASONS, Reason
from gridpact.kit.identifiers import new_identifier
from gridpact.kit.rpc.server import MAX_MESSAGE_BYTES
from tests.rpc_client import Json, Refused, RpcClient, methods
from tests.services import BRIDGE_SECRET, PASSWORD, ROLES, Services, email

IDENTITY = "gridpact.identity.v1.IdentityService"
ASSETS = "gridpact.assets.v1.AssetsService"
SERIES = "gridpact.series.v1.SeriesService"
TASKS = "gridpact.tasks.v1.TasksService"
DELIVERY = "gridpact.tasks.v1.DeliveryService"

# From the least to the most; a process of the platform stands outside of the order.
PEOPLE = ("viewer", "operator", "engineer", "admin")

BATTERY = {
    "capacity_kwh": 10,
    "max_charge_power_kw": 5,
    "max_discharge_power_kw": 5,
    "charge_efficiency": 0.95,
    "discharge_efficiency": 0.95,
}
START = "2026-06-01T00:00:00Z"
QUARTER_PAST = "2026-06-01T00:15:00Z"
HALF_PAST = "2026-06-01T00:30:00Z"
UNKNOWN_ID = "01981f6e-7c00-7000-8000-00000000ffff"


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def packed(value: Json) -> bytes:
    data = msgpack.packb(value)
    assert data is not None
    return data


PROBE_RESULT = packed({"held_ms": 0.5, "padding": ""})


class World:
    """The services as tests use them: who calls, and what there is to call about."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self._tokens = {name: self.session(name)["access_token"] for name in ROLES}
        bridge = {"service": "bridge", "secret": BRIDGE_SECRET}
        token = client.call(f"{IDENTITY}/IssueServiceToken", bridge)["access_token"]
        self._tokens["service"] = token

    def call(self, path: str, request: Json | bytes, by: str = "admin") -> Json:
        """``by`` is a role, "stranger" (the admin of another organisation) or "public"."""
        return self._client.call(path, request, self._tokens.get(by))

    def call_with(self, path: str, token: str) -> Json:
        return self._client.call(path, {}, token)

    def session(self, name: str) -> Json:
        account = {"email": email(name), "password": PASSWORD}
        return self._client.call(f"{IDENTITY}/LogIn", account)["session"]

    def site(self) -> Json:
        site = {"name": new_identifier(), "time_zone": "Europe/Berlin", "currency": "EUR"}
        return self.call(f"{ASSETS}/CreateSite", {"site": site})["site"]

    def asset(self) -> Json:
        request, _ = create_asset(self)
        return self.call(f"{ASSETS}/CreateAsset", request)["asset"]

    def series(self) -> Json:
        request, _ = create_series(self)
        return self.call(f"{SERIES}/CreateSeries", request)["series"]

    def task(self) -> Json:
        request, _ = submit_task(self)
        return self.call(f"{TASKS}/SubmitTask", request)["task"]

    def lease(self) -> Json:
        """The lease of a task that an attempt has just begun to work on."""
        attempt = {"task_id": self.task()["task_id"], "bridge_id": "test"}
        opened = self.call(f"{DELIVERY}/OpenAttempts", {"attempts": [attempt]}, "service")
        return {name: opened["attempts"][0][name] for name in ("task_id", "fencing_token")}

    def succeeded_task(self) -> Json:
        request, _ = complete_attempts(self)
        self.call(f"{DELIVERY}/CompleteAttempts", request, "service")
        task_id = request["attempts"][0]["lease"]["task_id"]
        return self.call(f"{TASKS}/GetTask", {"task_id": task_id})["task"]


@pytest.fixture(scope="module")
def world(services: Services) -> Iterator[World]:
    with RpcClient(services.address) as client:
        yield World(client)


MakeRequest = Callable[[World], tuple[Json, Json]]


class Case(NamedTuple):
    path: str
    access: str
    # A request that succeeds, and its answer.
    make: MakeRequest
    # Whether the request names something that only the caller's organisation sees.
    names_something: bool


CASES: dict[str, Case] = {}


def case(
    service: str, method: str, access: str, *, names_something: bool = False
) -> Callable[[MakeRequest], MakeRequest]:
    """Makes a function the case of a method."""

    def add(make: MakeRequest) -> MakeRequest:
        path = f"{service}/{method}"
        assert path not in CASES
        CASES[path] = Case(path, access, make, names_something)
        return make

    return add


SESSION = {"access_token": ANY, "expires_in_s": 600, "refresh_token": ANY}


@case(IDENTITY, "LogIn", "public")
def log_in(world: World) -> tuple[Json, Json]:
    return {"email": email("viewer"), "password": PASSWORD}, {"session": SESSION}


@case(IDENTITY, "RefreshSession", "public")
def refresh_session(world: World) -> tuple[Json, Json]:
    return {"refresh_token": world.session("viewer")["refresh_token"]}, {"session": SESSION}


@case(IDENTITY, "LogOut", "public")
def log_out(world: World) -> tuple[Json, Json]:
    return {"refresh_token": world.session("viewer")["refresh_token"]}, {}


@case(IDENTITY, "GetKeys", "public")
def get_keys(world: World) -> tuple[Json, Json]:
    return {}, {"keys": [{"kid": ANY, "n": ANY, "e": "AQAB"}]}


@case(IDENTITY, "GetCurrentUser", "viewer")
def get_current_user(world: World) -> tuple[Json, Json]:
    user = {"user_id": ANY, "organisation_id": ANY}
    return {}, {**user, "email": email("viewer"), "role": "ROLE_VIEWER"}


@case(IDENTITY, "IssueServiceToken", "public")
def issue_service_token(world: World) -> tuple[Json, Json]:
    request = {"service": "bridge", "secret": BRIDGE_SECRET}
    return request, {"access_token": ANY, "expires_in_s": 600}


@case(ASSETS, "CreateSite", "engineer")
def create_site(world: World) -> tuple[Json, Json]:
    site = {
        "name": f"Hof 麦田 {new_identifier()}",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
        "latitude": 52.5,
        "longitude": -0.0,
        "max_import_power_kw": 30.0,
        "max_export_power_kw": 0.0,
    }
    return {"site": site}, {"site": {**site, "site_id": ANY, "created_time": ANY}}


@case(ASSETS, "GetSite", "viewer", names_something=True)
def get_site(world: World) -> tuple[Json, Json]:
    site = world.site()
    return {"site_id": site["site_id"]}, {"site": site}


@case(ASSETS, "ListSites", "viewer")
def list_sites(world: World) -> tuple[Json, Json]:
    oldest, older, newer = world.site(), world.site(), world.site()
    first = world.call(f"{ASSETS}/ListSites", {"page_size": 1})
    assert first["sites"] == [newer]
    request = {"page_size": 2, "cursor": first["next_cursor"]}
    return request, {"sites": [older, oldest], "next_cursor": ANY}


@case(ASSETS, "CreateAsset", "engineer", names_something=True)
def create_asset(world: World) -> tuple[Json, Json]:
    asset = {
        "site_id": world.site()["site_id"],
        "name": "Battery",
        "type": "ASSET_TYPE_BATTERY",
        "specification_json": base64_of(json.dumps(BATTERY).encode()),
    }
    answer = {**asset, "asset_id": ANY, "created_time": ANY, "specification_json": ANY}
    return {"asset": asset}, {"asset": answer}


@case(ASSETS, "GetAsset", "viewer", names_something=True)
def get_asset(world: World) -> tuple[Json, Json]:
    asset = world.asset()
    assert json.loads(base64.b64decode(asset["specification_json"])) == BATTERY
    return {"asset_id": asset["asset_id"]}, {"asset": asset}


@case(ASSETS, "ListAssets", "viewer", names_something=True)
def list_assets(world: World) -> tuple[Json, Json]:
    asset = world.asset()
    return {"site_id": asset["site_id"]}, {"assets": [asset]}


@case(SERIES, "CreateSeries", "engineer", names_something=True)
def create_series(world: World) -> tuple[Json, Json]:
    asset = world.asset()
    series = {
        "site_id": asset["site_id"],
        "asset_id": asset["asset_id"],
        "name": "Load",
        "quantity": "QUANTITY_POWER_KW",
        "slot_duration_s": 900,
    }
    return {"series": series}, {"series": {**series, "series_id": ANY, "created_time": ANY}}


@case(SERIES, "GetSeries", "viewer", names_something=True)
def get_series(world: World) -> tuple[Json, Json]:
    series = world.series()
    return {"series_id": series["series_id"]}, {"series": series}


@case(SERIES, "ListSeries", "viewer", names_something=True)
def list_series(world: World) -> tuple[Json, Json]:
    series = world.series()
    return {"site_id": series["site_id"]}, {"series": [series]}


@case(SERIES, "IngestValues", "operator", names_something=True)
def ingest_values(world: World) -> tuple[Json, Json]:
    request = {
        "series_id": world.series()["series_id"],
        "start_time": START,
        "values_f64": base64_of(struct.pack("<2d", 0.25, -1.5)),
    }
    return request, {"written_count": 2, "first_time": START, "last_time": QUARTER_PAST}


@case(SERIES, "QueryValues", "viewer", names_something=True)
def query_values(world: World) -> tuple[Json, Json]:
    series = world.series()
    values = {"start_time": START, "values_f64": base64_of(struct.pack("<2d", 0.25, -1.5))}
    world.call(f"{SERIES}/IngestValues", {"series_id": series["series_id"], **values})
    request = {"series_id": series["series_id"], "from_time": START, "to_time": HALF_PAST}
    return request, {"series": series, **values}


@case(TASKS, "SubmitTask", "operator", names_something=True)
def submit_task(world: World) -> tuple[Json, Json]:
    wanted = {
        "kind": "probe",
        "engine_choice": "python",
        "site_id": world.site()["site_id"],
        "label": "Rehearsal",
    }
    request = {
        **wanted,
        "idempotency_key": new_identifier(),
        "input": base64_of(packed({"hold_ms": 0})),
        "timeout_s": 60,
    }
    task = {**wanted, "task_id": ANY, "state": "TASK_STATE_QUEUED", "submitted_time": ANY}
    return request, {"task": task, "created": True}


@case(TASKS, "SubmitTasks", "operator")
def submit_tasks(world: World) -> tuple[Json, Json]:
    request, _ = submit_task(world)
    wrong = {"idempotency_key": new_identifier(), "input": base64_of(packed({"hold_ms": -1}))}
    violation = {"field": "input.hold_ms", "rule": "minimum", "message": ANY}
    failure = {"reason": "INVALID_ARGUMENT", "message": ANY, "violations": [violation]}
    answer = {"tasks": [{"task_id": ANY, "created": True}, {"refusal": failure}]}
    return {"tasks": [request, {**request, **wrong}]}, answer


@case(TASKS, "GetTask", "viewer", names_something=True)
def get_task(world: World) -> tuple[Json, Json]:
    task = world.task()
    return {"task_id": task["task_id"]}, {"task": task}


@case(TASKS, "ListTasks", "viewer")
def list_tasks(world: World) -> tuple[Json, Json]:
    task = world.task()
    request = {"site_id": task["site_id"], "state": "TASK_STATE_QUEUED"}
    return request, {"tasks": [task]}


@case(TASKS, "CancelTask", "operator", names_something=True)
def cancel_task(world: World) -> tuple[Json, Json]:
    task = world.task()
    cancelled = {
        **task,
        "state": "TASK_STATE_CANCELLED",
        "cancel_requested": True,
        "finished_time": ANY,
        "failure": {"reason": "CANCELLED", "message": ANY},
    }
    return {"task_id": task["task_id"]}, {"task": cancelled}


@case(TASKS, "GetTaskResult", "viewer", names_something=True)
def get_task_result(world: World) -> tuple[Json, Json]:
    task = world.succeeded_task()
    assert task == {
        "task_id": ANY,
        "kind": "probe",
        "engine_choice": "python",
        "state": "TASK_STATE_SUCCEEDED",
        "site_id": ANY,
        "label": "Rehearsal",
        "attempt_count": 1,
        "submitted_time": ANY,
        "started_time": ANY,
        "finished_time": ANY,
        "engine": "python",
        "engine_version": "1",
        "solve_ms": 0.5,
    }
    answer = {"task": task, "encoding": "ENCODING_IDENTITY", "result": base64_of(PROBE_RESULT)}
    return {"task_id": task["task_id"]}, answer


@case(DELIVERY, "OpenAttempts", "service")
def open_attempts(world: World) -> tuple[Json, Json]:
    known = {"task_id": world.task()["task_id"], "bridge_id": "test"}
    opened = {
        "task_id": known["task_id"],
        "refusal": {},
        "fencing_token": ANY,
        "attempt": 1,
        "lease_ms": ANY,
        "remaining_ms": ANY,
    }
    unknown = {"task_id": UNKNOWN_ID, "bridge_id": "test"}
    refused = {"task_id": UNKNOWN_ID, "refusal": {"reason": "NOT_FOUND"}}
    return {"attempts": [known, unknown]}, {"attempts": [opened, refused], "now": ANY}


@case(DELIVERY, "FetchPayload", "service")
def fetch_payload(world: World) -> tuple[Json, Json]:
    payload = packed({"hold_ms": 0})
    request = {"lease": world.lease(), "offset": "1"}
    return request, {"part": base64_of(payload[1:]), "total_bytes": str(len(payload))}


@case(DELIVERY, "RenewLeases", "service")
def renew_leases(world: World) -> tuple[Json, Json]:
    lease = world.lease()
    renewed = {"task_id": lease["task_id"], "refusal": {}, "lease_ms": ANY}
    stale = {"task_id": lease["task_id"], "fencing_token": "0"}
    refused = {"task_id": lease["task_id"], "refusal": {"reason": "LEASE_STALE"}}
    return {"leases": [lease, stale]}, {"leases": [renewed, refused]}


@case(DELIVERY, "ReportProgress", "service")
def report_progress(world: World) -> tuple[Json, Json]:
    progress = {"fraction": 0.5, "stage": "solve", "objective": -1.5}
    return {"reports": [{"lease": world.lease(), "progress": progress}]}, {}


@case(DELIVERY, "CompleteAttempts", "service")
def complete_attempts(world: World) -> tuple[Json, Json]:
    lease = world.lease()
    attempt = {
        "lease": lease,
        "engine": "python",
        "engine_version": "1",
        "solve_ms": 0.5,
        "succeeded": {"encoding": "ENCODING_IDENTITY", "result": base64_of(PROBE_RESULT)},
    }
    ended = {"task_id": lease["task_id"], "refusal": {}, "task_ended": True}
    unopened = {"task_id": world.task()["task_id"], "fencing_token": 1}
    early = {**attempt, "lease": unopened, "early_start": {"bridge_id": "test", "elapsed_ms": 2.5}}
    stale = {**early, "lease": world.lease(), "early_start": {"bridge_id": "another"}}
    answers = [
        ended,
        {**ended, "task_id": unopened["task_id"]},
        {"task_id": stale["lease"]["task_id"], "refusal": {"reason": "LEASE_STALE"}},
    ]
    return {"attempts": [attempt, early, stale]}, {"attempts": answers, "now": ANY}


@case(DELIVERY, "ReplayTasks", "service")
def replay_tasks(world: World) -> tuple[Json, Json]:
    lease = world.lease()
    failed = {
        "lease": lease,
        "engine": "python",
        "failed": {"reason": "SOLVER_FAILED", "message": "for the test"},
    }
    world.call(f"{DELIVERY}/CompleteAttempts", {"attempts": [failed]}, "service")
    queued = world.task()["task_id"]
    replayed = {"task_id": lease["task_id"], "refusal": {}, "new_task_id": ANY}
    refused = [
        {"task_id": queued, "refusal": {"reason": "TASK_NOT_FAILED"}},
        {"task_id": UNKNOWN_ID, "refusal": {"reason": "NOT_FOUND"}},
    ]
    task_ids = [lease["task_id"], queued, UNKNOWN_ID]
    return {"task_ids": task_ids}, {"tasks": [replayed, *refused]}


def each_case(*, only: Callable[[Case], bool] = lambda _: True) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=case.path) for case in CASES.values() if only(case)]
    )


def refusal(world: World, path: str, request: Json | bytes, by: str) -> Refused:
    """What the services say; its code and reason agree with the registry of reasons."""
    with pytest.raises(Refused) as raised:
        world.call(path, request, by)
    refused = raised.value
    assert refused.domain == "gridpact"
    assert refused.code == REASONS[Reason(refused.reason)].grpc_code.name
    assert set(refused.meta) <= set(REASONS[Reason(refused.reason)].meta)
    return refused


def test_every_method_has_a_case() -> None:
    assert set(CASES) == set(methods())


@each_case()
def test_answers_the_least_role_that_may_call(world: World, case: Case) -> None:
    request, answer = case.make(world)
    assert world.call(case.path, request, case.access) == answer


@each_case(only=lambda case: case.access != "public")
def test_refuses_whoever_shows_no_token(world: World, case: Case) -> None:
    assert refusal(world, case.path, {}, "public").reason == "TOKEN_MISSING"


@each_case(only=lambda case: case.access != "public")
def test_refuses_a_token_that_is_none_of_ours(world: World, case: Case) -> None:
    header, claims, signature = world.session("admin")["access_token"].split(".")
    forged = ".".join((header, claims, signature[::-1]))
    for token in (forged, "nonsense"):
        with pytest.raises(Refused) as raised:
            world.call_with(case.path, token)
        assert (raised.value.code, raised.value.reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")


@each_case(only=lambda case: case.access not in ("public", "viewer"))
def test_refuses_every_smaller_role(world: World, case: Case) -> None:
    smaller = PEOPLE if case.access == "service" else PEOPLE[: PEOPLE.index(case.access)]
    for role in smaller:
        refused = refusal(world, case.path, {}, role)
        assert refused.reason == "ROLE_INSUFFICIENT"
        assert refused.meta == {"required_role": case.access}


@each_case(only=lambda case: case.access in PEOPLE)
def test_a_process_does_not_stand_in_for_a_person(world: World, case: Case) -> None:
    assert refusal(world, case.path, {}, "service").reason == "ROLE_INSUFFICIENT"


@each_case(only=lambda case: case.names_something)
def test_another_organisation_finds_nothing(world: World, case: Case) -> None:
    request, answer = case.make(world)
    assert refusal(world, case.path, request, "stranger").reason == "NOT_FOUND"
    # Nor did the try leave anything behind.
    assert world.call(case.path, request) == answer


@each_case()
def test_refuses_a_message_that_is_too_large(world: World, case: Case) -> None:
    oversize = bytes(MAX_MESSAGE_BYTES + 1)
    refused = refusal(world, case.path, oversize, case.access)
    assert refused.reason == "MESSAGE_TOO_LARGE"
    assert refused.meta == {"limit_bytes": str(MAX_MESSAGE_BYTES)}


@each_case()
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"\x0a\x7f\x00", id="shorter than it says"),
        pytest.param(b"\x0a\x01\xff\x80", id="no UTF-8, and half a number"),
        pytest.param(b"\x0f", id="a type that there is not"),
    ],
)
def test_refuses_what_is_no_protobuf(world: World, case: Case, broken: bytes) -> None:
    assert refusal(world, case.path, broken, case.access).reason == "MESSAGE_MALFORMED"


def test_a_field_of_the_wrong_type_is_one_it_does_not_know(world: World) -> None:
    """A number where site_id, field 1, is a text."""
    assert refusal(world, f"{ASSETS}/GetSite", b"\x08\x01", "viewer").reason == "NOT_FOUND"


@pytest.mark.parametrize(
    ("path", "by", "request_", "violations"),
    [
        (f"{ASSETS}/CreateSite", "engineer", {}, {"site": "required"}),
        (
            f"{ASSETS}/CreateSite",
            "engineer",
            {"site": {"name": "A", "time_zone": "Mars/Olympus", "currency": "EUR", "latitude": 91}},
            {"latitude": "maximum"},
        ),
        (f"{ASSETS}/ListSites", "viewer", {"page_size": 201}, {"page_size": "range"}),
        (
            f"{SERIES}/CreateSeries",
            "engineer",
            {"series": {"site_id": UNKNOWN_ID, "name": "A", "quantity": 1, "slot_duration_s": 901}},
            {"slot_duration_s": "enum"},
        ),
        (
            f"{TASKS}/SubmitTask",
            "operator",
            {
                "idempotency_key": "a",
                "kind": "probe",
                "input": base64_of(packed({"hold_ms": -1})),
            },
            {"input.hold_ms": "minimum"},
        ),
        (f"{TASKS}/SubmitTasks", "operator", {}, {"tasks": "items"}),
        (f"{DELIVERY}/OpenAttempts", "service", {}, {"attempts": "items"}),
        (
            f"{DELIVERY}/CompleteAttempts",
            "service",
            {"attempts": [{"lease": {"task_id": UNKNOWN_ID}}]},
            {"attempts[0].outcome": "required"},
        ),
        (
            f"{DELIVERY}/CompleteAttempts",
            "service",
            {
                "attempts": [
                    {
                        "lease": {"task_id": UNKNOWN_ID, "fencing_token": 2},
                        "cancelled": {},
                        "early_start": {"bridge_id": "test"},
                    }
                ]
            },
            {"attempts[0].lease.fencing_token": "const"},
        ),
        (
            f"{DELIVERY}/CompleteAttempts",
            "service",
            {
                "attempts": [
                    {
                        "lease": {"task_id": UNKNOWN_ID, "fencing_token": 1},
                        "cancelled": {},
                        "early_start": {"bridge_id": "test", "elapsed_ms": -1},
                    }
                ]
            },
            {"attempts[0].early_start.elapsed_ms": "range"},
        ),
    ],
)
def test_names_the_field_at_fault(
    world: World, path: str, by: str, request_: Json, violations: dict[str, str]
) -> None:
    refused = refusal(world, path, request_, by)
    assert (refused.reason, refused.violations) == ("INVALID_ARGUMENT", violations)


def test_tells_when_to_try_again(world: World) -> None:
    """After ten wrong passwords of one address."""
    wrong = {"email": "nobody@example.org", "password": "wrong"}
    for _ in range(10):
        assert refusal(world, f"{IDENTITY}/LogIn", wrong, "public").reason == "CREDENTIALS_WRONG"
    refused = refusal(world, f"{IDENTITY}/LogIn", wrong, "public")
    assert refused.reason == "TOO_MANY_ATTEMPTS"
    assert refused.retry_after_s is not None
    assert refused.meta == {"retry_after_s": str(refused.retry_after_s)}
    assert 0 < refused.retry_after_s <= 600


def test_lists_show_nothing_of_another_organisation(world: World) -> None:
    world.task()
    assert world.call(f"{ASSETS}/ListSites", {}, "stranger") == {}
    assert world.call(f"{TASKS}/ListTasks", {}, "stranger") == {}
