"""What has been committed, told to the world through Redis.

A change of a task is one entry of the stream ``gridpact:events`` with the fields ``org``,
``task_id`` and ``data`` (JSON of contracts/schemas/task.yaml). The wish to cancel a running task
goes to the pub/sub channel ``gridpact:cancel``, as its id.

Nothing is lost for good when Redis is away: the state is in PostgreSQL, listeners read it anew when
they connect, and the bridge learns of a cancel wish when it renews the lease.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from redis.asyncio import Redis

from gridpact.kit.errors import GridpactError
from gridpact.kit.instants import format_instant
from gridpact.kit.log import Log
from gridpact.kit.redis_connection import redis_errors
from gridpact.tasks.domain import Task, TaskState

log = Log(__name__)

EVENTS_STREAM = "gridpact:events"
CANCEL_CHANNEL = "gridpact:cancel"

# Long enough for a listener that was away for a moment; the rest reads the state anew.
_STREAM_LENGTH = 10_000
_WAITING_MAX = 10_000
_BATCH_COUNT = 500
# What is neither an end nor a wish waits so long for what comes next: most of it is the beginning
# of something short, of which only the end is told then.
_GATHERING_S = 0.02


# One command a batch: hundreds of single ones cost the client more than all else of a task's life.
_ANNOUNCE = """
local channel, length = ARGV[1], ARGV[2]
local events, wishes = unpack(cmsgpack.unpack(ARGV[3]))
for _, event in ipairs(events) do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', length, '*',
    'org', event[1], 'task_id', event[2], 'data', event[3])
end
for _, task_id in ipairs(wishes) do redis.call('PUBLISH', channel, task_id) end
"""


class RedisEvents:
    """The Events of one process, in the order in which tasks changed last.

    ``run`` must be running. Of several changes that wait, the last is told; when more than 10,000
    tasks wait, the oldest are dropped.
    """

    def __init__(self, redis: Redis) -> None:
        self._announce = redis.register_script(_ANNOUNCE)
        # Of each task that has changed, how it stands now.
        self._waiting: OrderedDict[str, Task] = OrderedDict()
        self._published = asyncio.Event()
        self._urgent = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def publish(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._waiting[task.task_id] = task
            self._waiting.move_to_end(task.task_id)
        while len(self._waiting) > _WAITING_MAX:
            self._waiting.popitem(last=False)
        if tasks:
            self._drained.clear()
            self._published.set()
        if any(task.has_ended or task.cancel_requested for task in tasks):
            self._urgent.set()

    async def run(self) -> None:
        """Sends what is published until it is cancelled."""
        while True:
            await self._published.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(_GATHERING_S):
                    await self._urgent.wait()
            self._published.clear()
            self._urgent.clear()
            while self._waiting:
                count = min(len(self._waiting), _BATCH_COUNT)
                await self._send([self._waiting.popitem(last=False)[1] for _ in range(count)])
            self._drained.set()

    async def drained(self) -> None:
        """Returns when everything published has been sent, or dropped because Redis is away."""
        await self._drained.wait()

    async def _send(self, tasks: Sequence[Task]) -> None:
        # As text: the MsgPack of Redis knows no `bin`.
        events = [(task.organisation_id, task.task_id, event_data(task).decode()) for task in tasks]
        wishes = [
            task.task_id
            for task in tasks
            if task.cancel_requested and task.state is TaskState.RUNNING
        ]
        content = msgspec.msgpack.encode((events, wishes))
        try:
            with redis_errors():
                await self._announce(
                    keys=[EVENTS_STREAM], args=[CANCEL_CHANNEL, _STREAM_LENGTH, content]
                )
        except GridpactError as error:
            log.warning("events-dropped", count=len(tasks), cause=error.message)


def event_data(task: Task) -> bytes:
    """The JSON of a task (contracts/schemas/task.yaml); what is unknown is left out."""
    members: dict[str, Any] = {
        "task_id": task.task_id,
        "kind": task.kind,
        "engine_choice": task.engine_choice,
        "state": task.state,
        "site_id": task.site_id,
        "label": task.label,
        "attempt_count": task.attempt_count,
        "cancel_requested": task.cancel_requested,
        "progress": task.progress and _present(msgspec.to_builtins(task.progress)),
        "submitted_time": format_instant(task.submitted_time),
        "started_time": task.started_time and format_instant(task.started_time),
        "finished_time": task.finished_time and format_instant(task.finished_time),
        "engine": task.engine,
        "engine_version": task.engine_version,
        "solve_ms": task.solve_ms,
        "failure": task.failure,
        "replay_of": task.replay_of,
    }
    return msgspec.json.encode(_present(members))


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
