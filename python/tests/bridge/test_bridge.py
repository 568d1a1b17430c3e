"""The bridge with a real Redis, a node on a real WebSocket, and an owner on a real gRPC socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from gridpact.bridge import bootstrap, service
from gridpact.bridge import lane as lanes
from gridpact.bridge.bootstrap import serving
from gridpact.bridge.domain import LONGEST_URGENT_RUN
from gridpact.bridge.repository import CANCEL_CHANNEL
from gridpact.broker.port import Backlog, Broker, Message
from gridpact.broker.redis_streams import RedisStreamsBroker
from gridpact.contracts import messages
from gridpact.contracts.channels import QUEUE_ADDRESS, QUEUE_MAX_ATTEMPTS
from gridpact.kit.settings import BridgeSettings
from tests.bridge.fakes import (
    PART_BYTES,
    SECRET,
    SOON_S,
    FakeNode,
    FakeOwner,
    accepted,
    error_of,
    result_of,
)
from tests.broker.suite.redis_streams import RedisStreamsUnderTest
from tests.redis import RedisServer

START = datetime(2026, 3, 29, tzinfo=UTC)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def broker(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Broker]:
    broker = RedisStreamsBroker(redis_server.url, max_attempts=5)
    yield broker
    await broker.close()


@pytest.fixture
async def owner() -> FakeOwner:
    return FakeOwner()


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with FakeNode().running() as node:
        yield node


@asynccontextmanager
async def bridge(
    redis_server: RedisServer,
    owner: FakeOwner,
    *nodes: FakeNode,
    kind_concurrency: tuple[str, ...] = (),
) -> AsyncIterator[None]:
    """A bridge that serves these nodes."""
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(owner.running())
        settings = BridgeSettings(
            redis_url=redis_server.url,
            rpc_address=address,
            compute_urls=tuple(node.url for node in nodes),
            compute_secret=SECRET,
            bridge_secret=SECRET,
            kind_concurrency=kind_concurrency,
        )
        await stack.enter_async_context(serving(settings))
        yield


async def publish(
    broker: Broker,
    count: int = 1,
    *,
    lane: str = "auto",
    kind: str = "probe",
    body: bytes = b"\x80",
) -> list[str]:
    """Publishes so many tasks, and gives their ids."""
    task_ids = [str(uuid4()) for _ in range(count)]
    await broker.publish([task_message(each, lane, kind, body) for each in task_ids])
    return task_ids


def task_message(
    task_id: str, lane: str = "auto", kind: str = "probe", body: bytes = b"\x80"
) -> Message:
    headers = {"task_id": task_id, "kind": kind, "encoding": "identity"}
    return Message(topic_of(lane, kind), body, task_id, headers)


async def publish_quick(broker: Broker, owner: FakeOwner, node: FakeNode) -> str:
    """Publishes a task whose first attempt may begin early, as its kind is known to be quick."""
    owner.now = START
    await make_known_as_quick(broker, owner, node)
    owner.calls.clear()
    task_id = str(uuid4())
    await broker.publish([quick_message(task_id)])
    return task_id


async def make_known_as_quick(broker: Broker, owner: FakeOwner, node: FakeNode) -> None:
    """Lets the node answer so many tasks at once that the bridge expects the next to be quick."""
    node.answer = result_of
    await owner.until_ended(*await publish(broker, 50))
    node.answer = None


def quick_message(task_id: str) -> Message:
    message, timeout = task_message(task_id), int((START.timestamp() + 60) * 1000)
    headers = {**message.properties, "timeout_epoch_ms": str(timeout)}
    return replace(message, properties=headers)


def topic_of(lane: str = "auto", kind: str = "probe") -> str:
    return QUEUE_ADDRESS.format(engine=lane, kind=kind)


async def publish_claims(
    broker: Broker,
    owner: FakeOwner,
    payload: bytes | None,
    *,
    count: int = 1,
    claimed: int | None = None,
) -> list[str]:
    """Publishes tasks whose payload, if there is one, lies with the owner; gives their ids."""
    task_ids = [str(uuid4()) for _ in range(count)]
    for task_id in task_ids:
        message = task_message(task_id)
        size = len(payload or b"") if claimed is None else claimed
        headers = {**message.properties, "claim_bytes": str(size)}
        if payload is not None:
            owner.payloads[task_id] = payload
        await broker.publish([replace(message, properties=headers)])
    return task_ids


async def backlog(broker: Broker, lane: str = "auto", kind: str = "probe") -> Backlog:
    return await broker.consumer(topic_of(lane, kind)).backlog()


async def until(
    broker: Broker,
    condition: Callable[[Backlog], bool],
    lane: str = "auto",
    kind: str = "probe",
) -> None:
    """Returns when the condition holds. The broker announces nothing: it must be asked."""
    async with asyncio.timeout(SOON_S):
        while not condition(await backlog(broker, lane, kind)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_acknowledged(broker: Broker, lane: str = "auto", kind: str = "probe") -> None:
    """Returns when the topic is empty."""
    await until(broker, lambda state: state.visible_count + state.invisible_count == 0, lane, kind)


async def finish(
    node: FakeNode, task: messages.TaskMessage, owner: FakeOwner, broker: Broker
) -> None:
    """The node brings the result; returns when the owner has it and the topic is empty."""
    await node.say(result_of(task))
    await owner.until_ended(task.task_id)
    await until_acknowledged(broker)


class TestEarlyStart:
    async def test_opens_and_ends_a_quick_attempt_at_once(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            task_id = await publish_quick(broker, owner, node)
            task = await node.next_task()
            assert (task.attempt, task.fencing_token) == (1, 1)
            assert 59_000 < task.remaining_ms <= 60_000
            await finish(node, task, owner, broker)
        (ending,) = owner.task(task_id).endings
        assert ending.early_start is not None
        assert ending.early_start.bridge_id
        assert ending.early_start.elapsed_ms > 0
        assert owner.calls["open"] == 0

    async def test_opens_an_attempt_that_takes_longer_after_all(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(service, "_EARLY_S", 1.0)
        async with bridge(redis_server, owner, node):
            task_id = await publish_quick(broker, owner, node)
            task = await node.next_task()
            # Before the attempt is opened, when nobody would take it.
            await node.say(
                messages.Progress(task_id=task_id, fencing_token=1, fraction=0.5, stage="solve")
            )
            assert owner.calls["open"] == 0
            await owner.until(lambda: bool(owner.progress))
            assert owner.calls["open"] == 1
            await node.say(result_of(task))
            await owner.until_ended(task_id)
        (ending,) = owner.task(task_id).endings
        assert ending.early_start is None

    async def test_stops_what_cannot_be_opened(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            task_id = await publish_quick(broker, owner, node)
            owner.refuse_opening[task_id] = "TASK_TERMINAL"
            task = await node.next_task()
            cancel = await node.next_cancel()
            assert (cancel.task_id, cancel.fencing_token) == (task_id, 1)
            await node.say(error_of(task, "CANCELLED", retryable=False))
            await until_acknowledged(broker)
        assert owner.task(task_id).endings == []

    async def test_opens_before_it_sends_when_there_was_another_attempt(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        """The owner refuses the early end; delivered again, the task has its second attempt."""
        async with bridge(redis_server, owner, node):
            task_id = str(uuid4())
            owner.task(task_id).attempts = 1
            await publish_quick(broker, owner, node)
            await node.say(result_of(await node.next_task()))
            await broker.publish([quick_message(task_id)])
            early = await node.next_task()
            await node.say(result_of(early))
            second = await node.next_task()
            assert (early.fencing_token, second.fencing_token) == (1, 2)
            await finish(node, second, owner, broker)
        (ending,) = owner.task(task_id).endings
        assert ending.early_start is None

    async def test_opens_before_it_sends_again_what_was_not_committed_yet(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        """Its message came before its task, and so did its result."""
        async with bridge(redis_server, owner, node):
            task_id = await publish_quick(broker, owner, node)
            owner.refuse_opening[task_id] = "NOT_FOUND"
            early = await node.next_task()
            await node.say(result_of(early))
            await owner.until(lambda: owner.calls["open"] >= 1)
            del owner.refuse_opening[task_id]
            again = await node.next_task()
            assert (early.fencing_token, again.fencing_token) == (1, 1)
            await finish(node, again, owner, broker)
        (ending,) = owner.task(task_id).endings
        assert ending.early_start is None

    async def test_counts_an_attempt_whose_worker_died(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            task_id = await publish_quick(broker, owner, node)
            first = await node.next_task()
            await node.say(error_of(first, "WORKER_LOST", retryable=True))
            second = await node.next_task()
            assert (second.attempt, second.fencing_token) == (2, 2)
            await node.say(result_of(second))
            await owner.until_ended(task_id)
        lost, ended = owner.task(task_id).endings
        assert lost.early_start is not None
        assert ended.early_start is None

    async def test_hands_back_in_silence_when_the_bridge_stops(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(service, "_EARLY_S", 60.0)
        monkeypatch.setattr(bootstrap, "DRAIN_S", 0.0)
        async with bridge(redis_server, owner, node):
            task_id = await publish_quick(broker, owner, node)
            await node.next_task()
        assert (await backlog(broker)).visible_count == 1
        assert owner.task(task_id).attempts == 0


class TestDelivery:
    async def test_forwards_the_body_untouched_and_acknowledges_only_after_the_commit(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.may_commit.clear()
        async with bridge(redis_server, owner, node):
            body = bytes(range(256)) * 100
            (task_id,) = await publish(broker, body=body)
            task = await node.next_task()
            assert (task.task_id, task.kind, task.body) == (task_id, "probe", body)
            assert (task.attempt, task.fencing_token, task.encoding) == (1, 1, "identity")
            await node.say(result_of(task, b"\x81\xa1x\x01"))
            await asyncio.wait_for(owner.commit_waits.wait(), SOON_S)
            assert (await backlog(broker)).invisible_count == 1
            owner.may_commit.set()
            await until_acknowledged(broker)
        (ending,) = owner.task(task_id).endings
        assert ending.succeeded is not None
        assert ending.succeeded.result == b"\x81\xa1x\x01"
        assert (ending.engine, ending.engine_version, ending.solve_ms) == ("julia", "0.0.1", 1.5)

    async def test_gives_a_node_no_more_than_its_capacity_and_commits_together(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with FakeNode(capacity=16).running() as node:
            node.answer = result_of
            task_ids = await publish(broker, 200) + await publish(broker, 200, lane="julia")
            async with bridge(redis_server, owner, node):
                await owner.until_ended(*task_ids)
                await until_acknowledged(broker)
                await until_acknowledged(broker, "julia")
            assert node.most_at_work <= 16
        assert all(len(owner.task(task_id).endings) == 1 for task_id in task_ids)
        assert owner.calls["open"] < 400
        assert owner.calls["complete"] < 400

    async def test_passes_on_progress(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            await node.say(
                messages.Progress(
                    task_id=task_id,
                    fencing_token=task.fencing_token,
                    fraction=0.5,
                    stage="solve",
                    bound=-2.5,
                )
            )
            await owner.until(lambda: bool(owner.progress))
            await node.say(result_of(task))
            await owner.until_ended(task_id)
        (report,) = owner.progress
        assert report.progress is not None
        assert (report.progress.fraction, report.progress.objective) == (0.5, None)
        assert report.progress.bound == -2.5

    @pytest.mark.parametrize("reason", ["TASK_TERMINAL", "NOT_FOUND", "ATTEMPTS_EXHAUSTED"])
    async def test_acknowledges_what_needs_no_attempt(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        reason: str,
    ) -> None:
        (task_id,) = await publish(broker)
        owner.refuse_opening[task_id] = reason
        owner.retry_after_ms = 0
        async with bridge(redis_server, owner, node):
            await until_acknowledged(broker)
        assert node.told.empty()

    @pytest.mark.parametrize("reason", ["LEASE_HELD", "NOT_FOUND"])
    async def test_tries_again_what_can_be_opened_later(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        reason: str,
    ) -> None:
        """When the lease of another has ended, or the task is committed at last."""
        (task_id,) = await publish(broker)
        owner.refuse_opening[task_id] = reason
        async with bridge(redis_server, owner, node):
            await owner.until(lambda: owner.calls["open"] >= 2)
            del owner.refuse_opening[task_id]
            await node.say(result_of(await node.next_task()))
            await until_acknowledged(broker)

    async def test_waits_for_an_owner_that_is_away(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.unavailable_count = 3
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            owner.unavailable_count = 3
            await finish(node, task, owner, broker)
        assert len(owner.task(task_id).endings) == 1


class TestClaim:
    """A message whose payload is too large for the queue."""

    async def test_is_honoured_by_the_payload_untouched(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            payload = bytes(range(256)) * (5 * PART_BYTES // 512)
            (task_id,) = await publish_claims(broker, owner, payload)
            task = await node.next_task()
            assert (task.task_id, task.body) == (task_id, payload)
            await finish(node, task, owner, broker)
        assert owner.calls["fetch"] == 3

    async def test_waits_for_an_owner_that_is_away(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.may_fetch.clear()
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish_claims(broker, owner, b"payload")
            await owner.until(lambda: owner.calls["open"] == 1)
            owner.unavailable_count = 2
            owner.may_fetch.set()
            await node.say(result_of(await node.next_task()))
            await owner.until_ended(task_id)
            await until_acknowledged(broker)
        assert len(owner.task(task_id).endings) == 1

    @pytest.mark.parametrize(
        ("payload", "claimed", "reason"),
        [
            (None, 7, "PAYLOAD_LOST"),
            (b"payload", 6, "MESSAGE_MALFORMED"),
            (b"payload", 8, "MESSAGE_MALFORMED"),
            (b"", 7, "MESSAGE_MALFORMED"),
        ],
        ids=["no payload", "more", "less", "nothing"],
    )
    async def test_that_cannot_be_honoured_ends_the_task_at_its_first_delivery(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        payload: bytes | None,
        claimed: int,
        reason: str,
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish_claims(broker, owner, payload, claimed=claimed)
            await owner.until_ended(task_id)
            await until_acknowledged(broker)
        (ending,) = owner.task(task_id).endings
        assert ending.failed is not None
        assert ending.failed.reason == reason
        assert node.told.empty()

    async def test_of_a_task_that_another_attempt_owns_is_given_back(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.may_fetch.clear()
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish_claims(broker, owner, b"payload")
            await owner.until(lambda: owner.calls["open"] == 1)
            owner.task(task_id).attempts += 1
            owner.may_fetch.set()
            await node.say(result_of(await node.next_task()))
            await owner.until_ended(task_id)
        (ending,) = owner.task(task_id).endings
        assert ending.lease is not None
        assert ending.lease.fencing_token == 3

    async def test_is_dropped_with_its_task(
        self,
        redis_server: RedisServer,
        redis: Redis,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
    ) -> None:
        owner.may_fetch.clear()
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish_claims(broker, owner, b"payload")
            await owner.until(lambda: owner.calls["fetch"] == 1)
            await redis.publish(CANCEL_CHANNEL, task_id)
            await owner.until_ended(task_id)
            await until_acknowledged(broker)
            owner.may_fetch.set()
            assert owner.task(task_id).state == "CANCELLED"
        assert node.told.empty()

    async def test_goes_elsewhere_when_its_node_is_lost(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.may_fetch.clear()
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish_claims(broker, owner, b"payload")
            await owner.until(lambda: owner.calls["fetch"] == 1)
            await node.die()
            owner.may_fetch.set()
            task = await node.next_task()
            assert task.attempt == 2
            await node.say(result_of(task))
            await owner.until_ended(task_id)

    async def test_ends_in_time_when_the_bridge_stops(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.may_fetch.clear()
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish_claims(broker, owner, b"payload")
            await owner.until(lambda: owner.calls["fetch"] == 1)
        (ending,) = owner.task(task_id).endings
        assert ending.handed_back is not None
        owner.may_fetch.set()


class TestMemory:
    async def test_is_bounded_while_nodes_do_not_take_the_payloads_of_claims(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with FakeNode(capacity=40).running() as node, bridge(redis_server, owner, node):
            task_ids = await publish_claims(broker, owner, bytes(3 * PART_BYTES), count=40)
            tasks = [await node.next_task() for _ in range(10)]
            renewed = owner.calls["renew"]
            await owner.until(lambda: owner.calls["renew"] >= renewed + 2)
            # Ten fit into 32 MiB; the node has not said that it has read any.
            assert owner.fetched_bytes == 30 * PART_BYTES
            assert node.told.empty()
            for task in tasks[:5]:
                await node.say(accepted(task))
            tasks += [await node.next_task() for _ in range(5)]
            for task in tasks:
                await node.say(result_of(task))
            for _ in range(25):
                await node.say(result_of(await node.next_task()))
            await owner.until_ended(*task_ids)

    async def test_is_bounded_while_outcomes_wait_for_their_commit(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with FakeNode(capacity=4).running() as node:
            node.answer = lambda task: result_of(task, bytes(1024 * 1024))
            owner.may_commit.clear()
            async with bridge(redis_server, owner, node):
                task_ids = await publish(broker, 60)
                # As many as fit into 32 MiB, and those at work when it is full.
                await owner.until(lambda: len(owner.tasks) >= 32)
                renewed = owner.calls["renew"]
                await owner.until(lambda: owner.calls["renew"] >= renewed + 2)
                assert len(owner.tasks) <= 40
                owner.may_commit.set()
                await owner.until_ended(*task_ids)
                await until_acknowledged(broker)


class TestFailure:
    async def test_that_is_final_ends_the_task(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            await node.say(error_of(await node.next_task(), "INFEASIBLE", retryable=False))
            await until_acknowledged(broker)
        (ending,) = owner.task(task_id).endings
        assert ending.failed is not None
        assert ending.failed.reason == "INFEASIBLE"

    async def test_that_may_pass_brings_another_attempt(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            await node.say(error_of(await node.next_task(), "WORKER_LOST", retryable=True))
            second = await node.next_task()
            assert (second.task_id, second.attempt, second.fencing_token) == (task_id, 2, 2)
            await node.say(result_of(second))
            await until_acknowledged(broker)
        handed_back, succeeded = owner.task(task_id).endings
        assert handed_back.handed_back is not None
        assert succeeded.succeeded is not None

    async def test_of_a_node_hands_its_attempts_back_at_once(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            task_ids = await publish(broker, 2)
            await node.next_task()
            await node.next_task()
            await node.die()
            again = [await node.next_task() for _ in task_ids]
            assert sorted(task.task_id for task in again) == sorted(task_ids)
            assert [task.attempt for task in again] == [2, 2]
            for task in again:
                await node.say(result_of(task))
            await until_acknowledged(broker)

    @pytest.mark.parametrize("ending", ["deadline", "cancel"])
    async def test_to_answer_in_time_gets_a_node_that_still_beats_dropped(
        self,
        redis_server: RedisServer,
        redis: Redis,
        broker: Broker,
        owner: FakeOwner,
        ending: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The worker that it kept to itself is free again, and the task is tried once more."""
        monkeypatch.setattr(service, "_ANSWER_GRACE_S", 0.1)
        if ending == "deadline":
            owner.remaining_ms = 100
        async with FakeNode(capacity=1).running() as node, bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            await node.next_task()
            if ending == "cancel":
                await redis.publish(CANCEL_CHANNEL, task_id)
                await node.next_cancel()
            owner.remaining_ms = 60_000
            again = await node.next_task()
            assert (again.task_id, again.attempt) == (task_id, 2)
            await finish(node, again, owner, broker)

    async def test_of_a_stale_attempt_leaves_the_message_to_the_newer_one(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            # Somebody else has opened the next attempt meanwhile.
            owner.task(task_id).attempts += 1
            await node.say(result_of(task))
            await owner.until(lambda: owner.calls["complete"] == 1)
            state = await backlog(broker)
            assert state.invisible_count + state.visible_count == 1
        assert owner.task(task_id).endings == []

    async def test_to_know_the_kind_ends_the_task(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with FakeNode(kinds=["probe"]).running() as node, bridge(redis_server, owner, node):
            (task_id,) = await publish(broker, kind="dispatch")
            await owner.until_ended(task_id)
            await until_acknowledged(broker, kind="dispatch")
        (ending,) = owner.task(task_id).endings
        assert ending.failed is not None
        assert ending.failed.reason == "KIND_UNKNOWN"
        assert node.told.empty()

    async def test_to_prove_the_secret_gets_a_node_no_task(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with FakeNode(secret="another").running() as node, bridge(redis_server, owner, node):
            await publish(broker)
            for _ in range(3):
                await asyncio.wait_for(node.met.acquire(), SOON_S)
            assert node.told.empty()
        assert (await backlog(broker)).visible_count == 1


class TestDoubleDelivery:
    async def test_of_a_message_whose_receipt_ran_out_goes_on_with_the_newer_receipt(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            topic = topic_of()
            await RedisStreamsUnderTest(redis_server).pass_time(topic, timedelta(minutes=1))
            await until(broker, lambda state: state.visible_count == 1)
            await until(broker, lambda state: state.visible_count == 0)
            await node.say(result_of(task))
            await until_acknowledged(broker)
        # Acknowledged with the older receipt, it would have come a third time.
        assert owner.calls["open"] == 1
        assert len(owner.task(task_id).endings) == 1

    async def test_of_two_messages_removes_the_older_one(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            await broker.publish([task_message(task_id)])
            await until(broker, lambda state: state.visible_count + state.invisible_count == 2)
            await until(broker, lambda state: state.visible_count + state.invisible_count == 1)
            await node.say(result_of(task))
            await until_acknowledged(broker)
        assert owner.calls["open"] == 1


class TestLostLease:
    async def test_stops_the_worker_and_drops_what_it_still_brings(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            late = await node.next_task()
            # Somebody else has opened the next attempt meanwhile: the next renewal is refused.
            owner.task(task_id).attempts += 1
            cancel = await node.next_cancel()
            assert cancel.fencing_token == late.fencing_token
            await node.say(result_of(late))
            newest = await node.next_task()
            assert newest.fencing_token == 3
            await node.say(result_of(newest))
            await until_acknowledged(broker)
        (ending,) = owner.task(task_id).endings
        assert ending.lease is not None
        assert ending.lease.fencing_token == 3
        assert owner.calls["complete"] == 1


class TestCancel:
    async def test_reaches_the_worker_and_ends_the_task_when_it_has_stopped(
        self,
        redis_server: RedisServer,
        redis: Redis,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            await redis.publish(CANCEL_CHANNEL, task_id)
            cancel = await node.next_cancel()
            assert (cancel.task_id, cancel.fencing_token) == (task_id, task.fencing_token)
            assert owner.task(task_id).endings == []
            await node.say(error_of(task, "CANCELLED", retryable=False))
            await until_acknowledged(broker)
        (ending,) = owner.task(task_id).endings
        assert ending.cancelled is not None

    async def test_that_was_missed_comes_with_the_renewed_lease(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            owner.task(task_id).cancel_requested = True
            await node.next_cancel()
            await node.say(error_of(task, "CANCELLED", retryable=False))
            await until_acknowledged(broker)


class TestLanes:
    async def test_send_each_engine_its_own_and_prefer_julia_for_the_rest(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with (
            FakeNode("julia").running() as julia,
            FakeNode("python").running() as python,
            bridge(redis_server, owner, julia, python),
        ):
            # Each gets its own first, which also shows that both have joined.
            for lane, node in (("python", python), ("julia", julia), ("auto", julia)):
                (task_id,) = await publish(broker, lane=lane)
                task = await node.next_task()
                assert task.task_id == task_id
                await node.say(result_of(task))
                await owner.until_ended(task_id)
            assert python.told.empty()

    async def test_use_a_worker_that_a_refused_task_left_free(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        # When the node joins, each lane asks for two messages; this one takes a worker away.
        await publish(broker, lane="julia")
        async with bridge(redis_server, owner, node):
            long_one = await node.next_task()
            refused, wanted = [str(uuid4()) for _ in range(2)]
            owner.refuse_opening[refused] = "TASK_TERMINAL"
            await broker.publish([task_message(refused), task_message(wanted)])
            task = await node.next_task()
            assert task.task_id == wanted
            await node.say(result_of(task))
            await node.say(result_of(long_one))
            await owner.until_ended(wanted, long_one.task_id)


class TestKinds:
    """Each kind has a topic of its own."""

    KINDS = ("mpc-step", "dispatch", "probe")

    async def test_that_are_urgent_wait_for_one_task_and_not_for_the_queue(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with (
            FakeNode(capacity=1, kinds=self.KINDS).running() as node,
            bridge(redis_server, owner, node),
        ):
            await publish(broker, 300, kind="dispatch")
            at_work = await node.next_task()
            # By then no receive is under way that began while the worker was free.
            await owner.until(lambda: owner.calls["renew"] >= 1)
            (urgent,) = await publish(broker, kind="mpc-step")
            await until(broker, lambda state: state.invisible_count == 1, kind="mpc-step")
            await node.say(result_of(at_work))
            assert (await node.next_task()).task_id == urgent

    async def test_that_are_urgent_starve_no_other(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        await publish(broker, 60, kind="mpc-step")
        (patient,) = await publish(broker, kind="dispatch")
        async with (
            FakeNode(capacity=2, kinds=self.KINDS).running() as node,
            bridge(redis_server, owner, node),
        ):
            served = [await node.next_task()]
            while served[-1].task_id != patient:
                assert len(served) <= 2 * LONGEST_URGENT_RUN
                # The urgent queue is never empty, and the other one has been asked.
                await until(broker, lambda state: state.visible_count == 0, kind="dispatch")
                await node.say(result_of(served[-1]))
                served.append(await node.next_task())

    async def test_at_their_limit_hold_up_neither_others_nor_their_own_attempts(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        dispatches = await publish(broker, 30, kind="dispatch")
        async with (
            FakeNode(capacity=4, kinds=self.KINDS).running() as node,
            bridge(redis_server, owner, node, kind_concurrency=("dispatch=1",)),
        ):
            long_one = await node.next_task()
            probes = await publish(broker, 20)
            for _ in probes:
                task = await node.next_task()
                assert task.kind == "probe"
                await node.say(result_of(task))
            await owner.until_ended(*probes)
            assert (await backlog(broker, kind="dispatch")).visible_count >= 28
            node.answer = result_of
            await node.say(result_of(long_one))
            await owner.until_ended(*dispatches)
            await until_acknowledged(broker, kind="dispatch")
        assert all(owner.task(task_id).attempts == 1 for task_id in dispatches)

    async def test_of_every_choice_count_to_one_limit(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with (
            FakeNode("julia", capacity=4).running() as julia,
            FakeNode("python", capacity=4).running() as python,
            bridge(redis_server, owner, julia, python, kind_concurrency=("probe=2",)),
        ):
            task_ids = [
                task_id
                for lane in ("auto", "julia", "python")
                for task_id in await publish(broker, 10, lane=lane)
            ]
            await owner.until(lambda: owner.calls["renew"] >= 2)
            assert julia.told.qsize() + python.told.qsize() == 2
            julia.answer = python.answer = result_of
            for node in (julia, python):
                for task in [await node.next_task() for _ in range(node.told.qsize())]:
                    await node.say(result_of(task))
            await owner.until_ended(*task_ids)


class TestPoison:
    async def test_that_cannot_be_read_is_a_dead_letter_after_its_attempts(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(lanes, "_POISON_DELAY", timedelta(milliseconds=10))
        node.answer = result_of
        poison = Message(topic_of(), b"\xc1", "poison", {"task_id": "none", "kind": "probe"})
        async with bridge(redis_server, owner, node):
            (neighbour,) = await publish(broker)
            (message_id,) = await broker.publish([poison])
            neighbours = [neighbour, *await publish(broker, 20)]
            await until(broker, lambda state: state.dead_letter_count == 1)
            await owner.until_ended(*neighbours)
        (letter,) = await broker.consumer(topic_of()).dead_letters(10)
        assert (letter.message_id, letter.attempts) == (message_id, QUEUE_MAX_ATTEMPTS)
        assert letter.error is not None
        assert "task_id" in letter.error
        assert letter.holder
        assert all(owner.task(task_id).attempts == 1 for task_id in neighbours)

    async def test_whose_task_has_no_attempt_left_is_a_dead_letter_with_the_last_error(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker, body=b"\x81")
            task = await node.next_task()
            owner.dead_letter_errors[task_id] = "none of 5 attempts succeeded"
            await node.say(error_of(task, "WORKER_LOST", retryable=True))
            await until(broker, lambda state: state.dead_letter_count == 1)
            await until_acknowledged(broker)
        (letter,) = await broker.consumer(topic_of()).dead_letters(10)
        assert (letter.properties["task_id"], letter.body) == (task_id, b"\x81")
        assert letter.error == "none of 5 attempts succeeded"

    @pytest.mark.parametrize("reason", ["ATTEMPTS_EXHAUSTED", "TASK_TERMINAL"])
    async def test_whose_attempts_were_used_up_meanwhile_is_a_dead_letter(
        self,
        redis_server: RedisServer,
        broker: Broker,
        owner: FakeOwner,
        node: FakeNode,
        reason: str,
    ) -> None:
        (task_id,) = await publish(broker)
        owner.refuse_opening[task_id] = reason
        owner.dead_letter_errors[task_id] = "its lease ended without a word"
        async with bridge(redis_server, owner, node):
            await until(broker, lambda state: state.dead_letter_count == 1)
        (letter,) = await broker.consumer(topic_of()).dead_letters(10)
        assert letter.error == "its lease ended without a word"
        assert node.told.empty()


class TestBusyNode:
    async def test_costs_a_task_neither_attempts_nor_deliveries(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            for _ in range(QUEUE_MAX_ATTEMPTS + 2):
                await node.say(error_of(await node.next_task(), "NODE_BUSY", retryable=True))
                # It has room again.
                await node.say(messages.Heartbeat(sequence=1, busy=0, others=0))
            await node.say(result_of(await node.next_task()))
            await owner.until_ended(task_id)
            await until_acknowledged(broker)
        *busy, done = owner.task(task_id).endings
        assert all(ending.handed_back and ending.handed_back.excused for ending in busy)
        assert done.succeeded is not None
        assert (await backlog(broker)).dead_letter_count == 0

    async def test_is_left_alone_until_it_says_that_it_has_room(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with (
            FakeNode(capacity=1).running() as small,
            FakeNode(capacity=4).running() as large,
            bridge(redis_server, owner, small, large),
        ):
            # All workers of both, which shows that both have joined.
            first = await publish(broker, 5)
            tasks = [(node, await node.next_task()) for node in (small, large, large, large, large)]
            for node, task in tasks:
                await node.say(result_of(task))
            await owner.until_ended(*first)
            (task_id,) = await publish(broker)
            await large.say(error_of(await large.next_task(), "NODE_BUSY", retryable=True))
            # By what it was given the large one would have the most free workers again.
            await small.say(result_of(await small.next_task()))
            await owner.until_ended(task_id)
            await large.say(messages.Heartbeat(sequence=1, busy=2, others=2))
            await publish(broker, 1)
            await large.next_task()

    async def test_gets_no_more_than_others_leave_it(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with FakeNode(capacity=4).running() as node, bridge(redis_server, owner, node):
            (first,) = await publish(broker)
            task = await node.next_task()
            # What is said before the result is heard before it.
            await node.say(messages.Heartbeat(sequence=1, busy=4, others=3))
            await node.say(result_of(task))
            await owner.until_ended(first)
            await publish(broker, 4)
            tasks = [await node.next_task()]
            renewed = owner.calls["renew"]
            await owner.until(lambda: owner.calls["renew"] > renewed)
            assert node.told.empty()
            await node.say(messages.Heartbeat(sequence=2, busy=1, others=0))
            tasks += [await node.next_task() for _ in range(3)]
            assert len({task.task_id for task in tasks}) == 4


class TestSeveralNodes:
    async def test_share_the_work_by_their_free_workers(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with (
            FakeNode(capacity=1).running() as small,
            FakeNode(capacity=3).running() as large,
            bridge(redis_server, owner, small, large),
        ):
            await asyncio.gather(*(node.met.acquire() for node in (small, large)))
            task_ids = await publish(broker, 4)
            tasks = [(large, await large.next_task()) for _ in range(3)]
            tasks.append((small, await small.next_task()))
            for node, task in tasks:
                await node.say(result_of(task))
            await owner.until_ended(*task_ids)


class TestAhead:
    """A node with a queue is sent quick tasks before its worker is free."""

    @asynccontextmanager
    async def with_tasks_ahead(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> AsyncIterator[tuple[FakeNode, list[messages.TaskMessage]]]:
        """A node with one worker that has three tasks, of which the worker has the first."""
        async with (
            FakeNode(capacity=1, queue=4).running() as node,
            bridge(redis_server, owner, node),
        ):
            await make_known_as_quick(broker, owner, node)
            await publish(broker, 3)
            tasks = [await node.next_task() for _ in range(3)]
            await node.say(accepted(tasks[0]))
            yield node, tasks

    async def test_they_are_worked_on_one_after_the_other(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with self.with_tasks_ahead(redis_server, broker, owner) as (node, tasks):
            for task in tasks:
                await node.say(result_of(task))
            await until_acknowledged(broker)
        assert [task.attempt for task in tasks] == [1, 1, 1]

    async def test_lost_with_their_node_they_are_the_same_attempt_at_the_next(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with self.with_tasks_ahead(redis_server, broker, owner) as (node, tasks):
            await node.die()
            again: dict[str, messages.TaskMessage] = {}
            while len(again) < 3:
                # One worker, and of the new connection nothing is known yet.
                task = await node.next_task()
                again[task.task_id] = task
                await node.say(result_of(task))
            await until_acknowledged(broker)
        attempts = [again[task.task_id].attempt for task in tasks]
        tokens = [again[task.task_id].fencing_token for task in tasks]
        assert attempts == tokens == [2, 1, 1]
        assert [len(owner.task(task.task_id).endings) for task in tasks] == [2, 1, 1]

    async def test_those_that_wait_go_to_a_worker_that_is_idle(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner
    ) -> None:
        async with (
            FakeNode(capacity=1, queue=4).running() as node,
            FakeNode(capacity=1).running() as other,
            bridge(redis_server, owner, node, other),
        ):
            await asyncio.gather(*(each.met.acquire() for each in (node, other)))
            await publish(broker, 2)
            elsewhere = await other.next_task()
            await node.say(result_of(await node.next_task()))
            await make_known_as_quick(broker, owner, node)
            await publish(broker, 3)
            tasks = [await node.next_task() for _ in range(3)]
            await node.say(accepted(tasks[0]))
            other.answer = result_of
            await other.say(result_of(elsewhere))
            for _ in range(2):
                cancel = await node.next_cancel()
                recalled = next(task for task in tasks if task.task_id == cancel.task_id)
                await node.say(error_of(recalled, "CANCELLED", retryable=False))
            await owner.until_ended(*(task.task_id for task in tasks[1:]))
            await node.say(result_of(tasks[0]))
            await until_acknowledged(broker)
        for task in tasks:
            (ending,) = owner.task(task.task_id).endings
            assert ending.succeeded is not None
            assert owner.task(task.task_id).attempts == 1

    async def test_cancelled_they_end_as_cancelled(
        self, redis_server: RedisServer, redis: Redis, broker: Broker, owner: FakeOwner
    ) -> None:
        async with self.with_tasks_ahead(redis_server, broker, owner) as (node, tasks):
            await redis.publish(CANCEL_CHANNEL, tasks[2].task_id)
            await node.next_cancel()
            await node.say(error_of(tasks[2], "CANCELLED", retryable=False))
            for task in tasks[:2]:
                await node.say(result_of(task))
            await until_acknowledged(broker)
        (ending,) = owner.task(tasks[2].task_id).endings
        assert ending.cancelled is not None


class TestDrain:
    async def test_hands_back_what_is_not_done_and_ends_in_time(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            await node.next_task()
            began = time.monotonic()
        assert time.monotonic() - began < 5
        (ending,) = owner.task(task_id).endings
        assert ending.handed_back is not None
        assert ending.handed_back.excused
        state = await backlog(broker)
        assert state.invisible_count + state.visible_count == 1

    async def test_ends_in_time_although_the_owner_does_not_answer(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        owner.may_commit.clear()
        async with bridge(redis_server, owner, node):
            await publish(broker)
            await node.say(result_of(await node.next_task()))
            await asyncio.wait_for(owner.commit_waits.wait(), SOON_S)
            began = time.monotonic()
            owner_leaves = asyncio.get_running_loop().call_later(6, owner.may_commit.set)
        owner_leaves.cancel()
        assert time.monotonic() - began < 5
        state = await backlog(broker)
        assert state.invisible_count + state.visible_count == 1

    async def test_lets_what_is_short_end(
        self, redis_server: RedisServer, broker: Broker, owner: FakeOwner, node: FakeNode
    ) -> None:
        async with bridge(redis_server, owner, node):
            (task_id,) = await publish(broker)
            task = await node.next_task()
            answering = asyncio.create_task(node.say(result_of(task)))
        await answering
        (ending,) = owner.task(task_id).endings
        assert ending.succeeded is not None
        await until_acknowledged(broker)
