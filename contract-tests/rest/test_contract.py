"""Every REST operation against its contract: schemathesis on the application in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.cli.commands.run.context import ExecutionContext
from schemathesis.cli.commands.run.handlers.output import OutputHandler
from schemathesis.cli.events import LoadingFinished, LoadingStarted
from schemathesis.cli.executor import execute_event_loop
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineEvent
from schemathesis.generation import GenerationMode
from schemathesis.schemas import BaseSchema
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gridpact.api.bootstrap import wired_app
from gridpact.api.documents import contract
from gridpact.kit.pages import Cursor
from gridpact.kit.settings import Address, ApiSettings
from tests.services import PASSWORD, Services, email
from tests.stored import Stored

Json = dict[str, Any]

# What a request can break although it keeps to its JSON Schema: the x-rules of the schemas, which
# times and time zones there are, the grid of a series, and the form of CSV.
RULES_BEYOND_SCHEMAS = frozenset(
    {"at-most", "before", "contains", "convex", "disjoint", "fits", "increasing", "last-equals"}
    | {"length-equals", "must-run-can-start", "not-all-zero", "refers-to"}
    | {"spans", "unique"}
    | {"known", "grid", "order", "range"}
    | {"header", "columns", "time", "value"}
)


@schemathesis.check
def valid_requests_break_only_rules_beyond_schemas(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A 422 for a request that keeps to its JSON Schema names no rule of JSON Schema."""
    assert case.meta is not None
    # A case that is meant to be valid may have a part that is not.
    modes = {case.meta.generation.mode, *(part.mode for part in case.meta.components.values())}
    if modes == {GenerationMode.POSITIVE} and response.status_code == 422:
        problem = response.json()
        broken = {violation["rule"] for violation in problem.get("violations", ())}
        assert broken <= RULES_BEYOND_SCHEMAS, f"{problem['detail']}"
        assert broken or problem["reason"] == "CURSOR_INVALID", f"{problem['detail']}"


def described_by_event(document: Json) -> Json:
    """The contract with event streams described as schemathesis reads them: each event alone."""
    for path in document["paths"].values():
        content = path.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if stream := content.get("text/event-stream"):
            stream["schema"] = {
                "type": "object",
                "required": ["event", "id", "data"],
                "properties": {"event": {"enum": ["task", "result"]}, "data": stream["schema"]},
            }
    return document


def configuration(token: str, known: dict[str, str]) -> Json:
    """All that schemathesis does; ``known`` are values that it could not guess."""

    def often(**names: str) -> Json:
        return {
            parameter.replace("__", "."): {"dictionary": name, "probability": 0.9}
            for parameter, name in names.items()
        }

    of_operation = {
        "logIn": often(body__email="email", body__password="password"),
        "refreshSession": often(body__refresh_token="refresh_token"),
        "getTaskResult": often(path__task_id="task_id"),
        "streamTaskEvents": often(path__task_id="task_id"),
        "queryValues": often(path__series_id="series_id", query__from="start", query__to="end"),
        "ingestValues": often(path__series_id="series_id", body__start_time="start"),
        "createSite": often(body__time_zone="time_zone"),
    }
    return {
        "headers": {"Authorization": f"Bearer {token}"},
        "generation": {
            "mode": "all",
            "max-examples": 20,
            "deterministic": True,
            "database": "none",
        },
        "checks": {
            # 422 is held to more by the check above.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "403", "404", "409", "422", "429"]
            }
        },
        "cache": {"enabled": False},
        "continue-on-failure": True,
        "max-stream-events": 1,
        "warnings": {"fail-on": True},
        "dictionaries": {name: {"values": [value]} for name, value in known.items()},
        "parameters": often(query__cursor="cursor"),
        "operations": [
            {"include-operation-id": operation_id, "parameters": parameters}
            for operation_id, parameters in of_operation.items()
        ],
    }


def in_this_process(settings: ApiSettings) -> ASGIApp:
    """The API, wired in the event loop of whoever calls it."""
    wired: list[ASGIApp] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with wired_app(settings) as (app, _hub):
            wired.append(app)
            yield

    outer = Starlette(lifespan=lifespan)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await outer(scope, receive, send)
        elif scope["path"] == "/v1/events":
            await wired[0](scope, receive, until_first_part(send))
        else:
            await wired[0](scope, receive, send)

    return call


def until_first_part(send: Send) -> Send:
    """Hangs up after the first part of a body: that stream may be silent, and never ends."""
    over = False

    async def send_until_over(message: Message) -> None:
        nonlocal over
        if not over:
            over = message["type"] == "http.response.body"
            await send({**message, "more_body": False} if over else message)

    return send_until_over


def events_of(schema: BaseSchema) -> Generator[EngineEvent]:
    """What ``schemathesis run`` goes through; the command itself takes no application."""
    location = "contracts/openapi.yaml"
    yield LoadingStarted(location=location)
    yield LoadingFinished.from_schema(
        schema, location=location, start_time=time.time(), base_url=schema.get_base_url()
    )
    yield from from_schema(schema).execute()


@pytest.mark.timeout(600)
def test_every_operation_keeps_to_the_contract(
    services: Services,
    api: httpx.Client,
    tokens: dict[str, str],
    stored: Stored,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All checks in all phases, with valid and with invalid requests; a warning is a failure."""
    account = {"email": email("viewer"), "password": PASSWORD}
    session = api.post("/v1/sessions", json=account).raise_for_status().json()
    known = {
        **account,
        "refresh_token": session["refresh_token"],
        "task_id": stored.task_id,
        "series_id": stored.series_id,
        "cursor": Cursor(datetime(2100, 1, 1, tzinfo=UTC), stored.site_id).encode(),
        "start": "2026-06-01T00:00:00Z",
        "end": "2026-06-01T01:00:00Z",
        "time_zone": "Asia/Shanghai",
    }
    schema = schemathesis.openapi.from_dict(
        described_by_event(contract()),
        config=SchemathesisConfig.from_dict(configuration(tokens["admin"], known)),
    )
    schema.app = in_this_process(
        ApiSettings(services.redis_url, services.address, Address("127.0.0.1", 1))
    )
    context = ExecutionContext(config=schema.config)
    with pytest.raises(SystemExit) as ended:
        execute_event_loop(
            events_of(schema),
            config=schema.config,
            args=[],
            params={},
            output_handler=OutputHandler(config=schema.config),
            context_factory=lambda _: context,
        )
    with capsys.disabled():
        for line in ("", *valid_rates(context)):
            pytestconfig.get_terminal_writer().line(line)
    assert ended.value.code == 0


def valid_rates(context: ExecutionContext) -> Iterator[str]:
    """How many of the valid requests were accepted, of each operation."""
    for operation, phases in sorted(context.warnings.valid_rates.items()):
        accepted = sum(rate.accepted for rate in phases.values())
        total = sum(rate.total for rate in phases.values())
        yield f"{accepted:5} of {total:3} valid requests accepted: {operation}"
