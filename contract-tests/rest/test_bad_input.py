"""Bad input gets the right status and a problem that names the field, and nothing is stored."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from gridpact.kit.identifiers import new_identifier
from tests.services import Services
from tests.stored import Stored

Json = dict[str, Any]

UNKNOWN_ID = "01981f6e-7c00-7000-8000-00000000ffff"

DISPATCH: Json = {
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
                    "min_energy_kwh": 1,
                    "max_charge_power_kw": 5,
                    "max_discharge_power_kw": 5,
                    "charge_efficiency": 0.95,
                    "discharge_efficiency": 0.95,
                },
                "initial_energy_kwh": 5,
                "final_energy_kwh": 5,
            }
        ],
        "loads": [{"name": "House", "power_kw": [0.4, 0.5]}],
        "tariff": {
            "import_price_per_kwh": [0.3, 0.35],
            "export_price_per_kwh": [0.08, 0.08],
        },
        "grid": {"max_import_power_kw": 30, "max_export_power_kw": 20},
    },
}
SITE: Json = {"name": "Neuhof", "time_zone": "Europe/Berlin", "currency": "EUR"}
BATTERY: Json = {
    "type": "battery",
    "name": "Battery",
    "battery": DISPATCH["input"]["batteries"][0]["battery"],
}

# Everything that a request can store. Tasks that wait are published again now and then, by key.
STORED = """
    SELECT (SELECT count(*) FROM assets.sites), (SELECT count(*) FROM assets.assets),
        (SELECT count(*) FROM series.series),
        (SELECT md5(string_agg(v::text, ',' ORDER BY v::text)) FROM series.values v),
        (SELECT count(*) FROM tasks.tasks), (SELECT count(*) FROM tasks.payloads),
        (SELECT count(*) FROM tasks.results), (SELECT count(*) FROM tasks.idempotency_keys)
