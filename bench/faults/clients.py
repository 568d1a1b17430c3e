"""The users of a platform under faults: what they ask for, and the record of what they are told.

They speak HTTP as the OpenAPI file says, each request an operation of the history. A request
without an answer is repeated under its key until there is one, as the contract tells clients to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import msgspec
from httpx_sse import EventSource, SSEError

from bench.faults.history import TERMINAL, Action, History, Operation, Outcome, Seen, now_s

SUCCEEDS = frozenset({"SUCCEEDED"})
_SLOTS_A_YEAR = 35_040
# Longer than the hour by which a fault sets the clock forward.
_TIMEOUT_S = 7200
_AGAIN_S = 0.2
_ANSWER_S = 15.0
_SILENCE_S = 20.0  # the stream beats every 15 s
_PAGE = 200
_READERS = 8
# All results, on however busy a machine.
_READ_S = 300.0


class Unanswered(Exception):
    """Nobody answered a request, or somebody answered that it may have been done or not."""


class Unsent(Unanswered):
    """Nobody was there to take the request: it was certainly not done."""


@dataclass(frozen=True, slots=True)
class Refusal(Exception):
    """A request was certainly not done."""

    status: int
    reason: str
    retry_after: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """A task that somebody wants. ``is_right`` judges its result."""

    key: str
    submission: dict[str, Any]
    is_right: Callable[[Any], bool]
    ends: frozenset[str] = SUCCEEDS


def probe(
    key: str,
    *,
    hold_ms: int = 0,
    result_bytes: int = 0,
    engine: str = "auto",
    ends: frozenset[str] = SUCCEEDS,
) -> Wish:
    """A probe whose padding tells its result from those of others."""

    def is_right(result: Any) -> bool:
        return result["padding"] == "x" * result_bytes and result["held_ms"] >= hold_ms

    wanted = {"hold_ms": hold_ms, "result_bytes": result_bytes}
    submission = _submission("probe", engine, key, wanted)
    return Wish(key, submission, is_right, ends)


def dispatch(key: str, example: dict[str, Any], engine: str = "auto") -> Wish:
    """A plan of the example's site, whose battery bears the key: that tells it from others."""
    (battery, *others) = example["batteries"]
    wanted = {**example, "batteries": [{**battery, "name": key}, *others]}
    submission = _submission("dispatch", engine, key, wanted)

    def is_right(result: Any) -> bool:
        return result["status"] == "OPTIMAL" and result["batteries"][0]["name"] == key

    return Wish(key, submission, is_right)


def year(key: str, chance: random.Random, engine: str, loads: int) -> Wish:
    """A year of quarter hours played again, 280 kB of series that nothing compresses a load."""
    prices = [0.3] * _SLOTS_A_YEAR
    site = {
        "start_time": "2026-01-01T00:00:00Z",
        "slot_duration_s": 900,
        "slots": _SLOTS_A_YEAR,
        "currency": "EUR",
        "batteries": [],
        "loads": [
            {
                "name": f"Load {number}",
                "power_kw": [chance.random() for _ in range(_SLOTS_A_YEAR)],
            }
            for number in range(loads)
        ],
        "tariff": {"import_price_per_kwh": prices, "export_price_per_kwh": prices},
        "grid": {"max_import_power_kw": 1000, "max_export_power_kw": 1000},
    }
    submission = _submission("replay", engine, key, {"site": site, "schedule": []})
    ends = frozenset({"SUCCEEDED", "CANCELLED"})
    return Wish(key, submission, lambda result: len(result["loads"]) == loads, ends)


def _submission(kind: str, engine: str, key: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "engine": engine,
        "label": key,
        "timeout_s": _TIMEOUT_S,
        "input": wanted,
    }


class _Event(msgspec.Struct):
    task: dict[str, Any]


