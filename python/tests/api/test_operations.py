"""The application against its contract: the same routes, parameters, rights, answers."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator

from gridpact.api.application import application
from gridpact.api.documents import contract
from gridpact.contracts.operations import OPERATIONS
from gridpact.kit.caller import Role
from gridpact.kit.tokens import TokenVerifier
from tests import tokens
from tests.api.examples import EXAMPLES
from tests.api.fakes import FakeServices

CONTRACT = contract()
SPEC = {
    item["operationId"]: (method.upper(), path, item, shared)
    for path, members in CONTRACT["paths"].items()
    for shared in [members.get("parameters", [])]
    for method, item in members.items()
    if method != "parameters"
}
BODIES = sorted(name for name, (_, _, item, _) in SPEC.items() if "requestBody" in item)


def resolved(value: Any) -> Any:
    while "$ref" in value:
        at: Any = CONTRACT
        for step in value["$ref"].removeprefix("#/").split("/"):
            at = at[step]
        value = at
    return value


def validator(schema: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": CONTRACT["components"]})


def routes(app: FastAPI) -> dict[str, APIRoute]:
    return {str(route.operation_id): route for route in app.routes if isinstance(route, APIRoute)}


async def ask(
    client: httpx.AsyncClient, fakes: FakeServices, operation_id: str, **changes: Any
) -> httpx.Response:
    example, operation = EXAMPLES[operation_id], OPERATIONS[operation_id]
    if example.service:
        getattr(fakes, example.service).answers[example.method] = example.answer
    whole: dict[str, Any] = {
        "params": example.params,
        "headers": example.headers,
        "json": example.json,
    }
    if "headers" in changes:
        changes["headers"] = example.headers | changes["headers"]
    if "content" in changes:
        del whole["json"]
    return await client.request(operation.method, example.path, **(whole | changes))


def test_every_operation_is_a_route_and_every_route_an_operation(app: FastAPI) -> None:
    served = {(name, *sorted(route.methods), route.path) for name, route in routes(app).items()}
    assert served == {(name, method, path) for name, (method, path, _, _) in SPEC.items()}
    beside = {
        route.path  # type: ignore[attr-defined]
        for route in app.routes
        if not isinstance(route, APIRoute)
    }
    assert beside == {"/", "/openapi.json", "/docs", "/docs/{asset}", "/problems/{slug}"}


@pytest.mark.parametrize("operation_id", SPEC)
def test_the_parameters_are_those_of_the_contract(app: FastAPI, operation_id: str) -> None:
    _, _, item, shared = SPEC[operation_id]
    wanted = {
        (each["in"], each["name"], each.get("required", False))
        for each in map(resolved, [*shared, *item.get("parameters", [])])
    }
    dependant = routes(app)[operation_id].dependant
    taken = {
        (place, each.alias, each.field_info.is_required())
        for place, fields in (
            ("path", dependant.path_params),
            ("query", dependant.query_params),
            ("header", dependant.header_params),
        )
        for each in fields
    }
    assert taken == wanted


@pytest.mark.parametrize("operation_id", SPEC)
async def test_a_right_request_is_answered_as_the_contract_says(
    client: httpx.AsyncClient, fakes: FakeServices, operation_id: str
) -> None:
    response = await ask(client, fakes, operation_id)
    declared = SPEC[operation_id][2]["responses"]
    answer = resolved(declared[str(response.status_code)])
    if operation_id != "streamEvents":
        assert response.is_success, response.text
    for name in answer.get("headers", {}):
        assert name in response.headers
    if response.status_code == 204:
        assert not response.content
        return
    media_type = response.headers["content-type"].partition(";")[0]
    schema = answer["content"][media_type]["schema"]
    if media_type.endswith("json"):
        validator(schema).validate(response.json())


@pytest.mark.parametrize("operation_id", SPEC)
@pytest.mark.parametrize("role", [None, *Role], ids=str)
async def test_rights_are_those_of_the_contract(
    client: httpx.AsyncClient, fakes: FakeServices, operation_id: str, role: Role | None
) -> None:
    gateway = SPEC[operation_id][2]["x-gateway"]
    authorization = f"Bearer {tokens.token(role)}" if role else ""
    response = await ask(client, fakes, operation_id, headers={"Authorization": authorization})
    if gateway["access"] == "public":
        assert response.status_code not in (401, 403)
    elif role is None:
        assert (response.status_code, response.json()["reason"]) == (401, "TOKEN_MISSING")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    elif role is Role.SERVICE or role < Role.of(gateway["role"]):
        assert response.status_code == 403
        assert response.json()["meta"] == {"required_role": gateway["role"]}
        assert not fakes.asked
    else:
        assert response.status_code not in (401, 403)


class TestOrder:
    """404 and 405, then 401, 403, 413, 415, 400, 422: the first that holds is the answer."""

    OVERSIZE = b" " * (16 * 1024 * 1024 + 1)

    @pytest.mark.parametrize("operation_id", BODIES)
    async def test_of_an_operation_with_a_body(
        self, client: httpx.AsyncClient, fakes: FakeServices, operation_id: str
    ) -> None:
        protected = OPERATIONS[operation_id].role is not None
        text, json = {"Content-Type": "text/plain"}, {"Content-Type": "application/json"}
        statuses: list[int] = []

        async def status(headers: dict[str, str], content: bytes) -> int:
            response = await ask(client, fakes, operation_id, headers=headers, content=content)
            assert response.headers["content-type"] == "application/problem+json"
            return response.status_code

        if protected:
            viewer = {"Authorization": f"Bearer {tokens.token(Role.VIEWER)}"}
            statuses.append(await status({"Authorization": "", **text}, self.OVERSIZE))
            statuses.append(await status(viewer | text, self.OVERSIZE))
        statuses.append(await status(text, self.OVERSIZE))
        statuses.append(await status(text, b"{"))
        statuses.append(await status(json, b"{"))
        statuses.append(await status(json, b"{}"))
        assert statuses == ([401, 403] if protected else []) + [413, 415, 400, 422]
        assert not fakes.asked

    async def test_an_unknown_path_is_not_found_without_a_token(
        self, client: httpx.AsyncClient
    ) -> None:
        response = await client.post("/v1/nothing", headers={"Authorization": ""})
        assert response.status_code == 404

    @pytest.mark.parametrize("path", sorted({path for _, path, _, _ in SPEC.values()}))
    async def test_a_method_that_no_operation_has_is_not_allowed(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        offered = sorted(method for method, where, _, _ in SPEC.values() if where == path)
        concrete = re.sub(r"{\w+}", "x", path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "HEAD"} - {*offered}:
            response = await client.request(method, concrete, headers={"Authorization": ""})
            assert response.status_code == 405
            assert response.headers["Allow"] == ", ".join(offered)


def test_an_operation_without_a_handler_is_never_served() -> None:
    with pytest.raises(ValueError, match="submit_task"):
        application(TokenVerifier(tokens.keys(), frozenset()))


async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient) -> None:
    for path in ("/health/live", "/v1/nothing", "/docs", "/docs/docs.js", "/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "server" not in headers


async def test_the_address_alone_leads_to_the_documentation(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert (response.status_code, response.headers["Location"]) == (302, "/docs")


async def test_the_docs_name_nothing_outside(client: httpx.AsyncClient) -> None:
    pages = [await client.get(path) for path in ("/docs", "/docs/docs.js", "/docs/docs.css")]
    assert all(page.is_success for page in pages)
    assert not any(re.search(r"https?://", page.text) for page in pages)


async def test_the_document_served_is_the_contract(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json")
    assert response.json() == CONTRACT
