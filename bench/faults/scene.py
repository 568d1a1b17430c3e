"""One fault on a stage with its users: what an injection works with, and what it must show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bench.faults.clients import SUCCEEDS, Load, Users, probe
from bench.faults.history import now_s
from bench.faults.stage import NotInjected, Stage
from gridpact.platform.state import Identity


@dataclass(slots=True)
class Scene:
    """An injection calls ``strike`` when its fault has hit for certain, and ``heal`` when it lifts
    a fault that lasts. ``require`` states what must hold besides the invariants of every history.
    """

    stage: Stage
    users: Users
    load: Load
    name: str
    seed: int
    chance: random.Random
    hits: int = 0
    struck_s: float | None = None
    noticed_s: float | None = None
    healed_s: float | None = None
    violations: list[str] = field(default_factory=list[str])
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    _witnesses: int = 0

    def strike(self, count: int = 1) -> None:
        """The fault has hit so many times."""
        self.hits += count
        if self.struck_s is None:
            self.struck_s = now_s()

    def notice(self) -> None:
        """The platform has noticed."""
        if self.noticed_s is None:
            self.noticed_s = now_s()

    def heal(self) -> None:
        """The fault is over: from here on the platform recovers."""
        self.healed_s = now_s()

    def require(self, holds: bool, words: str) -> None:
        if not holds:
            self.violations.append(words)

    @property
    def is_even(self) -> bool:
        """Faults that come in two ways take turns by seed."""
        return self.seed % 2 == 0

    def key(self) -> str:
        """A new idempotency key."""
        self._witnesses += 1
        return f"{self.name}-w{self._witnesses}"

    async def witness(
        self, *, hold_ms: int = 0, result_bytes: int = 7, ends: frozenset[str] = SUCCEEDS
    ) -> str:
        """The task of a probe that the fault is to hit."""
        wish = probe(
            self.key(),
            hold_ms=hold_ms,
            result_bytes=result_bytes,
            engine=self.stage.engine,
            ends=ends,
        )
        return await self.users.submit(wish)

    async def witness_at_work(self, hold_ms: int, result_bytes: int = 7) -> str:
        """The same, when a worker is at it."""
        task_id = await self.witness(hold_ms=hold_ms, result_bytes=result_bytes)
        await self.stage.until_at_work(task_id)
        return task_id

    async def until_noticed(self, name: str, killed: Identity) -> None:
        """Returns when the supervisor knows of the death of a process."""
        await self.stage.until_gone(killed)
        while True:
            record = self.stage.record(name)
            if record.identity != killed or record.state != "ready":
                self.notice()
                return
            await asyncio.sleep(0.01)

    async def must_be_hit(self, task_id: str, attempt: int = 1) -> None:
        """Raises NotInjected unless the task is still at work with this attempt."""
        found = await self.stage.task(task_id)
        if found != ("RUNNING", attempt):
            raise NotInjected(f"task {task_id} was {found} when the fault struck")

    async def attempts_of(self, task_id: str) -> int:
        """How many attempts the task took, when it has ended."""
        await self.users.until_ended(task_id)
        return (await self.stage.task(task_id))[1]


Injection = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table. ``rate``: background tasks a second, among them plans."""

    number: int
    name: str
    holds: str
    inject: Injection
    on_both_brokers: bool = False
    # On a platform of its own, whose disk is small; that needs root's rights.
    fills_disk: bool = False
    rate: float = 10.0
    with_plans: bool = True
    # No worker died and no message was lost: nothing may be delivered twice.
    delivers_once: bool = False
    within_s: float = 120.0
    # Generous: a node that starts takes long on a busy machine.
    heals_s: float = 90.0
