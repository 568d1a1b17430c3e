"""Group commit: what arrives while a commit is under way is committed together by the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class GroupCommit(Generic[Item, Outcome]):
    """Turns single calls into batches without making a lone one wait for company.

    ``commit`` takes a batch, in order of arrival, and gives one outcome an item; when it raises,
    every caller of the batch gets the exception. One commit runs at a time. A batch ends at
    ``max_count`` items, or when its weights, if items have any, reach ``max_weight``. Between
    batches of several, so when calls come close together, there are ``pause_s`` in which the next
    batch grows.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome]]],
        *,
        max_count: int,
        weight: Callable[[Item], int] = lambda _: 0,
        max_weight: int = 0,
        pause_s: float = 0.0,
    ) -> None:
        self._commit = commit
        self._weight = weight
        self._max_count = max_count
        self._max_weight = max_weight
        self._pause_s = pause_s
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._committing: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Outcome:
        """Returns when the item is committed. A caller who gives up does not undo it."""
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._committing is None or self._committing.done():
            # A task of its own: no caller's cancellation or deadline ends what others wait for.
            self._committing = asyncio.create_task(self._commit_all())
        return await outcome

    async def _commit_all(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                outcomes = await self._commit([item for item, _ in batch])
            except Exception as error:
                for _, waiting in batch:
                    if not waiting.done():
                        waiting.set_exception(error)
            else:
                for (_, waiting), outcome in zip(batch, outcomes, strict=True):
                    if not waiting.done():
                        waiting.set_result(outcome)
            if self._pause_s and len(batch) > 1 and len(self._waiting) < self._max_count:
                await asyncio.sleep(self._pause_s)

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        batch = [self._waiting.popleft()]
        weight = self._weight(batch[0][0])
        while self._waiting and len(batch) < self._max_count:
            weight += self._weight(self._waiting[0][0])
            if weight > self._max_weight:
                break
            batch.append(self._waiting.popleft())
        return batch
