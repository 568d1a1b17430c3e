"""How a new task reaches the broker without the relay.

The relay finds everything that is committed, but it has to look for it in the database first.
Whoever commits a message has it in hand, and need not wait for the commit either: a message without
a task has no effect.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from gridpact.broker.port import Broker, Message
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import age_of
from gridpact.kit.log import Log
from gridpact.tasks.domain import UNSTORED_MAX
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


@dataclass(slots=True, eq=False)
class _Publication:
    """A message on its way. Its row may be removed when it is both published and settled."""

    message: QueueMessage
    began_s: float
    is_published: bool = False
    is_settled: bool = False
    # None where nothing is stored, or it took long.
    outbox_id: int | None = None


class BrokerQueue:
    """The Queue of one process; ``publish_all`` and ``remove_all`` must be running.

    remove: deletes outbox rows. One that is not deleted is published once more by the relay.
    """

    def __init__(self, broker: Broker, remove: Callable[[Sequence[int]], Awaitable[None]]) -> None:
        self._broker = broker
        self._remove = remove
        # By key, until they are settled.
        self._unsettled: dict[str, _Publication] = {}
        self._waiting: deque[_Publication] = deque()
        self._some_wait = asyncio.Event()
        self._removable: list[int] = []
        self._some_removable = asyncio.Event()
        self._paused_until_s = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether the broker has failed, and everything is left to the relay for a while."""
        return asyncio.get_running_loop().time() < self._paused_until_s

    async def publish(self, messages: Sequence[QueueMessage]) -> None:
        """See Queue."""
        if self.is_paused or len(self._waiting) + len(messages) > WAITING_MAX:
            return
        now_s = asyncio.get_running_loop().time()
        publications = [_Publication(message, now_s) for message in messages]
        self._unsettled |= {each.message.key: each for each in publications}
        self._waiting.extend(publications)
        self._some_wait.set()
        # One turn of the loop until it is asked for, and one until it is written: what follows, the
        # commit, keeps the loop for longer.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def settle(self, messages: Sequence[QueueMessage], outbox_ids: Mapping[str, int]) -> None:
        """See Queue."""
        for message in messages:
            publication = self._unsettled.pop(message.key, None)
            if publication is None:
                continue
            publication.is_settled = True
            age = age_of(message.key)
            # Delivered before its task was stored, the message may have been taken for one without
            # a task: the relay publishes another.
            if age is None or age < UNSTORED_MAX / 2:
                publication.outbox_id = outbox_ids.get(message.key)
            self._remove_if_over(publication)

    async def publish_all(self) -> None:
        """Publishes what waits, until it is cancelled."""
        while True:
            await self._some_wait.wait()
            self._some_wait.clear()
            while self._waiting:
                count = min(len(self._waiting), _BATCH_COUNT)
                taken = [self._waiting.popleft() for _ in range(count)]
                if wanted := [each for each in taken if self._is_wanted(each)]:
                    await self._publish(wanted)

    async def remove_all(self) -> None:
        """Removes the rows of what is published, until it is cancelled."""
        while True:
            await self._some_removable.wait()
            await asyncio.sleep(_REMOVING_INTERVAL_S)
            self._some_removable.clear()
            removable, self._removable = self._removable, []
            try:
                await self._remove(removable)
            except GridpactError as error:
                log.warning("left-in-outbox", count=len(removable), cause=error.message)

    def _is_wanted(self, publication: _Publication) -> bool:
        if publication.is_settled and publication.outbox_id is None:
            return False
        return asyncio.get_running_loop().time() - publication.began_s < PUBLISHING_S

    async def _publish(self, publications: Sequence[_Publication]) -> None:
        messages = [each.message for each in publications]
        try:
            await self._broker.publish(
                [Message(it.topic, it.body, it.key, it.properties) for it in messages]
            )
        except Exception as error:
            # Whether it has them is not known; the relay publishes them in any case. What no
            # waiting mends, it stumbles over too: no other service ends with the broker.
            left_count = len(publications) + len(self._waiting)
            log.warning("left-to-relay", count=left_count, cause=repr(error))
            self._waiting.clear()
            self._paused_until_s = asyncio.get_running_loop().time() + _PAUSE_S
        else:
            for publication in publications:
                publication.is_published = True
                self._remove_if_over(publication)

    def _remove_if_over(self, publication: _Publication) -> None:
        if publication.is_published and publication.outbox_id is not None:
            self._removable.append(publication.outbox_id)
            self._some_removable.set()
