"""Task events as server-sent events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gridpact.api.event_hub import EventHub, Listener
from gridpact.api.event_log import Event, EventLog, order
from gridpact.kit.caller import Caller
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log

log = Log(__name__)

EVENT_STREAM = "text/event-stream"

HEARTBEAT_S = 15.0

_TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
# How long a browser waits before it comes back.
_OPENING = b"retry: 1000\n\n"
_HEARTBEAT = b":\n\n"

# Reads the JSON of a task, or of its result, from the service.
Read = Callable[[], Awaitable[bytes]]


class EventStreams:
    """Opens streams. Each ends when its access token does, or its session, or the process."""

    def __init__(
        self,
        hub: EventHub,
        event_log: EventLog,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._log = event_log
        self._heartbeat_s = heartbeat_s
        self._now = now

    async def of_task(
        self,
        caller: Caller,
        expires: float,
        task_id: str,
        last_event_id: str | None,
        read_task: Read,
        read_result: Read,
    ) -> StreamingResponse:
        """One task: what was missed, how it stands, every change, and at last its result.

        Listening begins before the state is read, so that nothing is lost in between; a state may
        come twice. Whatever ``read_task`` raises now is the answer instead of a stream.
        """
        with ExitStack() as stack:
            listener = stack.enter_context(
                self._hub.listening(caller.organisation_id, caller.session_id, task_id)
            )
            missed = await self._missed(last_event_id, caller.organisation_id, task_id)
            begin = [(event.position, event.data) for event in missed]
            position = max([listener.position, *(each for each, _ in begin)], key=order)
            begin.append((position, await read_task()))
            held = stack.pop_all()

        async def stream() -> AsyncIterator[bytes]:
            yield _OPENING
            sent: Any = None
            async for place, state in self._states(begin, listener, expires, read_task):
                task = None if state is None else orjson.loads(state)
                if state is None or task == sent:
                    yield _HEARTBEAT
                    continue
                sent = task
                yield _event(b"task", place, b'{"task":%s}' % state)
                if sent["state"] == "SUCCEEDED":
                    whole = b'{"task":%s,"result":%s}' % (state, await read_result())
                    yield _event(b"result", place, whole)
                if sent["state"] in _TERMINAL:
                    return

        return _EventStream(stream(), held)

    async def of_organisation(
        self, caller: Caller, expires: float, last_event_id: str | None
    ) -> StreamingResponse:
        """Every change of every task of the caller's organisation, until somebody hangs up."""
        with ExitStack() as stack:
            listener = stack.enter_context(
                self._hub.listening(caller.organisation_id, caller.session_id)
            )
            missed = await self._missed(last_event_id, caller.organisation_id, None)
            begin = [(event.position, event.data) for event in missed]
            held = stack.pop_all()

        async def stream() -> AsyncIterator[bytes]:
            yield _OPENING
            async for place, state in self._states(begin, listener, expires, _nothing):
                if state is None:
                    yield _HEARTBEAT
                else:
                    yield _event(b"task", place, b'{"task":%s}' % state)

        return _EventStream(stream(), held)

    async def _states(
        self,
        begin: list[tuple[str, bytes]],
        listener: Listener,
        expires: float,
        read: Callable[[], Awaitable[bytes | None]],
    ) -> AsyncIterator[tuple[str, bytes | None]]:
        """The states to begin with, then what the listener hears, each with its position.

        After a silence, or when events may have been lost, ``read`` says how things are now.
        """
        position = listener.position
        for position, state in begin:
            yield position, state
        while True:
            event = await listener.next(max(0, min(self._heartbeat_s, expires - self._now())))
            if event is not None:
                if order(event.position) > order(position):
                    position = event.position
                    yield position, event.data
            elif listener.ended or expires <= self._now():
                return
            else:
                try:
                    state = await read()
                except GridpactError as error:
                    log.warning("state-not-read", cause=str(error))
                    state = None
                yield position, state

    async def _missed(
        self, last_event_id: str | None, organisation_id: str, task_id: str | None
    ) -> list[Event]:
        """What came after an event, as far as the log still has it."""
        if last_event_id is None:
            return []
        try:
            events = await self._log.replay(last_event_id)
        except GridpactError as error:
            log.warning("events-not-replayed", cause=str(error))
            return []
        return [
            event
            for event in events
            if event.organisation_id == organisation_id and task_id in (None, event.task_id)
        ]


class _EventStream(StreamingResponse):
    """A stream that lets go of what it holds when it is over, however it ends."""

    def __init__(self, stream: AsyncIterator[bytes], held: ExitStack) -> None:
        # A proxy that buffers would turn events into a heap at the end.
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(stream, media_type=EVENT_STREAM, headers=headers)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


async def _nothing() -> None:
    """What an organisation's stream says after a silence."""


def _event(name: bytes, position: str, data: bytes) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name, position.encode(), data)
