"""Who may call which operation: ``x-gateway`` of the contract, tried with every role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from gridpact.api.documents import contract
from tests.rpc_client import RpcClient
from tests.services import BRIDGE_SECRET, Services

# From the least to the most.
ROLES = ("viewer", "operator", "engineer", "admin")
UNKNOWN_ID = "01981f6e-7c00-7000-8000-00000000ffff"


class Operation(NamedTuple):
    method: str
    path: str
    # None: public.
    role: str | None


def operations() -> Iterator[object]:
    for path, item in contract()["paths"].items():
        for method in item.keys() & {"get", "post", "put", "patch", "delete"}:
            gateway = item[method]["x-gateway"]
            assert (gateway["access"] == "public") == ("role" not in gateway)
            operation = Operation(method, path, gateway.get("role"))
            yield pytest.param(operation, id=item[method]["operationId"])


each_operation = pytest.mark.parametrize("operation", sorted(operations(), key=str))


def answer(api: httpx.Client, operation: Operation, token: str | None) -> tuple[int, str, str]:
    """Status, reason and required role; the body of a request that is let through is not read."""
    path = re.sub(r"\{\w+\}", UNKNOWN_ID, operation.path)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with api.stream(operation.method, path, headers=headers) as response:
        if response.status_code not in (401, 403):
            return response.status_code, "", ""
        response.read()
        problem = response.json()
        return response.status_code, problem["reason"], problem.get("meta", {}).get("required_role")


@each_operation
def test_lets_through_whom_the_contract_names(
    api: httpx.Client, tokens: dict[str, str], operation: Operation
) -> None:
    if operation.role is None:
        assert answer(api, operation, None)[0] not in (401, 403)
        return
    assert answer(api, operation, None)[:2] == (401, "TOKEN_MISSING")
    least = ROLES.index(operation.role)
    for role in ROLES[:least]:
        refused = (403, "ROLE_INSUFFICIENT", operation.role)
        assert answer(api, operation, tokens[role]) == refused
    for role in ROLES[least:]:
        assert answer(api, operation, tokens[role])[0] not in (401, 403)


@each_operation
def test_refuses_tokens_that_are_none_of_ours(
    api: httpx.Client, tokens: dict[str, str], operation: Operation
) -> None:
    header, claims, signature = tokens["admin"].split(".")
    for token in ("nonsense", f"{header}.{claims}.{signature[::-1]}", f"{header}.{claims}."):
        status, reason, _ = answer(api, operation, token)
        if operation.role is None:
            assert status not in (401, 403)
        else:
            assert (status, reason) == (401, "TOKEN_INVALID")


@pytest.fixture(scope="module")
def service_token(services: Services) -> str:
    with RpcClient(services.address) as client:
        path = "gridpact.identity.v1.IdentityService/IssueServiceToken"
        return client.call(path, {"service": "bridge", "secret": BRIDGE_SECRET})["access_token"]


@each_operation
def test_a_process_of_the_platform_is_no_person(
    api: httpx.Client, service_token: str, operation: Operation
) -> None:
    if operation.role is not None:
        refused = (403, "ROLE_INSUFFICIENT", operation.role)
        assert answer(api, operation, service_token) == refused
