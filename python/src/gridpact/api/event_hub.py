"""One reader of the event log a process, and everybody in it who listens."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from gridpact.api.event_log import START, Event, EventLog, order
from gridpact.kit.background import running
from gridpact.kit.errors import GridpactError

_READ_S = 2.0
_RETRY_S = 0.3
_WAITING_MAX = 256


class Listener:
    """What one stream has yet to send. A listener that falls far behind is ended."""

    def __init__(self, session_id: str, position: str) -> None:
        self.session_id = session_id
        # Everything after this position arrives; what came before does not.
        self.position = position
        self._waiting: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._ended = False
        self._missed = False

    def put(self, event: Event) -> None:
        """Adds an event; more than 256 that wait end the listener."""
        if len(self._waiting) >= _WAITING_MAX:
            self.end()
            return
        self._waiting.append(event)
        self._changed.set()

    def miss(self) -> None:
        """Events may have been lost: whoever listens should look for itself."""
        self._missed = True
        self._changed.set()

    def end(self) -> None:
        """No more after what waits."""
        self._ended = True
        self._changed.set()

    @property
    def ended(self) -> bool:
        """Whether nothing waits and nothing more will come."""
        return self._ended and not self._waiting

    async def next(self, wait_s: float) -> Event | None:
        """The next event; None when there was none in time, some may be missing, or it ended."""
        if not self._waiting and not self._ended and not self._missed:
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return None
        self._missed = False
        return self._waiting.popleft() if self._waiting else None


class EventHub:
    """Hands every event of the log to those who listen for its task or its organisation."""

    def __init__(self, event_log: EventLog) -> None:
        self._log = event_log
        self._position = START
        self._listeners: defaultdict[tuple[str, str], set[Listener]] = defaultdict(set)
        self._closed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[EventHub]:
        """Reads while entered; a failure that is no outage ends whoever entered."""
        async with running(self._read(), "event-hub"):
            try:
                yield self
            finally:
                self.close()

    @contextmanager
    def listening(
        self, organisation_id: str, session_id: str, task_id: str = ""
    ) -> Iterator[Listener]:
        """Listens to one task, or to every task of the organisation, while entered."""
        key = (organisation_id, task_id)
        listener = Listener(session_id, self._position)
        if self._closed:
            listener.end()
        self._listeners[key].add(listener)
        try:
            yield listener
        finally:
            self._listeners[key].discard(listener)
            if not self._listeners[key]:
                del self._listeners[key]

    def end_session(self, session_id: str) -> None:
        """Ends every listener of a session."""
        for listener in self._all():
            if listener.session_id == session_id:
                listener.end()

    def close(self) -> None:
        """Ends every listener, also those to come."""
        self._closed = True
        for listener in self._all():
            listener.end()

    @property
    def listener_count(self) -> int:
        """How many listen now."""
        return len(self._all())

    def _all(self) -> list[Listener]:
        return [listener for group in self._listeners.values() for listener in group]

    async def _read(self) -> None:
        behind = True
        while True:
            try:
                if behind:
                    self._position = await self._log.end()
                    behind = False
                    # Whatever was written before is in the services, for those who ask.
                    self._miss()
                events = await self._log.read(self._position, _READ_S)
                if not events:
                    behind = await self._log_began_anew()
            except GridpactError:
                behind = True
                await asyncio.sleep(_RETRY_S)
                continue
            for event in events:
                self._position = event.position
                for key in ((event.organisation_id, event.task_id), (event.organisation_id, "")):
                    for listener in tuple(self._listeners.get(key, ())):
                        listener.put(event)

    async def _log_began_anew(self) -> bool:
        """After a FLUSHALL and a clock set back, new positions would lie before ours."""
        return order(await self._log.end()) < order(self._position)

    def _miss(self) -> None:
        for listener in self._all():
            listener.miss()
