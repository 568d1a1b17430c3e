"""APISIX routes in standalone form, one an operation, from ``x-gateway``."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

import yaml

from gridpact.codegen.documents import Contracts, Json
from gridpact.codegen.emit import errors
from gridpact.codegen.emit.output import header
from gridpact.codegen.emit.rest import operations

CONNECT_TIMEOUT_S = 5


def emit(contracts: Contracts) -> dict[PurePosixPath, bytes]:
    problems = {entry.reason: entry for entry in errors.read(contracts)}
    document = {
        "upstreams": [_upstream()],
        "services": [_service(contracts, problems)],
        "plugin_configs": [_token(problems)],
        "consumers": [_consumer()],
        "routes": [
            _route(path, method, operation, problems)
            for path, method, operation in operations(contracts)
        ],
    }
    text = yaml.safe_dump(document, sort_keys=False, width=100)
    # APISIX reads the file only when it ends with this line.
    whole = header("openapi.yaml (x-gateway)") + "\n" + text + "#END\n"
    return {PurePosixPath("apisix/apisix.yaml"): whole.encode()}


def _upstream() -> Json:
    return {
        "id": "api",
        "type": "roundrobin",
        "scheme": "http",
        "nodes": {"api:8420": 1},
        "retries": 0,  # a second try of a write is the caller's choice: Idempotency-Key
        "pass_host": "pass",
    }


def _service(contracts: Contracts, problems: dict[str, errors.Entry]) -> Json:
    unavailable = problems["UNAVAILABLE"]
    return {
        "id": "api",
        "upstream_id": "api",
        "plugins": {
            "client-control": {"max_body_size": contracts.openapi["x-limits"]["body_bytes"]},
            "api-breaker": {
                "break_response_code": unavailable.http_status,
                "break_response_headers": [
                    {"key": "Content-Type", "value": "application/problem+json"},
                    {"key": "Retry-After", "value": "2"},
                ],
                "break_response_body": json.dumps(_problem(unavailable)),
                "unhealthy": {"http_statuses": [500, 502, 503, 504], "failures": 5},
                "healthy": {"http_statuses": [200, 201, 202, 204], "successes": 1},
                "max_breaker_sec": 30,
            },
        },
    }


def _token(problems: dict[str, errors.Entry]) -> Json:
    return {
        "id": "token",
        "plugins": {
            "jwt-auth": {
                "key_claim_name": "iss",
                "claims_to_verify": ["exp"],
                # The API verifies the token again, and reads the role from it.
                "hide_credentials": False,
                "_meta": {"error_response": _problem(problems["TOKEN_INVALID"])},
            },
        },
    }


def _consumer() -> Json:
    return {
        "username": "gridpact",
        "plugins": {
            "jwt-auth": {
                "key": "gridpact",
                "algorithm": "RS256",
                "public_key": "${{GRIDPACT_SIGNING_PUBLIC_KEY}}",
            }
        },
    }


def _route(path: str, method: str, operation: Json, problems: dict[str, errors.Entry]) -> Json:
    gateway = operation["x-gateway"]
    public = gateway["access"] == "public"
    plugins: Json = {
        "limit-count": {
            "count": gateway["rate"]["count"],
            "time_window": gateway["rate"]["window_s"],
            "key_type": "var",
            # Without a token APISIX falls back to the address.
            "key": "remote_addr" if public else "http_authorization",
            "policy": "local",
            "rejected_code": problems["RATE_LIMITED"].http_status,
            "_meta": {"error_response": _problem(problems["RATE_LIMITED"])},
        }
    }
    if gateway.get("streaming"):
        plugins["proxy-buffering"] = {"disable_proxy_buffering": True}
    return {
        "id": operation["operationId"],
        "name": operation["operationId"],
        "uri": re.sub(r"\{(\w+)\}", r":\1", path),
        "methods": [method.upper()],
        "service_id": "api",
        **({} if public else {"plugin_config_id": "token"}),
        "plugins": plugins,
        "timeout": {
            "connect": CONNECT_TIMEOUT_S,
            "send": gateway["timeout_s"],
            "read": gateway["timeout_s"],
        },
    }


def _problem(entry: errors.Entry) -> Json:
    return {
        "type": f"/problems/{entry.slug}",
        "title": entry.title,
        "status": entry.http_status,
        "reason": entry.reason,
    }
