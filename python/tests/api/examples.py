"""For every operation: a request that is right, and what the services answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gridpact.contracts.messages import DispatchResult, ProbeResult
from gridpact.contracts.proto.gridpact.assets.v1 import (
    Asset,
    AssetType,
    CreateAssetResponse,
    CreateSiteResponse,
    GetAssetResponse,
    GetSiteResponse,
    ListAssetsResponse,
    ListSitesResponse,
    Site,
)
from gridpact.contracts.proto.gridpact.identity.v1 import (
    GetCurrentUserResponse,
    GetKeysResponse,
    LogInResponse,
    LogOutResponse,
    PublicKey,
    RefreshSessionResponse,
    Role,
    Session,
)
from gridpact.contracts.proto.gridpact.series.v1 import (
    CreateSeriesResponse,
    GetSeriesResponse,
    IngestValuesResponse,
    ListSeriesResponse,
    Quantity,
    QueryValuesResponse,
    Series,
)
from gridpact.contracts.proto.gridpact.tasks.v1 import (
    CancelTaskResponse,
    Encoding,
    GetTaskResponse,
    GetTaskResultResponse,
    ListTasksResponse,
    SubmitTaskResponse,
    Task,
    TaskFailure,
    TaskProgress,
    TaskState,
    Violation,
)
from gridpact.kit import wire

ID = "01981f6e-7c00-7000-8000-000000000001"
TIME = datetime(2026, 6, 1, 0, 0, 0, 1000, tzinfo=UTC)
SESSION = Session(access_token="a.b.c", expires_in_s=600, refresh_token="0123456789abcdef.1")
SITE = Site(
    site_id=ID,
    name="Farm Lindenhof",
    time_zone="Europe/Berlin",
    currency="EUR",
    latitude=52.5,
    max_import_power_kw=0.0,
    created_time=TIME,
)
ASSET = Asset(
    asset_id=ID,
    site_id=ID,
    name="Roof",
    type=AssetType.PV,
    specification_json=b'{"peak_power_kw":9.9,"curtailable":true}',
    created_time=TIME,
)
SERIES = Series(
    series_id=ID,
    site_id=ID,
    name="House load",
    quantity=Quantity.POWER_KW,
    slot_duration_s=900,
    created_time=TIME,
)
TASK = Task(
    task_id=ID,
    kind="probe",
    engine_choice="auto",
    state=TaskState.RUNNING,
    site_id=ID,
    label="night",
    attempt_count=1,
    progress=TaskProgress(fraction=0.0, stage="solve", objective=0.0, bound=0.0, relative_gap=0.0),
    submitted_time=TIME,
    started_time=TIME,
    engine="julia",
    engine_version="0.1.0",
)
FAILED = Task(
    task_id=ID,
    kind="dispatch",
    engine_choice="julia",
    state=TaskState.FAILED,
    attempt_count=1,
    submitted_time=TIME,
    finished_time=TIME,
    failure=TaskFailure(
        reason="INFEASIBLE", message="too small", violations=[Violation("a", "b", "c")]
    ),
)
DISPATCH = {
    "kind": "dispatch",
    "input": {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "slots": 2,
        "currency": "EUR",
        "batteries": [
            {
                "name": "Home battery",
                "battery": {
                    "capacity_kwh": 10,
                    "max_charge_power_kw": 5,
                    "max_discharge_power_kw": 5,
                    "charge_efficiency": 0.95,
                    "discharge_efficiency": 0.95,
                },
                "initial_energy_kwh": 5,
            }
        ],
        "loads": [{"name": "House", "power_kw": [0.4, 0.5]}],
        "tariff": {"import_price_per_kwh": [0.3, 0.2], "export_price_per_kwh": [0.1, 0]},
        "grid": {"max_import_power_kw": 30, "max_export_power_kw": 20},
    },
}
PROBE_RESULT = wire.encode(ProbeResult(held_ms=1.5, padding="xx"))
TIMES = {"from": "2026-06-01T00:00:00Z", "to": "2026-06-01T00:30:00Z"}
QUERIED = QueryValuesResponse(
    series=SERIES,
    start_time=datetime(2026, 6, 1, tzinfo=UTC),
    values_f64=np.array([0.25, np.nan], "<f8").tobytes(),
)


@dataclass(frozen=True)
class Example:
    """A right request of one operation."""

    path: str
    service: str = ""
    method: str = ""
    answer: Any = None
    json: Any = None
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


EXAMPLES = {
    "logIn": Example(
        "/v1/sessions",
        "identity",
        "log_in",
        LogInResponse(session=SESSION),
        json={"email": "a@example.org", "password": "x"},
    ),
    "refreshSession": Example(
        "/v1/sessions/refresh",
        "identity",
        "refresh_session",
        RefreshSessionResponse(session=SESSION),
        json={"refresh_token": "0123456789abcdef"},
    ),
    "logOut": Example(
        "/v1/sessions/logout",
        "identity",
        "log_out",
        LogOutResponse(),
        json={"refresh_token": "0123456789abcdef"},
    ),
    "getCurrentUser": Example(
        "/v1/users/me",
        "identity",
        "get_current_user",
        GetCurrentUserResponse(
            user_id=ID, organisation_id=ID, email="a@example.org", role=Role.ADMIN
        ),
    ),
    "getKeys": Example(
        "/.well-known/jwks.json",
        "identity",
        "get_keys",
        GetKeysResponse(keys=[PublicKey(kid="k", n="AQAB", e="AQAB")]),
    ),
    "getLiveness": Example("/health/live"),
    "getReadiness": Example("/health/ready"),
    "listSites": Example(
        "/v1/sites",
        "assets",
        "list_sites",
        ListSitesResponse(sites=[SITE], next_cursor="abc"),
        params={"page_size": "200", "cursor": "abc"},
    ),
    "createSite": Example(
        "/v1/sites",
        "assets",
        "create_site",
        CreateSiteResponse(site=SITE),
        json={"name": "Farm", "time_zone": "Europe/Berlin", "currency": "EUR"},
    ),
    "getSite": Example(f"/v1/sites/{ID}", "assets", "get_site", GetSiteResponse(site=SITE)),
    "listAssets": Example(
        f"/v1/sites/{ID}/assets", "assets", "list_assets", ListAssetsResponse(assets=[ASSET])
    ),
    "createAsset": Example(
        f"/v1/sites/{ID}/assets",
        "assets",
        "create_asset",
        CreateAssetResponse(asset=ASSET),
        json={"type": "pv", "name": "Roof", "pv": {"peak_power_kw": 9.9}},
    ),
    "getAsset": Example(f"/v1/assets/{ID}", "assets", "get_asset", GetAssetResponse(asset=ASSET)),
    "listSeries": Example(
        "/v1/series",
        "series",
        "list_series",
        ListSeriesResponse(series=[SERIES]),
        params={"site_id": ID},
    ),
    "createSeries": Example(
        "/v1/series",
        "series",
        "create_series",
        CreateSeriesResponse(series=SERIES),
        json={"site_id": ID, "name": "Load", "quantity": "power_kw", "slot_duration_s": 900},
    ),
    "getSeries": Example(
        f"/v1/series/{ID}", "series", "get_series", GetSeriesResponse(series=SERIES)
    ),
    "queryValues": Example(
        f"/v1/series/{ID}/values", "series", "query_values", QUERIED, params=TIMES
    ),
    "ingestValues": Example(
        f"/v1/series/{ID}/values",
        "series",
        "ingest_values",
        IngestValuesResponse(written_count=2, first_time=TIME, last_time=TIME),
        json={"start_time": "2026-06-01T00:00:00Z", "values": [0.2, 1]},
    ),
    "listTasks": Example(
        "/v1/tasks",
        "tasks",
        "list_tasks",
        ListTasksResponse(tasks=[TASK, FAILED]),
        params={"state": "RUNNING", "site_id": ID},
    ),
    "submitTask": Example(
        "/v1/tasks",
        "tasks",
        "submit_task",
        SubmitTaskResponse(task=TASK, created=True),
        json=DISPATCH,
        headers={"Idempotency-Key": "one"},
    ),
    "getTask": Example(f"/v1/tasks/{ID}", "tasks", "get_task", GetTaskResponse(task=FAILED)),
    "cancelTask": Example(
        f"/v1/tasks/{ID}/cancel", "tasks", "cancel_task", CancelTaskResponse(task=TASK)
    ),
    "getTaskResult": Example(
        f"/v1/tasks/{ID}/result",
        "tasks",
        "get_task_result",
        GetTaskResultResponse(task=TASK, encoding=Encoding.IDENTITY, result=PROBE_RESULT),
    ),
    "streamTaskEvents": Example(
        f"/v1/tasks/{ID}/events", "tasks", "get_task", GetTaskResponse(task=FAILED)
    ),
    # A stream without end: what it does is tried in test_event_stream.py.
    "streamEvents": Example("/v1/events", headers={"Accept": "text/html"}),
}

__all__ = ["DISPATCH", "EXAMPLES", "ID", "DispatchResult", "Example"]