class Users:
    """All clients of one platform; they share a session, and the history they write."""

    def __init__(
        self,
        api_url: str,
        login: dict[str, str],
        history: History,
        earlier: frozenset[str] = frozenset(),
    ) -> None:
        """``earlier``: the keys of tasks that are no business of this history."""
        self._earlier = earlier
        self._http = httpx.AsyncClient(
            base_url=api_url,
            timeout=httpx.Timeout(_ANSWER_S, connect=5.0, pool=None),
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50),
        )
        self._login = login
        self._logging_in = asyncio.Lock()
        self.history = history
        self.ended_s: dict[str, float] = {}
        """When the end of each task was first told."""
        self.submitted_s: dict[str, float] = {}
        self.refusals: list[Refusal] = []
        self.wishes: dict[str, Wish] = {}
        self.tasks: dict[str, str] = {}
        """The task of each acknowledged key."""
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Users]:
        """Hears every event of the organisation while entered."""
        async with self._http:
            await self.log_in("")
            began = asyncio.Event()
            listener = asyncio.create_task(self._listen(began))
            waiting = asyncio.create_task(began.wait())
            await asyncio.wait({listener, waiting}, return_when=asyncio.FIRST_COMPLETED)
            try:
                yield self
            finally:
                waiting.cancel()
                listener.cancel()
                await asyncio.gather(listener, waiting, return_exceptions=True)

    async def log_in(self, used: str) -> None:
        """A new session, unless somebody else made one meanwhile."""
        async with self._logging_in:
            if self._http.headers.get("Authorization", "") != used:
                return
            while True:
                with suppress(httpx.HTTPError):
                    response = await self._http.post("/v1/sessions", json=self._login)
                    if response.is_success:
                        token = response.json()["access_token"]
                        self._http.headers["Authorization"] = f"Bearer {token}"
                        return
                await asyncio.sleep(_AGAIN_S)

    async def submit(self, wish: Wish, client: str = "witness", within_s: float = 60.0) -> str:
        """The task of the wish, by as many requests as it takes."""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    return await self.submit_once(wish, client)
                except Unanswered:
                    await asyncio.sleep(_AGAIN_S)

    async def submit_once(
        self, wish: Wish, client: str = "witness", content: bytes | None = None
    ) -> str:
        """One request; ``content`` are other bytes of it. Raises Unanswered, or Refusal."""
        self.history.wanted.setdefault(wish.key, wish.ends)
        self.wishes[wish.key] = wish
        self.submitted_s.setdefault(wish.key, now_s())
        headers = {"Idempotency-Key": wish.key}
        content = content or json.dumps(wish.submission).encode()
        task = await self._operate(
            Action.SUBMIT, client, wish.key, "", "POST", "/v1/tasks", content, headers
        )
        self.tasks[wish.key] = task["task_id"]
        return task["task_id"]

    async def cancel(self, task_id: str, client: str = "witness") -> dict[str, Any]:
        path = f"/v1/tasks/{task_id}/cancel"
        return await self._operate(Action.CANCEL, client, "", task_id, "POST", path)

    async def read(self, task_id: str, client: str = "reader") -> dict[str, Any]:
        return await self._operate(Action.READ, client, "", task_id, "GET", f"/v1/tasks/{task_id}")

    async def until_ended(self, task_id: str, within_s: float = 90.0) -> str:
        """The state in which the task ended, as soon as an event or a look says so."""
        async with asyncio.timeout(within_s):
            while True:
                with suppress(Unanswered):
                    task = await self.read(task_id)
                    if task["state"] in TERMINAL:
                        return task["state"]
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0), self._changed:
                        await self._changed.wait_for(lambda: task_id in self.ended_s)

    async def until_told(self, task_id: str, within_s: float = 90.0) -> float:
        """When the end of the task was told, by nothing but the events."""
        async with asyncio.timeout(within_s), self._changed:
            await self._changed.wait_for(lambda: task_id in self.ended_s)
        return self.ended_s[task_id]

    async def read_all(self, within_s: float) -> None:
        """Reads every known task until it has ended, its result, and the list of all tasks.

        What has not ended by then is left as it is: the checker calls it lost.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for task_id in [*self.tasks.values()]:
                    await self.until_ended(task_id, within_s)
        places = asyncio.Semaphore(_READERS)

        async def read_result(key: str, task_id: str) -> None:
            async with places:
                await self._read_result(key, task_id)

        async with asyncio.timeout(_READ_S):
            await asyncio.gather(*(read_result(*each) for each in self.tasks.items()))
            await self._list()

    async def _read_result(self, key: str, task_id: str) -> None:
        while True:
            try:
                await self._operate(
                    Action.RESULT, "reader", key, task_id, "GET", f"/v1/tasks/{task_id}/result"
                )
                return
            except Refusal:
                return
            except Unanswered:
                await asyncio.sleep(_AGAIN_S)

    async def _list(self) -> None:
        cursor: str | None = None
        while True:
            invoked_s = now_s()
            params = {"page_size": str(_PAGE)} | ({"cursor": cursor} if cursor else {})
            page = await self._answer("GET", "/v1/tasks", None, {}, params)
            for task in page["items"]:
                key = task.get("label", "")
                if key in self._earlier:
                    continue
                self._add(Action.LIST, "reader", Outcome.OK, invoked_s, key, task["task_id"], task)
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    async def _operate(
        self,
        action: Action,
        client: str,
        key: str,
        task_id: str,
        method: Literal["GET", "POST"],
        path: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """One request and its place in the history."""
        invoked_s = now_s()
        try:
            answer = await self._answer(method, path, content, headers or {})
        except Unanswered as error:
            outcome = Outcome.FAIL if isinstance(error, Unsent) else Outcome.INDETERMINATE
            self._add(action, client, outcome, invoked_s, key, task_id, None, str(error))
            raise
        except Refusal as refusal:
            words = f"{refusal.status} {refusal.reason}"
            self._add(action, client, Outcome.FAIL, invoked_s, key, task_id, None, words)
            raise
        except asyncio.CancelledError:
            outcome = Outcome.INDETERMINATE
            self._add(action, client, outcome, invoked_s, key, task_id, None, "given up")
            raise
        if action is Action.RESULT:
            digest = hashlib.sha256(msgspec.json.encode(answer)).hexdigest()[:16]
            right = self.wishes[key].is_right(answer)
            self.history.add(
                Operation(
                    client,
                    action,
                    Outcome.OK,
                    invoked_s,
                    now_s(),
                    key,
                    task_id,
                    None,
                    digest,
                    right,
                )
            )
        else:
            self._add(action, client, Outcome.OK, invoked_s, key, answer["task_id"], answer)
        return answer

    async def _answer(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: dict[str, str],
        params: dict[str, str] | None = None,
    ) -> Any:
        used = self._http.headers.get("Authorization", "")
        try:
            response = await self._http.request(
                method,
                path,
                content=content,
                headers={"Content-Type": "application/json", **headers} if content else headers,
                params=params,
            )
            answer = response.json()
        except httpx.ConnectError as error:
            raise Unsent(str(error)) from error
        except (httpx.HTTPError, ValueError) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from error
        if response.is_success:
            return answer
        status, reason = response.status_code, answer.get("reason", "")
        refusal = Refusal(status, reason, response.headers.get("Retry-After"))
        if status == 401:
            # Refused for its token alone: with a new one it is the same request.
            await self.log_in(used)
            return await self._answer(method, path, content, headers, params)
        self.refusals.append(refusal)
        if status == 429 or status >= 500:
            raise Unanswered(f"{status} {reason}")
        raise refusal

    def _add(
        self,
        action: Action,
        client: str,
        outcome: Outcome,
        invoked_s: float,
        key: str,
        task_id: str,
        task: dict[str, Any] | None,
        detail: str = "",
    ) -> None:
        seen = None if task is None else _seen(task)
        ended_s = now_s()
        if seen is not None and seen.has_ended:
            self.ended_s.setdefault(task_id, ended_s)
        self.history.add(
            Operation(
                client, action, outcome, invoked_s, ended_s, key, task_id, seen, detail=detail
            )
        )

    async def _listen(self, began: asyncio.Event) -> None:
        headers = {"Accept": "text/event-stream"}
        while True:
            used = self._http.headers.get("Authorization", "")
            try:
                async with self._http.stream(
                    "GET", "/v1/events", headers=headers, timeout=_SILENCE_S
                ) as response:
                    if response.status_code == 401:
                        await self.log_in(used)
                        continue
                    if not response.is_success:
                        await asyncio.sleep(_AGAIN_S)
                        continue
                    began.set()
                    await self._hear(EventSource(response), headers)
            except (httpx.HTTPError, SSEError):
                await asyncio.sleep(_AGAIN_S)

    async def _hear(self, source: EventSource, headers: dict[str, str]) -> None:
        async for event in source.aiter_sse():
            if not event.data:
                continue
            headers["Last-Event-ID"] = event.id
            task = msgspec.json.decode(event.data, type=_Event).task
            key = task.get("label", "")
            if key in self._earlier:
                continue
            async with self._changed:
                self._add(
                    Action.EVENT,
                    "listener",
                    Outcome.OK,
                    now_s(),
                    key,
                    task["task_id"],
                    task,
                    event.id,
                )
                self._changed.notify_all()


def _seen(task: dict[str, Any]) -> Seen:
    state = task["state"]
    if state not in TERMINAL:
        return Seen(state, task["attempt_count"])
    ending = {name: task.get(name) for name in ("state", "attempt_count", "finished_time")}
    ending["failure"] = (task.get("failure") or {}).get("reason")
    digest = hashlib.sha256(json.dumps(ending, sort_keys=True).encode()).hexdigest()[:12]
    return Seen(state, task["attempt_count"], f"{state} {digest}")


class Load:
    """Users who submit at a steady rate, whatever becomes of it, and look at what they have."""

    def __init__(self, users: Users, wishes: Callable[[int], Wish], rate: float, seed: int) -> None:
        self._users = users
        self._wishes = wishes
        self._rate = rate
        self._chance = random.Random(seed)  # noqa: S311  # reproducible, not secret
        self._acknowledged = asyncio.Condition()
        self._may_submit = asyncio.Event()
        self._may_submit.set()
        self.keys: list[str] = []
        self.count = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """Submits and reads while entered; on leaving everything submitted is acknowledged."""
        async with asyncio.TaskGroup() as requests:
            loops = [
                asyncio.create_task(self._submit_steadily(requests)),
                asyncio.create_task(self._look()),
            ]
            try:
                yield self
            finally:
                for each in loops:
                    each.cancel()
                await asyncio.gather(*loops, return_exceptions=True)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing is submitted while entered, and what was has ended."""
        self._may_submit.clear()
        try:
            for key in self.keys:
                while key not in self._users.tasks:  # noqa: ASYNC110  # it may be asked for again
                    await asyncio.sleep(_AGAIN_S)
                await self._users.until_ended(self._users.tasks[key])
            yield
        finally:
            self._may_submit.set()

    async def until(self, count: int) -> None:
        """Returns when so many more than now are acknowledged."""
        async with asyncio.timeout(60), self._acknowledged:
            wanted = self.count + count
            await self._acknowledged.wait_for(lambda: self.count >= wanted)

    async def _submit_steadily(self, requests: asyncio.TaskGroup) -> None:
        number = 0
        while True:
            await self._may_submit.wait()
            wish = self._wishes(number)
            number += 1
            self.keys.append(wish.key)
            requests.create_task(self._one(wish))
            await asyncio.sleep(self._chance.expovariate(self._rate))

    async def _one(self, wish: Wish) -> None:
        await self._users.submit(wish, "load", within_s=120.0)
        async with self._acknowledged:
            self.count += 1
            self._acknowledged.notify_all()

    async def _look(self) -> None:
        """Looks at a task again and again: at one that has ended, too."""
        while True:
            await asyncio.sleep(0.1)
            known = [*self._users.tasks.values()]
            if known:
                with suppress(Unanswered):
                    await self._users.read(self._chance.choice(known))
