"""What has been committed, told to the world through Redis.

Each change of a task is one entry of the stream ``gridpact:events`` with the fields ``org``,
``task_id`` and ``data`` (JSON of contracts/schemas/task.yaml). The wish to cancel a running task
goes to the pub/sub channel ``gridpact:cancel``, as its id.

Nothing is lost for good when Redis is away: the state is in PostgreSQL, listeners read it anew when
they connect, and the bridge learns of a cancel wish when it renews the lease.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gridpact.kit.instants import format_instant
from gridpact.kit.log import Log
from gridpact.tasks.domain import Task, TaskState

log = Log(__name__)

EVENTS_STREAM = "gridpact:events"
CANCEL_CHANNEL = "gridpact:cancel"

# Long enough for a listener that was away for a moment; the rest reads the state anew.
_STREAM_LENGTH = 10_000
_WAITING_MAX = 10_000
_BATCH_COUNT = 500


class RedisEvents:
    """The Events of one process, in the order in which they were published.

    ``run`` must be running; what is published when more than 10,000 tasks wait replaces the oldest.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: deque[Task] = deque(maxlen=_WAITING_MAX)
        self._published = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def publish(self, tasks: Sequence[Task]) -> None:
        self._waiting.extend(tasks)
        if tasks:
            self._drained.clear()
            self._published.set()

    async def run(self) -> None:
        """Sends what is published until it is cancelled."""
        while True:
            await self._published.wait()
            self._published.clear()
            while self._waiting:
                count = min(len(self._waiting), _BATCH_COUNT)
                await self._send([self._waiting.popleft() for _ in range(count)])
            self._drained.set()

    async def drained(self) -> None:
        """Returns when everything published has been sent, or dropped because Redis is away."""
        await self._drained.wait()

    async def _send(self, tasks: Sequence[Task]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for task in tasks:
            pipeline.xadd(
                EVENTS_STREAM,
                {"org": task.organisation_id, "task_id": task.task_id, "data": event_data(task)},
                maxlen=_STREAM_LENGTH,
                approximate=True,
            )
            if task.cancel_requested and task.state is TaskState.RUNNING:
                pipeline.publish(CANCEL_CHANNEL, task.task_id)
        try:
            await pipeline.execute()
        except RedisError as error:
            cause = f"{type(error).__name__}: {error}"
            log.warning("events-dropped", count=len(tasks), cause=cause)


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
    }
    return msgspec.json.encode(_present(members))


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
