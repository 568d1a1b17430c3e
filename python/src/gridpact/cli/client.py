"""The REST API for Python code: contracts/openapi.yaml over httpx, one method an operation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import httpx
import msgspec
from httpx_sse import EventSource
from pydantic import BaseModel, ValidationError

from gridpact.contracts.rest import (
    Asset,
    AssetDraft,
    AssetPage,
    IngestReport,
    Login,
    Problem,
    Series,
    SeriesDraft,
    SeriesPage,
    SeriesWindow,
    Session,
    Site,
    SiteDraft,
    SitePage,
    Task,
)

Model = TypeVar("Model", bound=BaseModel)
Page = TypeVar("Page", SitePage, AssetPage, SeriesPage)

UNAUTHORIZED = 401

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 120.0  # an event stream says something more often than that
RECONNECT_SECONDS = (0.2, 1.0, 3.0)


class ApiError(Exception):
    """The API refused; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


class UnreachableError(Exception):
    """No API answers at this address, or what answers is none."""


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """An event of a task; ``result`` is the result's JSON, in the event that carries it."""

    task: Task
    result: bytes | None


class _Event(msgspec.Struct):
    task: msgspec.Raw
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


Renew = Callable[["Client"], Awaitable[str]]
"""Fetches a new access token, for example by logging in."""


class Client:
    """Calls one Gridpact API. An async context manager; connections are reused within.

    Every method raises ApiError with the API's problem, and UnreachableError. With ``renew``, a
    request that is refused for its token is sent once more with the token that it gives.
    """

    def __init__(
        self,
        api_url: str,
        token: str | None = None,
        renew: Renew | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(
            base_url=api_url,
            transport=transport,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def log_in(self, login: Login) -> Session:
        """Opens a session; does not use it for the requests that follow."""
        response = await self._send("POST", "/v1/sessions", body=login, may_renew=False)
        return _read(response, Session)

    async def list_sites(self) -> list[Site]:
        pages = self._pages(SitePage, "/v1/sites")
        return [site async for page in pages for site in page.items]

    async def create_site(self, draft: SiteDraft) -> Site:
        return _read(await self._send("POST", "/v1/sites", body=draft), Site)

    async def list_assets(self, site_id: str) -> list[Asset]:
        pages = self._pages(AssetPage, f"/v1/sites/{site_id}/assets")
        return [asset async for page in pages for asset in page.items]

    async def create_asset(self, site_id: str, draft: AssetDraft) -> Asset:
        return _read(await self._send("POST", f"/v1/sites/{site_id}/assets", body=draft), Asset)

    async def list_series(self, site_id: str) -> list[Series]:
        pages = self._pages(SeriesPage, "/v1/series", site_id=site_id)
        return [series async for page in pages for series in page.items]

    async def create_series(self, draft: SeriesDraft) -> Series:
        return _read(await self._send("POST", "/v1/series", body=draft), Series)

    async def ingest_csv(self, series_id: str, csv: str) -> IngestReport:
        """Writes the lines ``time,value`` of a CSV text."""
        response = await self._send(
            "POST",
            f"/v1/series/{series_id}/values",
            content=csv.encode(),
            headers={"Content-Type": "text/csv"},
        )
        return _read(response, IngestReport)

    async def query_values(self, series_id: str, start_time: str, end_time: str) -> SeriesWindow:
        window = {"from": start_time, "to": end_time}
        response = await self._send("GET", f"/v1/series/{series_id}/values", params=window)
        return _read(response, SeriesWindow)

    async def submit(self, submission: bytes, idempotency_key: str) -> Task:
        """Submits a task; ``submission`` is the JSON of a TaskSubmission."""
        response = await self._send(
            "POST",
            "/v1/tasks",
            content=submission,
            headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
        )
        return _read(response, Task)

    async def get_task(self, task_id: str) -> Task:
        return _read(await self._send("GET", f"/v1/tasks/{task_id}"), Task)

    async def cancel(self, task_id: str) -> Task:
        return _read(await self._send("POST", f"/v1/tasks/{task_id}/cancel"), Task)

    async def follow(self, task_id: str) -> AsyncGenerator[TaskUpdate]:
        """The events of a task until it has ended; a stream that breaks is resumed."""
        last_event_id = ""
        pauses = iter(RECONNECT_SECONDS)
        while True:
            try:
                async with aclosing(self._events(task_id, last_event_id)) as events:
                    async for event_id, update in events:
                        last_event_id = event_id or last_event_id
                        pauses = iter(RECONNECT_SECONDS)
                        yield update
                        if update.result is not None or update.task.state in _WITHOUT_RESULT:
                            return
            except UnreachableError:
                pause = next(pauses, None)
                if pause is None:
                    raise
            else:
                pause = next(pauses, None)
                if pause is None:
                    raise UnreachableError("the event stream ends before the task does")
            await asyncio.sleep(pause)

    async def _events(
        self, task_id: str, last_event_id: str
    ) -> AsyncGenerator[tuple[str, TaskUpdate]]:
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        request = self._http.build_request(
            "GET",
            f"/v1/tasks/{task_id}/events",
            headers=headers,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        )
        response = await self._answer(request, may_renew=True, stream=True)
        try:
            async for event in EventSource(response).aiter_sse():
                if event.data:
                    yield event.id, _update_of(event.data.encode(), request.url)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{request.url} broke off: {error}") from error
        finally:
            await response.aclose()

    async def _pages(
        self, page_model: type[Page], path: str, **params: str
    ) -> AsyncGenerator[Page]:
        """Every page of a list, newest first."""
        cursor: str | None = None
        while True:
            asked = {"page_size": "200", **params} | ({"cursor": cursor} if cursor else {})
            page = _read(await self._send("GET", path, params=asked), page_model)
            yield page
            if (cursor := page.next_cursor) is None:
                return

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        may_renew: bool = True,
    ) -> httpx.Response:
        if body is not None:
            content = body.model_dump_json(exclude_none=True).encode()
            headers = {"Content-Type": "application/json"}
        request = self._http.build_request(
            method, path, content=content, params=params, headers=headers
        )
        return await self._answer(request, may_renew=may_renew, stream=False)

    async def _answer(
        self, request: httpx.Request, *, may_renew: bool, stream: bool
    ) -> httpx.Response:
        try:
            response = await self._http.send(request, stream=stream)
            if response.is_success:
                return response
            await response.aread()
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(f"{self._http.base_url} does not answer: {reason}") from error
        if response.status_code == UNAUTHORIZED and may_renew and self._renew:
            async with self._renewing:
                # Requests that are refused together log in together, once.
                used = request.headers.get("Authorization")
                if self._http.headers.get("Authorization") == used:
                    self._http.headers["Authorization"] = f"Bearer {await self._renew(self)}"
            request.headers["Authorization"] = self._http.headers["Authorization"]
            return await self._answer(request, may_renew=False, stream=stream)
        raise ApiError(_read(response, Problem))


_WITHOUT_RESULT = ("FAILED", "CANCELLED")


def _update_of(data: bytes, url: httpx.URL) -> TaskUpdate:
    try:
        event = msgspec.json.decode(data, type=_Event)
        task = Task.model_validate_json(bytes(event.task))
    except (msgspec.DecodeError, ValidationError) as error:
        raise UnreachableError(f"{url} sends events that its contract does not know") from error
    return TaskUpdate(task, None if event.result is msgspec.UNSET else bytes(event.result))


def _read(response: httpx.Response, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        url, status = response.request.url, response.status_code
        words = f"{url} answers {status} with what its contract does not know"
        raise UnreachableError(words) from error
