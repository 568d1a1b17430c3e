"""Services and an event log in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from gridpact.api.event_log import START, Event, order
from gridpact.api.services import Services
from gridpact.kit.errors import unavailable

Answer = Callable[[Any], Awaitable[Any]]


class FakeService:
    """Answers each method as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {}

    def __getattr__(self, method: str) -> Answer:
        async def call(message: Any) -> Any:
            self.asked.append((method, message))
            answer = self.answers.get(method)
            if answer is None:
                raise AssertionError(f"{method} was not expected")
            if isinstance(answer, Exception):
                raise answer
            return await answer(message) if callable(answer) else answer

        return call


class FakeServices:
    """All four."""

    def __init__(self) -> None:
        self.identity = FakeService()
        self.assets = FakeService()
        self.series = FakeService()
        self.tasks = FakeService()

    @property
    def services(self) -> Services:
        return Services(
            cast("Any", self.identity),
            cast("Any", self.assets),
            cast("Any", self.series),
            cast("Any", self.tasks),
        )

    @property
    def asked(self) -> list[tuple[str, Any]]:
        each = (self.identity, self.assets, self.series, self.tasks)
        return [call for service in each for call in service.asked]


class FakeEventLog:
    """An event log that a test writes, breaks and mends."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken = False
        self._written = asyncio.Event()
        self._asked = asyncio.Event()
        self._number = 0

    async def next_ask(self) -> None:
        """Returns when the hub asks again, for the end or for events."""
        self._asked.clear()
        await self._asked.wait()

    def write(self, organisation_id: str, task_id: str, data: bytes) -> Event:
        self._number += 1
        event = Event(f"{self._number}-0", organisation_id, task_id, data)
        self.events.append(event)
        self._written.set()
        return event

    def forget(self) -> None:
        """As a FLUSHALL with a clock set back: later events stand before earlier ones."""
        self.events.clear()
        self._number = 0

    async def end(self) -> str:
        self._fail_if_broken()
        return self.events[-1].position if self.events else START

    async def read(self, after: str, wait_s: float) -> Sequence[Event]:
        self._fail_if_broken()
        if not (found := await self.replay(after)):
            self._written.clear()
            try:
                async with asyncio.timeout(min(wait_s, 0.05)):
                    await self._written.wait()
            except TimeoutError:
                pass
            self._fail_if_broken()
            found = await self.replay(after)
        return found

    async def replay(self, after: str) -> Sequence[Event]:
        self._fail_if_broken()
        return [event for event in self.events if order(event.position) > order(after)]

    def _fail_if_broken(self) -> None:
        self._asked.set()
        if self.broken:
            raise unavailable("the log is broken")
