from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from gridpact.api.documents import contract
from gridpact.contracts.errors import REASONS, Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import Violation
from tests.api.fakes import FakeServices

COMPONENTS = contract()["components"]
PROBLEM = Draft202012Validator({"$ref": "#/components/schemas/Problem", "components": COMPONENTS})


@pytest.mark.parametrize("reason", Reason)
async def test_every_reason_is_a_problem_with_its_status(
    client: httpx.AsyncClient, fakes: FakeServices, reason: Reason
) -> None:
    fakes.assets.answers["list_sites"] = GridpactError(
        reason,
        "in words",
        violations=[Violation("a", "b", "c")],
        retry_after_s=7,
        secret="x" * 2000,
    )
    response = await client.get("/v1/sites")
    problem = response.json()
    PROBLEM.validate(problem)
    entry = REASONS[reason]
    assert response.status_code == problem["status"] == entry.http_status
    assert response.headers["content-type"] == "application/problem+json"
    assert (problem["reason"], problem["title"]) == (reason, entry.title)
    assert problem["instance"] == "/v1/sites"
    if reason is Reason.INTERNAL:
        assert problem["detail"] == "internal error"
        assert "meta" not in problem
        assert "violations" not in problem
    else:
        assert problem["detail"] == "in words"
        assert problem["violations"] == [{"field": "a", "rule": "b", "message": "c"}]
    if response.status_code in (429, 503):
        assert response.headers["Retry-After"] == "7"
    page = await client.get(problem["type"])
    assert entry.title in page.text


async def test_what_nobody_expected_says_nothing_of_its_inside(
    client: httpx.AsyncClient, fakes: FakeServices
) -> None:
    fakes.assets.answers["list_sites"] = RuntimeError("password is hunter2")
    response = await client.get("/v1/sites")
    PROBLEM.validate(response.json())
    assert response.status_code == 500
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "hunter2" not in response.text


async def test_the_trace_of_the_caller_is_the_problems(client: httpx.AsyncClient) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    response = await client.get("/v1/nothing", headers=headers)
    assert response.json()["trace_id"] == trace_id
    other = await client.get("/v1/nothing", headers={"traceparent": "00-zz-00-01"})
    assert other.json()["trace_id"] != trace_id


@pytest.mark.parametrize("path", ["/%00", "/v1/sites/%ff", "/v1/sites/\u20ac", "/" + "a" * 3000])
async def test_strange_paths_give_valid_problems(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code in (404, 422)
    PROBLEM.validate(response.json())


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/sites/nothing", "site_id"),
        ("/v1/sites?page_size=0", "page_size"),
        ("/v1/sites?page_size=201", "page_size"),
        ("/v1/sites?page_size=1_0", "page_size"),
        ("/v1/sites?page_size=", "page_size"),
        ("/v1/sites?cursor=a%20b", "cursor"),
        ("/v1/series", "site_id"),
        ("/v1/tasks?state=DONE", "state"),
        ("/v1/series/01981f6e-7c00-7000-8000-000000000001/values?from=2026-06-01T00:00:00Z", "to"),
    ],
)
async def test_parameters_are_named(client: httpx.AsyncClient, path: str, field: str) -> None:
    response = await client.get(path)
    assert response.status_code == 422
    assert response.json()["violations"][0]["field"] == field


@pytest.mark.parametrize("key", [None, "", "a b", "x" * 129])
async def test_the_idempotency_key_is_named(
    client: httpx.AsyncClient, app: FastAPI, key: str | None
) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    response = await client.post(
        "/v1/tasks", headers=headers, json={"kind": "probe", "input": {"hold_ms": 0}}
    )
    assert response.status_code == 422
    assert response.json()["violations"][0]["field"] == "Idempotency-Key"


async def test_a_services_field_has_its_name_in_rest(
    client: httpx.AsyncClient, fakes: FakeServices
) -> None:
    fakes.series.answers["query_values"] = GridpactError.invalid(
        [Violation("from_time", "grid", "must lie on the grid")]
    )
    times = {"from": "2026-06-01T00:00:01Z", "to": "2026-06-01T01:00:00Z"}
    path = "/v1/series/01981f6e-7c00-7000-8000-000000000001/values"
    problem = (await client.get(path, params=times)).json()
    assert problem["violations"][0]["field"] == "from"
    assert problem["detail"] == "from must lie on the grid"
