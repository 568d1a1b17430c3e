"""What time does to tasks: timeouts, lapsed leases, lost messages, expired keys."""

from __future__ import annotations

import asyncio

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log
from gridpact.tasks.domain import Policy, Task
from gridpact.tasks.ports import Batch, Events, TaskStore

log = Log(__name__)

_BATCH_COUNT = 256
_INTERVAL_S = 1.0
_SWEEPS_PER_EXPIRY = 600


class Sweeper:
    """Looks once a second for tasks that wait for nothing but time.

    Several processes may sweep at once: every rule judges a task under its lock.
    """

    def __init__(self, store: TaskStore, events: Events, policy: Policy) -> None:
        self._store = store
        self._events = events
        self._policy = policy

    async def run(self) -> None:
        """Sweeps until it is cancelled; a database that is away is waited for.

        Attempts may have outlived an outage: before the first sweep after one, and after the start,
        they have the time of a lease to renew theirs.
        """
        lease_s = self._policy.lease_duration.total_seconds()
        wait_s = lease_s
        sweep_count = 0
        while True:
            await asyncio.sleep(wait_s)
            wait_s = _INTERVAL_S
            try:
                await self.sweep()
                if sweep_count % _SWEEPS_PER_EXPIRY == 0:
                    await self._store.expire_idempotency_keys()
                sweep_count += 1
            except GridpactError as error:
                if error.reason is not Reason.UNAVAILABLE:
                    raise
                log.warning("sweep-postponed", cause=error.message)
                wait_s = lease_s

    async def sweep(self) -> list[Task]:
        """Applies the rules to all tasks that are due; gives those that changed."""
        changed: list[Task] = []
        while due := await self._store.due(self._policy, _BATCH_COUNT):
            _, batch = await self._store.change(due, self._apply)
            self._events.publish(batch)
            for task in batch:
                log.info(
                    "task-swept",
                    task_id=task.task_id,
                    state=task.state,
                    attempt=task.attempt_count,
                    publication=task.publish_count,
                )
            changed += batch
            if len(due) < _BATCH_COUNT or not batch:
                break
        return changed

    def _apply(self, batch: Batch, /) -> None:
        for task in batch.tasks:
            swept = task.time_out(batch.now)
            swept = swept.reclaim(batch.now, self._policy)
            batch.put(swept.republish(batch.now, self._policy))
