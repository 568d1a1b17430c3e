"""The client against an API played by hand: renewal, pages, problems, streams that break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from gridpact.cli import client as client_module
from gridpact.cli.client import ApiError, Client, TaskUpdate, UnreachableError
from gridpact.contracts.rest import Site

Answer = Callable[[httpx.Request], httpx.Response]

TASK_ID = "01981f6e-7c00-7000-8000-000000000004"


def client_of(answer: Answer, **options: Any) -> Client:
    return Client("http://api", transport=httpx.MockTransport(answer), **options)


def site(number: int) -> dict[str, Any]:
    return {
        "site_id": f"01981f6e-7c00-7000-8000-{number:012d}",
        "created_time": "2026-06-01T00:00:00Z",
        "name": f"Site {number}",
        "time_zone": "Europe/Berlin",
        "currency": "EUR",
    }


def task(state: str, **others: Any) -> dict[str, Any]:
    return {
        "task_id": TASK_ID,
        "kind": "probe",
        "engine_choice": "auto",
        "state": state,
        "attempt_count": 1,
        "submitted_time": "2026-06-01T00:00:00Z",
    } | others


def events(*parts: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(
        f"id: {event_id}\nevent: task\ndata: {json.dumps(data)}\n\n".encode()
        for event_id, data in parts
    )


def stream(content: bytes, *, breaks: bool = False) -> httpx.Response:
    headers = {"Content-Type": "text/event-stream"}
    if breaks:
        return httpx.Response(200, headers=headers, stream=BrokenStream(content))
    return httpx.Response(200, headers=headers, content=content)


class BrokenStream(httpx.AsyncByteStream):
    """Gives some bytes and then breaks."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx.ReadError("broken")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "RECONNECT_SECONDS", (0.0, 0.0))


async def followed(client: Client) -> list[TaskUpdate]:
    async with client:
        return [update async for update in client.follow(TASK_ID)]


async def test_gathers_every_page() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        page = {"items": [site(2)]} if cursor else {"items": [site(1)], "next_cursor": "more"}
        return httpx.Response(200, json=page)

    async with client_of(answer) as client:
        sites: list[Site] = await client.list_sites()
    assert [each.name for each in sites] == ["Site 1", "Site 2"]


async def test_renews_a_refused_token_once() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        if seen[-1] == "Bearer new":
            return httpx.Response(200, json={"items": []})
        return problem(401, "TOKEN_EXPIRED")

    async def renew(_: Client) -> str:
        return "new"

    async with client_of(answer, token="old", renew=renew) as client:
        assert await client.list_sites() == []
        assert await client.list_sites() == []
    assert seen == ["Bearer old", "Bearer new", "Bearer new"]


async def test_requests_refused_together_renew_the_token_once() -> None:
    renewals = 0

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == "Bearer new":
            return httpx.Response(200, json={"items": []})
        return problem(401, "TOKEN_EXPIRED")

    async def renew(_: Client) -> str:
        nonlocal renewals
        renewals += 1
        await asyncio.sleep(0)
        return "new"

    async with client_of(answer, token="old", renew=renew) as client:
        assert await asyncio.gather(*(client.list_sites() for _ in range(5))) == [[]] * 5
    assert renewals == 1


async def test_a_token_that_stays_refused_is_an_error() -> None:
    async def renew(_: Client) -> str:
        return "new"

    async with client_of(lambda _: problem(401, "TOKEN_INVALID"), renew=renew) as client:
        with pytest.raises(ApiError) as raised:
            await client.list_sites()
    assert raised.value.problem.reason == "TOKEN_INVALID"


def problem(status: int, reason: str) -> httpx.Response:
    content = {"type": "/problems/x", "title": "X", "status": status, "reason": reason}
    return httpx.Response(status, json=content)


@pytest.mark.parametrize(
    "response",
    [httpx.Response(502, text="Bad Gateway"), httpx.Response(200, text="<html>")],
    ids=["gateway", "website"],
)
async def test_says_that_what_answers_is_no_gridpact(response: httpx.Response) -> None:
    async with client_of(lambda _: response) as client:
        with pytest.raises(UnreachableError):
            await client.list_sites()


async def test_result_is_passed_on_byte_for_byte() -> None:
    """Numbers keep the text in which the API wrote them."""
    data = json.dumps({"task": task("SUCCEEDED")})[:-1] + ', "result": {"held_ms":1.50}}'
    content = f"id: 1-0\nevent: result\ndata: {data}\n\n".encode()
    updates = await followed(client_of(lambda _: stream(content)))
    assert updates[-1].result == b'{"held_ms":1.50}'


async def test_resumes_a_broken_stream_after_the_last_event() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 1:
            return stream(events(("5-0", {"task": task("RUNNING")})), breaks=True)
        last = events(("6-0", {"task": task("FAILED", failure={"reason": "X", "message": "m"})}))
        return stream(last)

    updates = await followed(client_of(answer))
    assert asked == [None, "5-0"]
    assert [update.task.state for update in updates] == ["RUNNING", "FAILED"]


async def test_gives_up_on_a_stream_that_keeps_breaking() -> None:
    with pytest.raises(UnreachableError):
        await followed(client_of(lambda _: stream(b"", breaks=True)))


async def test_gives_up_on_a_stream_that_ends_too_early() -> None:
    with pytest.raises(UnreachableError):
        await followed(client_of(lambda _: stream(b"")))


@pytest.mark.parametrize("data", ["{", "{}", '{"task": {}}'])
async def test_says_that_an_event_is_not_of_this_api(data: str) -> None:
    with pytest.raises(UnreachableError):
        await followed(client_of(lambda _: stream(f"data: {data}\n\n".encode())))


async def test_unknown_task_is_a_problem() -> None:
    with pytest.raises(ApiError) as raised:
        await followed(client_of(lambda _: problem(404, "NOT_FOUND")))
    assert raised.value.problem.status == 404
