"""What the owner of a task does, on fakes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.identifiers import new_identifier
from gridpact.tasks.contract import GeneratedContract
from gridpact.tasks.delivery import Delivery, Ending, Opening
from gridpact.tasks.domain import TaskState
from gridpact.tasks.ports import PackedInput, Submitted
from gridpact.tasks.service import TaskService
from tests.tasks.examples import POLICY, PROBE_INPUT, PROBE_RESULT, end, request
from tests.tasks.fakes import KnownSites, MemoryTaskStore, RecordedEvents, RecordedQueue

OWNER = new_identifier()
SITE_ID = new_identifier()


class KeepingContract(GeneratedContract):
    """Says of every kind that it keeps models, named as the input says."""

    def __init__(self, affinity: str | None) -> None:
        self._affinity = affinity

    def pack_input(self, kind: str, data: bytes) -> PackedInput:
        return replace(super().pack_input(kind, data), affinity=self._affinity)


@dataclass
class Tasks:
    """The use cases and what they stand on."""

    store: MemoryTaskStore = field(default_factory=MemoryTaskStore)
    queue: RecordedQueue = field(default_factory=RecordedQueue)
    events: RecordedEvents = field(default_factory=RecordedEvents)

    def __post_init__(self) -> None:
        contract = GeneratedContract()
        self.service = self.service_with(contract)
        self.delivery = Delivery(self.store, contract, self.events, POLICY)

    def service_with(self, contract: GeneratedContract) -> TaskService:
        return TaskService(self.store, contract, KnownSites(SITE_ID), self.queue, self.events)

    async def submit(self, key: str = "key-1", **changes: object) -> str:
        submitted = await self.service.submit(OWNER, request(key, **changes))
        return submitted.task.task_id

    async def run(self, task_id: str) -> None:
        await self.delivery.open_attempts([Opening(task_id, "bridge")])

    async def finish(self, task_id: str) -> None:
        await self.run(task_id)
        await self.delivery.complete_attempts([Ending(task_id, 1, end())])


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


class TestSubmit:
    async def test_stores_the_input_as_it_came(self, tasks: Tasks) -> None:
        submitted = await tasks.service.submit(OWNER, request(site_id=SITE_ID, label="Plan"))
        assert submitted.created
        assert submitted.task.state is TaskState.QUEUED
        assert tasks.events.tasks == [submitted.task]
        assert tasks.store.payloads[submitted.task.task_id].data == PROBE_INPUT

    async def test_publishes_what_it_stores(self, tasks: Tasks) -> None:
        """It may publish more: that has no task, and no effect."""
        wanted = [request("key-1"), request("key-2"), request("key-1")]
        first, second, _ = await tasks.service.submit_all(OWNER, wanted)
        await tasks.service.submit(OWNER, request("key-2"))
        assert isinstance(first, Submitted)
        assert isinstance(second, Submitted)
        stored = {each.task.task_id: each.outbox_id for each in (first, second)}
        assert tasks.queue.outbox_ids == stored
        assert {message.key for message in tasks.queue.messages} >= {*stored}
        assert not tasks.queue.unsettled

    async def test_settles_what_it_could_not_store(
        self, tasks: Tasks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(submissions: object, begins: Callable[[], Awaitable[None]]) -> None:
            await begins()
            raise GridpactError(Reason.UNAVAILABLE, "for the test")

        monkeypatch.setattr(tasks.store, "submit", fail)
        with pytest.raises(GridpactError, match="for the test"):
            await tasks.submit()
        assert len(tasks.queue.messages) == 1
        assert (tasks.queue.outbox_ids, tasks.queue.unsettled) == ({}, set())

    async def test_gives_tasks_that_build_on_one_model_one_key(self, tasks: Tasks) -> None:
        """Within one organisation and kind, by what the input names, else by the site."""
        keys: list[str | None] = []
        for owner, affinity, site_id in (
            (OWNER, "Größe 1", None),
            (OWNER, "Größe 1", SITE_ID),
            (OWNER, "Größe 2", None),
            (new_identifier(), "Größe 1", None),
            (OWNER, "", SITE_ID),
            (OWNER, "", None),
            (OWNER, None, SITE_ID),
        ):
            service = tasks.service_with(KeepingContract(affinity))
            submitted = await service.submit(owner, request(new_identifier(), site_id=site_id))
            keys.append(tasks.store.affinity_keys[submitted.task.task_id])
        assert keys[0] == keys[1]
        assert len({*keys[:5]}) == 4
        assert all(key and re.fullmatch("[0-9a-f]{32}", key) for key in keys[:5])
        assert keys[5:] == [None, None]

    async def test_repeats_itself_for_the_same_key(self, tasks: Tasks) -> None:
        first = await tasks.service.submit(OWNER, request())
        again = await tasks.service.submit(OWNER, request())
        assert (again.task, again.created) == (first.task, False)
        assert len(tasks.events.tasks) == 1

    async def test_takes_the_shortest_timeout_for_one_that_is_shorter(self, tasks: Tasks) -> None:
        submitted = await tasks.service.submit(OWNER, request(timeout_s=1e-300))
        assert submitted.task.timeout_time > submitted.task.submitted_time

    async def test_makes_one_task_of_ten_concurrent_duplicates(self, tasks: Tasks) -> None:
        found = await asyncio.gather(*(tasks.service.submit(OWNER, request()) for _ in range(10)))
        assert len({submitted.task.task_id for submitted in found}) == 1
        assert [submitted.created for submitted in found].count(True) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"input": msgspec.msgpack.encode({"hold_ms": 11})},
            {"engine_choice": "python"},
            {"site_id": SITE_ID},
            {"label": "Other"},
            {"timeout_s": 60.0},
        ],
    )
    async def test_refuses_a_key_that_stands_for_another_request(
        self, tasks: Tasks, changes: dict[str, object]
    ) -> None:
        task_id = await tasks.submit()
        with pytest.raises(GridpactError) as refused:
            await tasks.submit(**changes)
        assert refused.value.reason is Reason.IDEMPOTENCY_KEY_REUSED
        assert refused.value.meta == {"task_id": task_id}

    @pytest.mark.parametrize(
        ("changes", "fields"),
        [
            ({"idempotency_key": ""}, ["idempotency_key"]),
            ({"idempotency_key": "a b"}, ["idempotency_key"]),
            ({"idempotency_key": "a" * 129}, ["idempotency_key"]),
            ({"kind": "guess"}, ["kind"]),
            ({"engine_choice": "fortran"}, ["engine_choice"]),
            ({"site_id": "here"}, ["site_id"]),
            ({"label": " x"}, ["label"]),
            ({"timeout_s": -1.0}, ["timeout_s"]),
            ({"timeout_s": float("nan")}, ["timeout_s"]),
            ({"timeout_s": 86401.0}, ["timeout_s"]),
            ({"input": msgspec.msgpack.encode({"hold_ms": -1})}, ["input.hold_ms"]),
            ({"input": msgspec.msgpack.encode([])}, ["input"]),
            (
                {"label": "", "input": msgspec.msgpack.encode({"hold_ms": "x"})},
                ["label", "input.hold_ms"],
            ),
        ],
    )
    async def test_names_the_fields_that_are_wrong(
        self, tasks: Tasks, changes: dict[str, object], fields: list[str]
    ) -> None:
        key = str(changes.pop("idempotency_key", "key-1"))
        with pytest.raises(GridpactError) as refused:
            await tasks.submit(key, **changes)
        assert refused.value.reason is Reason.INVALID_ARGUMENT
        found = dict.fromkeys(violation.field for violation in refused.value.violations)
        assert [*found] == fields
        assert not tasks.store.tasks

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", Reason.MESSAGE_MALFORMED),
            (PROBE_INPUT + b"\xc0", Reason.MESSAGE_MALFORMED),
            (bytes(64 * 1024 * 1024 + 1), Reason.MESSAGE_TOO_LARGE),
        ],
    )
    async def test_refuses_bytes_that_are_no_message(
        self, tasks: Tasks, data: bytes, reason: Reason
    ) -> None:
        with pytest.raises(GridpactError) as refused:
            await tasks.submit(input=data)
        assert refused.value.reason is reason
        assert not tasks.store.tasks

    async def test_refuses_a_site_that_is_not_there(self, tasks: Tasks) -> None:
        with pytest.raises(GridpactError) as refused:
            await tasks.submit(site_id=new_identifier())
        assert refused.value.reason is Reason.NOT_FOUND


class TestSubmitAll:
    async def test_stores_what_it_can_and_refuses_the_rest(self, tasks: Tasks) -> None:
        first = await tasks.submit("taken")
        wanted = [
            request("new"),
            request("bad", kind="guess"),
            request("taken"),
            request("taken", label="Other"),
            request("new"),
            request("nowhere", site_id=new_identifier()),
        ]
        new, bad, again, reused, twice, nowhere = await tasks.service.submit_all(OWNER, wanted)
        assert isinstance(new, Submitted)
        assert isinstance(again, Submitted)
        assert isinstance(twice, Submitted)
        assert (new.created, again.created, twice.created) == (True, False, False)
        assert (again.task.task_id, twice.task.task_id) == (first, new.task.task_id)
        refused = [error.reason for error in (bad, reused, nowhere) if isinstance(error, Exception)]
        assert refused == ["INVALID_ARGUMENT", "IDEMPOTENCY_KEY_REUSED", "NOT_FOUND"]
        assert [*tasks.store.tasks] == [first, new.task.task_id]
        assert [task.task_id for task in tasks.events.tasks] == [first, new.task.task_id]

    async def test_stores_nothing_where_everything_is_wrong(self, tasks: Tasks) -> None:
        outcomes = await tasks.service.submit_all(OWNER, [request(kind="guess")])
        assert [isinstance(outcome, GridpactError) for outcome in outcomes] == [True]
        assert not tasks.store.tasks


class TestGet:
    async def test_hides_tasks_of_others_and_ids_that_are_none(self, tasks: Tasks) -> None:
        task_id = await tasks.submit()
        assert (await tasks.service.get(OWNER, task_id)).task_id == task_id
        for owner, wanted in ((new_identifier(), task_id), (OWNER, "no-id")):
            with pytest.raises(GridpactError) as refused:
                await tasks.service.get(owner, wanted)
            assert refused.value.reason is Reason.NOT_FOUND


class TestListPage:
    async def test_ends_with_an_empty_cursor(self, tasks: Tasks) -> None:
        submitted = {await tasks.submit(f"key-{i}") for i in range(5)}
        cursor, pages = "", []
        while True:
            page, cursor = await tasks.service.list_page(
                OWNER, cursor=cursor, site_id=None, state=None, page_size=2
            )
            pages.append([task.task_id for task in page])
            if not cursor:
                break
        assert [len(page) for page in pages] == [2, 2, 1]
        assert {task_id for page in pages for task_id in page} == submitted

    async def test_refuses_a_cursor_that_is_none(self, tasks: Tasks) -> None:
        with pytest.raises(GridpactError) as refused:
            await tasks.service.list_page(OWNER, cursor="x", site_id=None, state=None, page_size=2)
        assert refused.value.reason is Reason.CURSOR_INVALID


class TestCancel:
    async def test_ends_a_queued_task(self, tasks: Tasks) -> None:
        task = await tasks.service.cancel(OWNER, await tasks.submit())
        assert task.state is TaskState.CANCELLED
        assert tasks.events.tasks[-1] == task
        assert await tasks.service.cancel(OWNER, task.task_id) == task

    async def test_asks_a_running_one_to_stop(self, tasks: Tasks) -> None:
        task_id = await tasks.submit()
        await tasks.run(task_id)
        task = await tasks.service.cancel(OWNER, task_id)
        assert (task.state, task.cancel_requested) == (TaskState.RUNNING, True)
        assert tasks.events.tasks[-1] == task

    async def test_refuses_one_that_has_succeeded(self, tasks: Tasks) -> None:
        task_id = await tasks.submit()
        await tasks.finish(task_id)
        with pytest.raises(GridpactError) as refused:
            await tasks.service.cancel(OWNER, task_id)
        assert refused.value.reason is Reason.TASK_NOT_CANCELLABLE
        assert refused.value.meta == {"state": "SUCCEEDED"}

    async def test_does_not_touch_the_task_of_another_organisation(self, tasks: Tasks) -> None:
        task_id = await tasks.submit()
        with pytest.raises(GridpactError) as refused:
            await tasks.service.cancel(new_identifier(), task_id)
        assert refused.value.reason is Reason.NOT_FOUND
        assert tasks.store.tasks[task_id].state is TaskState.QUEUED


class TestGetResult:
    async def test_gives_the_bytes_as_the_worker_sent_them(self, tasks: Tasks) -> None:
        task_id = await tasks.submit()
        await tasks.finish(task_id)
        task, body = await tasks.service.get_result(OWNER, task_id)
        assert (task.state, body) == (TaskState.SUCCEEDED, PROBE_RESULT)

    async def test_says_how_the_task_stands_when_there_is_none(self, tasks: Tasks) -> None:
        with pytest.raises(GridpactError) as refused:
            await tasks.service.get_result(OWNER, await tasks.submit())
        assert refused.value.reason is Reason.RESULT_NOT_READY
        assert refused.value.meta == {"state": "QUEUED"}