"""


@pytest.fixture(autouse=True)
def _nothing_is_stored(services: Services, stored: Stored) -> Iterator[None]:
    with psycopg.connect(services.database_url, autocommit=True) as connection:
        before = connection.execute(STORED).fetchone()
        yield
        assert connection.execute(STORED).fetchone() == before


@pytest.fixture
def headers(tokens: dict[str, str]) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {tokens['admin']}",
        "Idempotency-Key": new_identifier(),
        "Content-Type": "application/json",
    }


def changed(document: Json, path: str, value: Any) -> Json:
    """A copy with the member at this dotted path set."""
    whole = copy.deepcopy(document)
    *way, last = path.split(".")
    at: Any = whole
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[last] = value
    return whole


class Broken(NamedTuple):
    """A request body that breaks rules, and the rule that each field breaks."""

    path: str
    body: Json
    violations: dict[str, str]


def battery_of(**members: Any) -> Json:
    return changed(DISPATCH, "input.batteries", [DISPATCH["input"]["batteries"][0] | members])


NAN = float("nan")
BROKEN = {
    "wrong length": Broken(
        "/v1/tasks",
        changed(DISPATCH, "input.loads.0.power_kw", [0.4, 0.5, 0.6]),
        {"input.loads[0].power_kw": "length-equals"},
    ),
    "NaN": Broken(
        "/v1/tasks",
        changed(DISPATCH, "input.loads.0.power_kw", [0.4, NAN]),
        {"input.loads[0].power_kw[1]": "type"},
    ),
    "infinite": Broken(
        "/v1/tasks",
        changed(DISPATCH, "input.tariff.import_price_per_kwh", [0.3, -float("inf")]),
        {"input.tariff.import_price_per_kwh[1]": "type"},
    ),
    "negative capacity": Broken(
        "/v1/tasks",
        changed(DISPATCH, "input.batteries.0.battery.capacity_kwh", -10),
        {"input.batteries[0].battery.capacity_kwh": "exclusive-minimum"},
    ),
    "negative capacity of an asset": Broken(
        "/v1/sites/{site_id}/assets",
        changed(BATTERY, "battery.capacity_kwh", -10),
        {"battery.capacity_kwh": "exclusive-minimum"},
    ),
    "more energy than it holds": Broken(
        "/v1/tasks",
        battery_of(initial_energy_kwh=11),
        {"input.batteries[0].initial_energy_kwh": "at-most"},
    ),
    "more energy asked for than it holds": Broken(
        "/v1/tasks",
        battery_of(final_energy_kwh=11),
        {"input.batteries[0].final_energy_kwh": "at-most"},
    ),
    "member of a group that there is not": Broken(
        "/v1/tasks",
        changed(DISPATCH, "input.groups", [{"name": "Garage", "members": ["Van"]}]),
        {"input.groups[0].members[0]": "refers-to"},
    ),
    "unknown field": Broken("/v1/sites", SITE | {"nane": "Hof"}, {"nane": "unknown-field"}),
    "a place that there is not": Broken(
        "/v1/sites", SITE | {"time_zone": "Mars/Olympus"}, {"time_zone": "known"}
    ),
    "unknown field within": Broken(
        "/v1/tasks",
        changed(DISPATCH, "input.grid.limit", 3),
        {"input.grid.limit": "unknown-field"},
    ),
    "unknown kind": Broken("/v1/tasks", DISPATCH | {"kind": "guess"}, {"kind": "discriminator"}),
    "NaN in a series": Broken(
        "/v1/series/{series_id}/values",
        {"start_time": "2026-06-01T00:00:00Z", "values": [NAN]},
        {"values[0]": "type"},
    ),
    "between two slots": Broken(
        "/v1/series/{series_id}/values",
        {"start_time": "2026-06-01T00:01:00Z", "values": [1]},
        {"start_time": "grid"},
    ),
}


@pytest.mark.parametrize("broken", [pytest.param(case, id=name) for name, case in BROKEN.items()])
def test_names_the_field_at_fault(
    api: httpx.Client, headers: dict[str, str], stored: Stored, broken: Broken
) -> None:
    path = broken.path.format(site_id=stored.site_id, series_id=stored.series_id)
    response = api.post(path, content=json.dumps(broken.body), headers=headers)
    problem = response.json()
    assert (response.status_code, problem["reason"]) == (422, "INVALID_ARGUMENT")
    assert {each["field"]: each["rule"] for each in problem["violations"]} == broken.violations


def test_a_task_needs_an_idempotency_key(api: httpx.Client, headers: dict[str, str]) -> None:
    del headers["Idempotency-Key"]
    response = api.post("/v1/tasks", json=DISPATCH, headers=headers)
    assert response.status_code == 422
    assert response.json()["violations"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("body", [b"", b'{"name": "Hof"', b"{'name'}", b'{"name": "\xff"}', b"[1}"])
@pytest.mark.parametrize("path", ["/v1/sites", "/v1/tasks", "/v1/sessions"])
def test_broken_json(api: httpx.Client, headers: dict[str, str], path: str, body: bytes) -> None:
    response = api.post(path, content=body, headers=headers)
    assert (response.status_code, response.json()["reason"]) == (400, "BODY_MALFORMED")


def megabytes(count: int) -> Iterator[bytes]:
    yield b'{"kind": "probe", "input": {"padding": "'
    for _ in range(count):
        yield bytes(1_000_000)


@pytest.mark.parametrize("stated", [True, False], ids=["stated length", "unstated length"])
@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/sessions", "/v1/series/{series_id}/values"])
def test_100_megabytes(
    api: httpx.Client, headers: dict[str, str], stored: Stored, path: str, stated: bool
) -> None:
    content: Any = b"".join(megabytes(100)) if stated else megabytes(100)
    response = api.post(path.format(series_id=stored.series_id), content=content, headers=headers)
    problem = response.json()
    assert (response.status_code, problem["reason"]) == (413, "BODY_TOO_LARGE")
    assert problem["meta"] == {"limit_bytes": str(16 * 1024 * 1024)}


# Every operation that names an object in its path or its query.
NAMING = [
    ("GET", "/v1/sites/{site_id}", None),
    ("GET", "/v1/sites/{site_id}/assets", None),
    ("POST", "/v1/sites/{site_id}/assets", BATTERY),
    ("GET", "/v1/assets/{asset_id}", None),
    ("GET", "/v1/series?site_id={site_id}", None),
    ("GET", "/v1/series/{series_id}", None),
    (
        "GET",
        "/v1/series/{series_id}/values?from=2026-06-01T00:00:00Z&to=2026-06-02T00:00:00Z",
        None,
    ),
    (
        "POST",
        "/v1/series/{series_id}/values",
        {"start_time": "2026-06-01T00:00:00Z", "values": [9.0]},
    ),
    ("GET", "/v1/tasks/{task_id}", None),
    ("POST", "/v1/tasks/{task_id}/cancel", None),
    ("GET", "/v1/tasks/{task_id}/result", None),
    ("GET", "/v1/tasks/{task_id}/events", None),
]


@pytest.mark.parametrize(("method", "path", "body"), NAMING)
def test_what_is_foreign_is_as_if_it_were_not_there(
    api: httpx.Client, tokens: dict[str, str], stored: Stored, method: str, path: str, body: Any
) -> None:
    """An unknown id, and one of another organisation, get the same answer."""

    def ask(url: str, name: str) -> Json:
        headers = {"Authorization": f"Bearer {tokens[name]}", "Accept": "*/*"}
        response = api.request(method, url, json=body, headers=headers)
        problem = response.json()
        assert (response.status_code, problem["reason"]) == (404, "NOT_FOUND")
        return problem

    ids = {
        "site_id": stored.site_id,
        "asset_id": stored.asset_id,
        "series_id": stored.series_id,
        "task_id": stored.task_id,
    }
    unknown = ask(path.format(**dict.fromkeys(ids, UNKNOWN_ID)), "admin")
    foreign = ask(path.format(**ids), "stranger")
    for problem in (unknown, foreign):
        assert problem["meta"].pop("id") in problem.pop("detail")
        del problem["instance"], problem["trace_id"]
    assert unknown == foreign


@pytest.mark.parametrize("name", ["admin", "stranger"])
def test_a_task_for_a_site_that_is_not_there(
    api: httpx.Client, tokens: dict[str, str], stored: Stored, name: str
) -> None:
    site_id = UNKNOWN_ID if name == "admin" else stored.site_id
    response = api.post(
        "/v1/tasks",
        json=DISPATCH | {"site_id": site_id},
        headers={"Authorization": f"Bearer {tokens[name]}", "Idempotency-Key": "a"},
    )
    assert (response.status_code, response.json()["reason"]) == (404, "NOT_FOUND")
