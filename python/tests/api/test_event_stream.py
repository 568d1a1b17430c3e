"""Streams over a log in memory: what is sent, in which order, and when a stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson
import pytest
from starlette.responses import StreamingResponse

from gridpact.api.event_hub import EventHub
from gridpact.api.event_log import order
from gridpact.api.event_stream import EventStreams
from gridpact.contracts.errors import Reason
from gridpact.kit.caller import Caller, Role
from gridpact.kit.errors import GridpactError, not_found
from tests.api.fakes import FakeEventLog

ORG, TASK, SESSION = "org-1", "task-1", "session-1"
CALLER = Caller("user-1", ORG, Role.VIEWER, SESSION)
FOREVER = float("inf")


class Sent(NamedTuple):
    name: str
    position: str
    data: Any


class Task:
    """A task as its service knows it; every change may also be told to the log."""

    def __init__(self, event_log: FakeEventLog) -> None:
        self._log = event_log
        self._state = b""
        self.reads = 0
        self.change("QUEUED", told=False)

    def change(self, state: str, *, told: bool = True) -> None:
        self._state = orjson.dumps({"task_id": TASK, "state": state})
        if told:
            self._log.write(ORG, TASK, self._state)

    async def read(self) -> bytes:
        self.reads += 1
        return self._state

    async def result(self) -> bytes:
        return b'{"cost":1.5}'


@pytest.fixture
async def event_log() -> FakeEventLog:
    return FakeEventLog()


@pytest.fixture
async def hub(event_log: FakeEventLog) -> AsyncIterator[EventHub]:
    async with EventHub(event_log).running() as running:
        yield running


@pytest.fixture
def streams(hub: EventHub, event_log: FakeEventLog) -> EventStreams:
    return EventStreams(hub, event_log, heartbeat_s=60)


@pytest.fixture
def task(event_log: FakeEventLog) -> Task:
    return Task(event_log)


class Reader:
    """What a client sees of a stream. Leave it with ``leave``, as a client that hangs up."""

    def __init__(self, response: StreamingResponse) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._task = asyncio.create_task(self._run(response))

    async def _run(self, response: StreamingResponse) -> None:
        async def receive() -> dict[str, Any]:
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await self._chunks.put(message["body"])

        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
        await self._chunks.put(None)

    async def raw(self) -> bytes | None:
        async with asyncio.timeout(5):
            return await self._chunks.get()

    async def next(self) -> Sent | None:
        """The next event; None when the stream has ended."""
        while (chunk := await self.raw()) is not None:
            lines = dict(
                line.split(": ", 1) for line in chunk.decode().splitlines() if ": " in line
            )
            if "event" in lines:
                return Sent(lines["event"], lines["id"], orjson.loads(lines["data"]))
        return None

    async def states(self) -> list[str]:
        """Name and state of every event until the stream ends."""
        seen: list[str] = []
        while (sent := await self.next()) is not None:
            seen.append(f"{sent.name} {sent.data['task']['state']}")
        return seen

    async def leave(self) -> None:
        self._gone.set()
        await self._task


async def follow(
    streams: EventStreams, task: Task, last: str | None = None, expires: float = FOREVER
) -> Reader:
    return Reader(await streams.of_task(CALLER, expires, TASK, last, task.read, task.result))


async def watch(streams: EventStreams, last: str | None = None) -> Reader:
    return Reader(await streams.of_organisation(CALLER, FOREVER, last))


async def test_a_task_is_followed_to_its_result(streams: EventStreams, task: Task) -> None:
    reader = await follow(streams, task)
    task.change("RUNNING")
    task.change("SUCCEEDED")
    assert await reader.states() == [
        "task QUEUED",
        "task RUNNING",
        "task SUCCEEDED",
        "result SUCCEEDED",
    ]


async def test_the_result_comes_with_its_task(streams: EventStreams, task: Task) -> None:
    task.change("SUCCEEDED")
    reader = await follow(streams, task)
    await reader.next()
    result = await reader.next()
    assert result is not None
    assert result.data == {
        "task": {"task_id": TASK, "state": "SUCCEEDED"},
        "result": {"cost": 1.5},
    }
    assert await reader.next() is None


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
async def test_a_stream_without_a_result_ends_too(
    streams: EventStreams, task: Task, state: str
) -> None:
    reader = await follow(streams, task)
    task.change(state)
    assert await reader.states() == ["task QUEUED", f"task {state}"]


async def test_nothing_is_lost_between_the_state_and_the_first_event(
    streams: EventStreams, task: Task
) -> None:
    async def changes_while_it_is_read() -> bytes:
        before = await task.read()
        task.change("SUCCEEDED")
        await asyncio.sleep(0.1)  # the hub hands it on before the answer is here
        return before

    response = await streams.of_task(
        CALLER, FOREVER, TASK, None, changes_while_it_is_read, task.result
    )
    assert await Reader(response).states() == [
        "task QUEUED",
        "task SUCCEEDED",
        "result SUCCEEDED",
    ]


async def test_other_tasks_and_organisations_are_not_heard(
    streams: EventStreams, task: Task, event_log: FakeEventLog
) -> None:
    reader, watcher = await follow(streams, task), await watch(streams)
    state = orjson.dumps({"task_id": TASK, "state": "SUCCEEDED"})
    event_log.write("org-2", TASK, state)
    event_log.write(ORG, "task-2", state)
    task.change("FAILED")
    assert await reader.states() == ["task QUEUED", "task FAILED"]
    heard = [await watcher.next(), await watcher.next()]
    assert [sent and sent.data["task"]["state"] for sent in heard] == ["SUCCEEDED", "FAILED"]
    await watcher.leave()


async def test_last_event_id_resumes_after_the_event_named(
    streams: EventStreams, task: Task, event_log: FakeEventLog
) -> None:
    for state in ("QUEUED", "RUNNING", "QUEUED", "RUNNING"):
        task.change(state)
    reader = await follow(streams, task, last=event_log.events[1].position)
    seen = [await reader.next(), await reader.next()]
    assert [sent and sent.data["task"]["state"] for sent in seen] == ["QUEUED", "RUNNING"]
    assert [sent and sent.position for sent in seen] == ["3-0", "4-0"]
    task.change("SUCCEEDED")
    assert await reader.states() == ["task SUCCEEDED", "result SUCCEEDED"]

    watcher = await watch(streams, last="3-0")
    positions = [sent.position for sent in [await watcher.next(), await watcher.next()] if sent]
    assert positions == ["4-0", "5-0"]
    await watcher.leave()


async def test_a_stream_resumed_at_its_end_still_gives_the_result(
    streams: EventStreams, task: Task, event_log: FakeEventLog
) -> None:
    task.change("SUCCEEDED")
    reader = await follow(streams, task, last=event_log.events[-1].position)
    assert (await reader.states())[-1] == "result SUCCEEDED"


async def test_positions_never_go_back(streams: EventStreams, task: Task) -> None:
    task.change("RUNNING")
    reader = await follow(streams, task, last="0-0")
    task.change("SUCCEEDED")
    positions: list[str] = []
    while (sent := await reader.next()) is not None:
        positions.append(sent.position)
    assert positions == sorted(positions, key=order)


async def test_an_event_that_was_never_written_is_found_out_by_asking(
    hub: EventHub, event_log: FakeEventLog, task: Task
) -> None:
    reader = await follow(EventStreams(hub, event_log, heartbeat_s=0.05), task)
    task.change("SUCCEEDED", told=False)
    assert await reader.states() == ["task QUEUED", "task SUCCEEDED", "result SUCCEEDED"]


async def test_silence_is_broken_by_comments(hub: EventHub, event_log: FakeEventLog) -> None:
    watcher = await watch(EventStreams(hub, event_log, heartbeat_s=0.02))
    chunks = [await watcher.raw() for _ in range(4)]
    assert chunks == [b"retry: 1000\n\n", *[b":\n\n"] * 3]
    await watcher.leave()


async def test_an_outage_of_the_log_is_made_up_for(
    streams: EventStreams, task: Task, event_log: FakeEventLog
) -> None:
    reader = await follow(streams, task)
    await reader.next()
    event_log.broken = True
    task.change("RUNNING", told=False)
    await event_log.next_ask()
    await event_log.next_ask()
    event_log.broken = False
    sent = await reader.next()
    assert sent is not None
    assert sent.data["task"]["state"] == "RUNNING"
    task.change("SUCCEEDED")
    assert await reader.states() == ["task SUCCEEDED", "result SUCCEEDED"]


async def test_a_log_that_began_anew_is_followed(
    streams: EventStreams, event_log: FakeEventLog
) -> None:
    for _ in range(5):
        event_log.write(ORG, "task-2", b'{"state":"RUNNING"}')
    watcher = await watch(streams, last="0-0")
    for _ in range(5):
        await watcher.next()
    event_log.forget()
    task = Task(event_log)
    for _ in range(4):
        await event_log.next_ask()
    reader = await follow(streams, task)
    task.change("SUCCEEDED")
    assert (await reader.states())[-1] == "result SUCCEEDED"
    await watcher.leave()


async def test_what_the_service_refuses_is_the_answer(
    hub: EventHub, streams: EventStreams, task: Task
) -> None:
    async def missing() -> bytes:
        raise not_found("task", TASK)

    with pytest.raises(GridpactError) as raised:
        await streams.of_task(CALLER, FOREVER, TASK, None, missing, task.result)
    assert raised.value.reason is Reason.NOT_FOUND
    assert hub.listener_count == 0


async def test_a_revoked_session_ends_its_streams_and_no_others(
    hub: EventHub, streams: EventStreams, task: Task
) -> None:
    reader, watcher = await follow(streams, task), await watch(streams)
    other = Caller("user-2", ORG, Role.VIEWER, "session-2")
    kept = Reader(await streams.of_organisation(other, FOREVER, None))
    hub.end_session(SESSION)
    assert await reader.states() == ["task QUEUED"]
    assert await watcher.next() is None
    task.change("RUNNING")
    assert await kept.next() is not None
    await kept.leave()


async def test_a_stream_ends_with_its_token(
    hub: EventHub, event_log: FakeEventLog, task: Task
) -> None:
    now = asyncio.get_running_loop().time
    streams = EventStreams(hub, event_log, now=now)
    reader = await follow(streams, task, expires=now() + 0.1)
    assert await reader.states() == ["task QUEUED"]
    assert hub.listener_count == 0


async def test_the_end_of_the_process_ends_streams_also_those_to_come(
    hub: EventHub, streams: EventStreams, task: Task
) -> None:
    reader = await follow(streams, task)
    hub.close()
    assert await reader.states() == ["task QUEUED"]
    assert await (await watch(streams)).next() is None


async def test_a_client_that_hangs_up_leaves_nothing(
    hub: EventHub, streams: EventStreams, task: Task
) -> None:
    readers = [await follow(streams, task) for _ in range(20)]
    assert hub.listener_count == 20
    await asyncio.gather(*(reader.leave() for reader in readers))
    assert hub.listener_count == 0


async def test_a_slow_client_is_ended_and_the_others_are_not(
    hub: EventHub, streams: EventStreams, event_log: FakeEventLog
) -> None:
    quick = await watch(streams)
    with hub.listening(ORG, SESSION) as slow:
        for _ in range(300):
            event_log.write(ORG, "task-2", b'{"state":"RUNNING"}')
            assert await quick.next() is not None
        received = 0
        while not slow.ended:
            received += await slow.next(0) is not None
        assert received == 256
    await quick.leave()
