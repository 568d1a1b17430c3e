"""How a new task reaches the broker without the relay.

The relay finds everything that is committed, but it has to look for it in the database first.
Whoever has just committed a message still has it in hand, and is faster.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from gridpact.broker.port import Broker, Message
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log
from gridpact.tasks.ports import QueueMessage

log = Log(__name__)

_BATCH_COUNT = 256
WAITING_MAX = 1024
# What waits longer is left to the relay, which takes it after a second (relay.repository).
PUBLISHING_S = 0.5
# How long a broker that did not answer is left alone.
_PAUSE_S = 1.0
# Outbox rows of published messages are deleted in batches.
_REMOVING_INTERVAL_S = 0.05


class BrokerQueue:
    """The Queue of one process; ``publish_all`` and ``remove_all`` must be running.

    remove: deletes outbox rows. One that is not deleted is published once more by the relay.
    """

    def __init__(self, broker: Broker, remove: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        self._broker = broker
        self._remove = remove
        # With when each was committed.
        self._waiting: deque[tuple[float, QueueMessage]] = deque()
        self._some_wait = asyncio.Event()
        self._published: list[int] = []
        self._some_published = asyncio.Event()
        self._paused_until_s = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether the broker has failed, and everything is left to the relay for a while."""
        return asyncio.get_running_loop().time() < self._paused_until_s

    def publish(self, messages: Sequence[QueueMessage]) -> None:
        """See Queue."""
        now_s = asyncio.get_running_loop().time()
        if self.is_paused or len(self._waiting) + len(messages) > WAITING_MAX:
            return
        self._waiting.extend((now_s, message) for message in messages)
        if messages:
            self._some_wait.set()

    async def publish_all(self) -> None:
        """Publishes what waits, until it is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._some_wait.wait()
            self._some_wait.clear()
            while self._waiting:
                count = min(len(self._waiting), _BATCH_COUNT)
                taken = [self._waiting.popleft() for _ in range(count)]
                fresh = [each for at_s, each in taken if clock() - at_s < PUBLISHING_S]
                if not fresh:
                    continue
                try:
                    await self._broker.publish(
                        [Message(it.topic, it.body, it.key, it.properties) for it in fresh]
                    )
                except Exception as error:
                    # Whether it has them is not known; the relay publishes them in any case. What
                    # no waiting mends, it stumbles over too: no other service ends with the broker.
                    left_count = count + len(self._waiting)
                    log.warning("left-to-relay", count=left_count, cause=repr(error))
                    self._waiting.clear()
                    self._paused_until_s = clock() + _PAUSE_S
                else:
                    self._published += [each.outbox_id for each in fresh]
                    self._some_published.set()

    async def remove_all(self) -> None:
        """Removes the rows of what is published, until it is cancelled."""
        while True:
            await self._some_published.wait()
            await asyncio.sleep(_REMOVING_INTERVAL_S)
            self._some_published.clear()
            published, self._published = self._published, []
            try:
                await self._remove(published)
            except GridpactError as error:
                log.warning("left-in-outbox", count=len(published), cause=error.message)
