"""What the use cases of tasks need from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from gridpact.kit.pages import Cursor
from gridpact.kit.violation import Violation
from gridpact.tasks.domain import Body, Policy, Task, TaskState

Decided = TypeVar("Decided")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks for; ``input`` is the MsgPack of the kind's input, packed or not."""

    idempotency_key: str
    kind: str
    input: Body
    engine_choice: str
    site_id: str | None
    label: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """What the queue is to carry for a task; ``key`` is its id."""

    topic: str
    key: str
    properties: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A task to be stored, its input checked and packed.

    ``task_id`` is what the task is called unless the key names one already; ``fingerprint`` is the
    SHA-256 of the request; ``message`` is what the queue is to carry; tasks with the same
    ``affinity_key`` build on the same model.
    """

    task_id: str
    organisation_id: str
    idempotency_key: str
    fingerprint: bytes
    kind: str
    engine_choice: str
    site_id: str | None
    label: str | None
    timeout: timedelta
    payload: Body
    message: QueueMessage
    affinity_key: str | None = None


@dataclass(frozen=True, slots=True)
class PackedInput:
    """An input on its way to the worker.

    ``digest`` is the SHA-256 of the MsgPack; however it is packed, the same input has the same.
    ``affinity`` names the model that the task builds on, where its kind keeps models; empty when
    the site does. None: the kind keeps none.
    """

    payload: Body
    digest: bytes
    affinity: str | None = None


@dataclass(frozen=True, slots=True)
class PayloadPart:
    """Some bytes of a payload, as the worker gets it, and the size of the whole."""

    data: bytes
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """The task that an idempotency key names, and the fingerprint of the request that made it.

    ``outbox_id`` is the row that keeps the message of a task that this call created.
    """

    task: Task
    fingerprint: bytes
    created: bool
    outbox_id: int | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What replaying a task came to.

    original: the task that was to be replayed; None when there is none of that id.
    task: the task that computes its input once more; None unless the original FAILED.
    created: whether it was made by this call.
    """

    original: Task | None
    task: Task | None
    created: bool


class Batch(Protocol):
    """Tasks that nobody else changes before what is decided of them is committed."""

    @property
    def now(self) -> datetime:
        """The clock of the store, read when the tasks were."""
        ...

    @property
    def tasks(self) -> Collection[Task]:
        """Every task, as it was when it was read."""
        ...

    def get(self, task_id: str) -> Task | None:
        """The task as it is by now in this batch; None when there is none of that id."""
        ...

    def put(self, task: Task, result: Body | None = None) -> None:
        """Changes a task that ``get`` gave; a result is stored with it."""
        ...


class TaskStore(Protocol):
    """The truth about tasks. Every method is one transaction."""

    def clock(self) -> datetime | None:
        """What the clock of the store says now, give or take what a statement takes; None until
        it was read."""
        ...

    async def submit(
        self,
        submissions: Sequence[Submission],
        begins: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Submitted]:
        """Stores task, payload, idempotency key and outbox row of each submission.

        A submission whose key was used within 24 hours stores nothing and gives the task of that
        key; of several with the same new key in one call, one is stored.

        ``begins`` is awaited once, when there is nothing left to do but to commit. From then on
        ``change`` of one of these tasks waits until it is known whether they are stored.
        """
        ...

    def has_turned_down(self, task_id: str) -> bool:
        """Whether it is known that there will never be a task of this id: its submission failed,
        or gave the task of its key."""
        ...

    async def change(
        self, task_ids: Sequence[str], decide: Callable[[Batch], Decided]
    ) -> tuple[Decided, list[Task]]:
        """Lets ``decide`` change the tasks as they are, and commits; nothing when it raises.

        It is asked again when somebody else has changed one of them meanwhile: only what it says
        last counts.

        A task that was published again (its ``publish_count`` grew) gets an outbox row, with a
        claim where the payload is too large for the queue (asyncapi.yaml, Claims). Gives what
        ``decide`` gave and the tasks that changed.
        """
        ...

    async def replay(self, task_ids: Mapping[str, str]) -> list[Replayed]:
        """Submits the inputs of tasks that FAILED once more, with as much time as they had.

        ``task_ids`` says what the new task of each is to be called, unless it has one already.
        """
        ...

    async def find(self, organisation_id: str, task_id: str) -> Task | None:
        """The task, unless it is another organisation's."""
        ...

    async def payload_part(
        self, task_id: str, offset: int, size: int
    ) -> tuple[Task, PayloadPart | None] | None:
        """Up to ``size`` bytes of the task's payload and the task; None when there is no such."""
        ...

    async def find_result(self, organisation_id: str, task_id: str) -> tuple[Task, Body] | None:
        """A task that SUCCEEDED with its result."""
        ...

    async def list_page(
        self,
        organisation_id: str,
        *,
        before: Cursor | None,
        site_id: str | None,
        state: TaskState | None,
        limit: int,
    ) -> list[Task]:
        """Up to ``limit`` tasks, newest first, that are older than ``before``."""
        ...

    async def due(self, policy: Policy, limit: int) -> list[str]:
        """Up to ``limit`` tasks that are past their timeout, silent for long, or seem lost.

        A QUEUED task seems lost when it has waited for `Policy.republish_delay` and either a task
        of the same topic that was published that much later was delivered before it, or nothing is
        running at all, and nothing was begun for as long. A queue that is merely long gives no such
        sign, so that overload does not make it longer.
        """
        ...

    async def expire_idempotency_keys(self) -> int:
        """Deletes the keys that are older than 24 hours; how many."""
        ...


class TaskContract(Protocol):
    """The schemas of tasks and of their kinds."""

    def check_request(self, request: Request) -> list[Violation]:
        """What is wrong with the members of a request, its input not looked at."""
        ...

    def pack_input(self, kind: str, body: Body) -> PackedInput:
        """Checks the MsgPack of an input and packs it for the way to the worker.

        Raises ContractError, its violations relative to the input.
        """
        ...

    def first_message(
        self,
        task_id: str,
        kind: str,
        engine_choice: str,
        payload: Body,
        *,
        affinity_key: str | None,
        traceparent: str | None,
        timeout_time: datetime | None,
    ) -> QueueMessage:
        """The queue message of a new task: a claim where its payload is too large for the queue.

        Its first attempt may begin early, unless nobody knows its timeout.
        """
        ...

    def fault_of_result(self, kind: str, body: Body) -> str | None:
        """What is wrong with the bytes of a result; None when nothing is."""
        ...


class Sites(Protocol):
    """The sites of the caller's organisation."""

    async def require(self, site_id: str) -> None:
        """Returns when there is such a site; NOT_FOUND when the caller can see none."""
        ...


class Queue(Protocol):
    """The way to the broker that waits for nobody.

    Never fails: what does not get there at once stays in the outbox, where the relay finds it.
    """

    async def publish(self, messages: Sequence[QueueMessage]) -> None:
        """Publishes messages while their tasks are committed; returns soon, as a rule when they are
        on their way. ``settle`` must follow.
        """
        ...

    def settle(self, messages: Sequence[QueueMessage], outbox_ids: Mapping[str, int]) -> None:
        """The commit is over: of what was stored, the outbox rows by the messages' keys.

        The rows of published messages are removed. What was not stored is not published any more,
        unless it has been.
        """
        ...


class Events(Protocol):
    """Tells the world what has been committed. Never fails and never waits: the truth is stored."""

    def publish(self, tasks: Sequence[Task]) -> None:
        """Announces each task as it is now, and the wish to cancel it if there is one."""
        ...
