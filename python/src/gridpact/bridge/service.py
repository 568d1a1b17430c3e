"""Takes tasks off the queue, brings each to a node, and its outcome to the owner of tasks.

A message is acknowledged only after its task has ended in the owner's database. Whatever dies
before that, the message comes back: from the queue when nobody extends its invisibility, from here
when the node is lost. A late or doubled outcome is refused by its fencing token.

**Lanes.** Every engine choice and kind has a topic of its own, so that nothing waits behind tasks
of another kind. A lane receives as many deliveries as workers are free for it. Beyond that it holds
one that waits, or as many as there are workers if it is urgent: a worker that becomes free goes to
whoever's turn it is (domain.Turns), however long the queue takes to answer.

**In advance.** Nodes are sent quick tasks before a worker is free (domain.Fleet). One that no
worker has taken goes to another node, as the same attempt, when its node is lost, or when it waits
while another worker is idle.

**Early.** The first attempt of a task of a quick kind begins before it is opened, and is opened and
ended by one commit; 50 ms later it is opened if it is not done. The owner takes such an end only if
there was no other attempt: else the time of a worker was wasted, and nothing else has happened.

Nothing here grows without bound: deliveries at nodes are as many as those take, those that
wait as many as said above. Bodies and outcomes that wait, as while the owner is away, stop the
receiving beyond 32 MiB; payloads that messages only claim are 32 MiB, or a single one, from when
they are asked for until workers have them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from gridpact.bridge.domain import (
    AT_ONCE,
    NODE_BUSY,
    Disposal,
    Ending,
    Failed,
    Fleet,
    HandedBack,
    Header,
    LaneRules,
    Lease,
    Opened,
    Opening,
    Outcome,
    Progress,
    Refused,
    Renewed,
    Return,
    Succeeded,
    Turns,
    after_ending,
    after_refused_opening,
    after_refused_payload,
)
from gridpact.bridge.lane import BATCH_COUNT, Held, Lane
from gridpact.bridge.ports import CancelWishes, TaskOwner, WorkingNode
from gridpact.broker.port import (
    BrokerUnavailable,
    Consumer,
    Delivery,
)
from gridpact.kit.allowance import Allowance
from gridpact.kit.background import running
from gridpact.kit.errors import GridpactError
from gridpact.kit.group_commit import GroupCommit
from gridpact.kit.log import Log
from gridpact.kit.newest import Newest
from gridpact.kit.violation import ContractError

log = Log(__name__)

Answer = TypeVar("Answer")

# Leases last 8 s and messages stay invisible for 10 s: two extensions may fail.
_EXTENSION_INTERVAL_S = 2.0
_PROGRESS_INTERVAL_S = 0.1
_RECALL_INTERVAL_S = 0.5
# An attempt that began early is opened after this long: what nodes have in advance takes less.
_EARLY_S = 0.05
# While so much waits for the owner to commit it, nothing begins early: the owner may be away.
_EARLY_BYTES = 1024 * 1024
# What the contract can say of one whose owner was away.
_LONGEST_EARLY_MS = 86_400_000.0
_RETURNED_COUNT = 10_000
# Under load, so that a transaction is about many.
_COMPLETING_PAUSE_S = 0.01
# How long after a deadline or a cancel a node may be silent about an attempt. It keeps both within
# a second, unless something is wrong with it that its heartbeats do not tell.
_ANSWER_GRACE_S = 15.0
_BATCH_BYTES = 8 * 1024 * 1024
_WAITING_BYTES = 32 * 1024 * 1024
_CLAIMED_BYTES = 32 * 1024 * 1024
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 2.0

_BRIDGE_STOPS = HandedBack("UNAVAILABLE", "the bridge stops", excused=True)


class _Stopping(Exception):
    """The bridge drains, and what was tried did not work at once."""


class Bridge:
    """A NodeHost. ``run`` serves until ``drain`` was called and everything held is let go."""

    def __init__(
        self,
        owner: TaskOwner,
        cancels: CancelWishes,
        consumers: Mapping[LaneRules, Consumer],
        bridge_id: str,
        read_header: Callable[[Mapping[str, str]], Header],
        invisible_duration: timedelta,
        max_attempts: int,
        ending_bytes: Callable[[Ending], int],
    ) -> None:
        self._owner = owner
        self._cancels = cancels
        self._read_header = read_header
        self._lanes = [
            Lane(rules, consumer, bridge_id, invisible_duration, max_attempts)
            for rules, consumer in consumers.items()
        ]
        self._turns = Turns(
            urgent=[lane for lane in self._lanes if lane.rules.is_urgent],
            others=[lane for lane in self._lanes if not lane.rules.is_urgent],
        )
        self._fleet = Fleet()
        # Of each kind, how many have a worker.
        self._at_work: Counter[str] = Counter()
        self._room_changed = asyncio.Event()
        self._nodes_changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._held: dict[str, Held] = {}
        self._ending_bytes = ending_bytes
        self._uncommitted_bytes = 0
        self._claimed = Allowance(_CLAIMED_BYTES)
        self._reports: dict[Lease, Progress] = {}
        self._reported = asyncio.Event()
        # Tasks whose messages were returned to the queue, the newest last: what comes again need
        # not be a first attempt, and no queue counts what was handed back.
        self._returned = Newest(_RETURNED_COUNT)
        self._attempts = asyncio.TaskGroup()
        self._opening = GroupCommit(
            owner.open_attempts,
            max_count=BATCH_COUNT,
        )
        self._completing = GroupCommit(
            owner.complete_attempts,
            weight=ending_bytes,
            max_count=BATCH_COUNT,
            max_weight=_BATCH_BYTES,
            pause_s=_COMPLETING_PAUSE_S,
        )

    # What runs

    async def run(self) -> None:
        """Serves; ends after ``drain``."""
        services = {
            # One that gets no answer keeps no other from its turn.
            **{f"extend {lane.rules}": self._repeatedly(lane.extend) for lane in self._lanes},
            "renew": self._repeatedly(self._renew),
            "give up": self._repeatedly(self._give_up_waiting),
            "recall": self._repeatedly(self._recall, _RECALL_INTERVAL_S),
            "report": self._report(),
            "cancels": self._heed_cancels(),
        }
        async with AsyncExitStack() as stack:
            for name, service in services.items():
                await stack.enter_async_context(running(service, name))
            async with self._attempts:
                async with asyncio.TaskGroup() as lanes:
                    for lane in self._lanes:
                        lanes.create_task(self._serve(lane))
                for held in [it for lane in self._lanes for it in lane.waiting]:
                    # What is an attempt already ends as one.
                    if held.opened is None:
                        await self._let_go(held, Return(AT_ONCE))
        self._drained.set()

    async def drain(self, grace_s: float, hand_back_s: float) -> None:
        """Receives nothing more and gives attempts ``grace_s`` to end; hands back the others.

        What cannot be handed back within ``hand_back_s`` comes back by itself.
        """
        self._stopping.set()
        self._room_changed.set()
        self._nodes_changed.set()
        at_work = [held.outcome for held in self._held.values() if held.opened is not None]
        if at_work:
            await asyncio.wait(at_work, timeout=grace_s)
        for held in self._held.values():
            if not held.outcome.done():
                held.settle(_BRIDGE_STOPS)
                self._cancel(held)
        with suppress(TimeoutError):
            async with asyncio.timeout(hand_back_s):
                await self._drained.wait()

    async def _serve(self, lane: Lane) -> None:
        """Receives what there is room for."""
        while not self._stopping.is_set():
            max_count = self._wanted_count(lane)
            if max_count <= 0:
                # Where there are no workers, it is not for tasks that end to change that.
                capacity = self._fleet.capacity(lane.rules.choice, lane.rules.kind)
                await _until_set(self._room_changed if capacity else self._nodes_changed)
                continue
            try:
                deliveries = await self._persistently("receive", partial(lane.receive, max_count))
            except _Stopping:
                return
            mended = [self._quietly(mend) for it in deliveries if (mend := self._hold(lane, it))]
            self._place()
            # What has a node now leaves before more is asked for.
            await asyncio.sleep(0)
            for mend in mended:
                await mend

    def _wanted_count(self, lane: Lane) -> int:
        """How many deliveries the lane has room for."""
        choice, kind = lane.rules.choice, lane.rules.kind
        waiting = [held for lane in self._lanes for held in lane.waiting]
        waiting_bytes = sum(len(held.delivery.body) for held in waiting)
        if self._uncommitted_bytes + waiting_bytes > _WAITING_BYTES:
            return 0
        capacity = self._fleet.capacity(choice, kind)
        ahead = capacity if lane.rules.is_urgent else min(capacity, 1)
        if self._fleet.free_count(choice, kind) > 0:
            count = self._fleet.wants(choice, kind)
        else:
            count = ahead
        count -= len(lane.waiting)
        if lane.rules.concurrency is not None:
            same = self._at_work[kind] + sum(held.header.kind == kind for held in waiting)
            count = min(count, lane.rules.concurrency - same)
        return min(count, BATCH_COUNT)

    def _hold(self, lane: Lane, delivery: Delivery) -> Awaitable[None] | None:
        """Holds the delivery, or gives what is to be done with it instead."""
        try:
            header = self._read_header(delivery.properties)
        except ContractError as error:
            return lane.refuse(delivery, f"{error.reason}: {error.message}")
        held = self._held.get(header.task_id)
        if held is not None:
            return held.lane.adopt(held, delivery)
        held = Held(lane, delivery, header)
        self._held[header.task_id] = held
        lane.hold(held)
        lane.waiting.append(held)
        return None

    def _place(self) -> None:
        """Gives free workers to what waits, each lane in its turn."""
        while not self._stopping.is_set():
            takers = (it for it in self._turns.order() if it.waiting and self._took_worker(it))
            lane = next(takers, None)
            if lane is None:
                break
            held = lane.waiting.popleft()
            others_wait = any(it.waiting and not it.rules.is_urgent for it in self._lanes)
            self._turns.served(lane, others_wait=others_wait)
            if held.opened is not None:
                self._begin_to_send(held, held.opened)
            else:
                self._attempts.create_task(self._attempt(held, self._early_start(held)))

    def _took_worker(self, lane: Lane) -> bool:
        """Whether the oldest delivery need not wait: it has a node now, or there is none for it."""
        while lane.waiting and lane.waiting[0].outcome.done():
            # It was cancelled meanwhile.
            lane.waiting.popleft()
        if not lane.waiting:
            return False
        rules, held = lane.rules, lane.waiting[0]
        if rules.concurrency is not None and self._at_work[rules.kind] >= rules.concurrency:
            return False
        node = self._fleet.take(rules.choice, held.header.kind)
        if node is not None:
            held.node = node  # pyright: ignore[reportAttributeAccessIssue]  # only WorkingNodes join
        elif (
            self._fleet.knows(rules.choice, held.header.kind)
            or self._fleet.free_count(rules.choice, held.header.kind) == 0
        ):
            return False
        self._at_work[rules.kind] += 1
        held.is_placed = True
        return True

    def _early_start(self, held: Held) -> Opened | None:
        """What the first attempt of the task will be, where it may begin before it is opened."""
        timeout, node = held.header.timeout_epoch_ms, held.node
        if (
            timeout is None
            or node is None
            or held.delivery.attempt > 1
            or held.header.task_id in self._returned
            or held.header.claim_bytes is not None
            or self._uncommitted_bytes > _EARLY_BYTES
            or not self._fleet.is_quick(node, held.header.kind)
        ):
            return None
        remaining_ms = self._owner.remaining_ms(timeout)
        if remaining_ms is None or remaining_ms <= 0:
            return None
        lease = Lease(held.header.task_id, 1)
        return Opened(lease, attempt=1, remaining_ms=remaining_ms, cancel_requested=False)

    async def _attempt(self, held: Held, early: Opened | None) -> None:
        """One attempt, from its place at a node to the disposal of its message."""
        if early is not None:
            held.opened, held.is_early = early, True
            held.opened_s = asyncio.get_running_loop().time()
        else:
            refused = await self._open(held)
            if refused is not None:
                self._release(held)
                await self._let_go(held, refused)
                return
        assert held.opened is not None
        self._begin_to_send(held, held.opened)
        if early is not None:
            await self._open_late(held)
        outcome = await held.outcome
        node = held.node
        # The worker is free: the next task need not wait for this one's commit.
        self._release(held)
        self._reports.pop(held.opened.lease, None)
        if held.verdict is None and held.is_early and _is_excused(outcome):
            # The owner has not heard of it yet, and need not.
            held.verdict = Return(AT_ONCE)
        await self._let_go(held, held.verdict or await self._complete(held, node, outcome))

    async def _open(self, held: Held) -> Disposal | None:
        """Opens the attempt, or gives what is to be done with the message instead."""
        if self._stopping.is_set():
            return Return(AT_ONCE)
        opening = Opening(held.header.task_id, held.is_early)
        try:
            answer = await self._persistently("open", lambda: self._opening.add(opening))
        except _Stopping:
            return Return(AT_ONCE)
        if isinstance(answer, Refused):
            return after_refused_opening(answer)
        held.opened = answer
        held.opened_s = asyncio.get_running_loop().time()
        return None

    async def _open_late(self, held: Held) -> None:
        """Opens an attempt that began early, unless it is done in time."""
        done, _ = await asyncio.wait([held.outcome], timeout=_EARLY_S)
        if done:
            return
        refused = await self._open(held)
        if refused is not None:
            # Another attempt owns the task, or it has ended.
            held.verdict = refused
            self._cancel(held)
            return
        assert held.opened is not None
        held.is_early = False
        if held.early_progress is not None:
            self.progressed(held.opened.lease, held.early_progress)
        if held.opened.cancel_requested:
            self._cancel(held)

    async def _complete(self, held: Held, node: WorkingNode | None, outcome: Outcome) -> Disposal:
        """Brings the outcome to the owner; gives what is to be done with the message."""
        assert held.opened is not None
        engine, version = (node.engine, node.engine_version) if node is not None else ("", "")
        elapsed_s = asyncio.get_running_loop().time() - held.opened_s
        elapsed_ms = min(elapsed_s * 1000, _LONGEST_EARLY_MS)
        ending = Ending(
            held.opened.lease, engine, version, outcome, elapsed_ms if held.is_early else None
        )
        weight = len(held.delivery.body) + self._ending_bytes(ending)
        self._uncommitted_bytes += weight
        try:
            answer = await self._persistently("complete", lambda: self._completing.add(ending))
        except _Stopping:
            # Whether it was committed is not known; the next bridge will be told.
            return Return(AT_ONCE)
        finally:
            self._uncommitted_bytes -= weight
            self._room_changed.set()
        if isinstance(answer, Refused):
            log.info("outcome-refused", task_id=held.header.task_id, reason=answer.reason)
            if held.is_early:
                return after_refused_opening(answer)
        return after_ending(answer, held.opened.attempt, excused=_is_excused(outcome))

    def _begin_to_send(self, held: Held, opened: Opened) -> None:
        claimed = held.header.claim_bytes
        if claimed is None or held.node is None:
            self._send(held, opened, held.delivery.body)
        else:
            sending = self._send_claimed(held, opened, claimed)
            self._attempts.create_task(_unless_done(held.outcome, sending))

    async def _send_claimed(self, held: Held, opened: Opened, size: int) -> None:
        """Sends the payload that the owner has kept; returns when it takes up no memory here."""
        held.is_off = is_off = asyncio.Event()
        async with self._claimed.share(size):
            try:
                payload = await self._persistently(
                    "fetch", lambda: self._owner.fetch_payload(opened.lease, size)
                )
            except _Stopping:
                held.settle(_BRIDGE_STOPS)
                return
            if isinstance(payload, Refused):
                log.warning("payload-refused", task_id=held.header.task_id, reason=payload.reason)
                if payload.reason == "LEASE_STALE":
                    held.verdict = Return(AT_ONCE)
                held.settle(after_refused_payload(payload))
                return
            self._send(held, opened, payload)
            del payload
            await is_off.wait()

    def _send(self, held: Held, opened: Opened, body: bytes) -> None:
        """Sends an attempt to the node where it has a place."""
        node, now_s = held.node, asyncio.get_running_loop().time()
        if held.outcome.done():
            return
        if node is None:
            words = f"no connected node computes {held.header.kind}"
            held.settle(Failed("KIND_UNKNOWN", words))
            return
        waited_ms = int((now_s - held.opened_s) * 1000)
        if waited_ms > 0:
            opened = replace(opened, remaining_ms=max(1, opened.remaining_ms - waited_ms))
        try:
            node.send_task(opened, held.header, body)
        except ContractError as error:
            held.settle(Failed(error.reason, error.message, error.violations))
            return
        held.sent_s = now_s
        self._expect_outcome(held, node, opened.remaining_ms / 1000 + _ANSWER_GRACE_S)
        if opened.cancel_requested:
            self._cancel(held)

    def _displace(self, held: Held) -> None:
        """Lets an attempt that no worker has taken wait for another place."""
        if held.overdue is not None:
            held.overdue.cancel()
        held.is_accepted = held.is_recalled = False
        held.sent_s = 0.0
        held.is_off.set()
        held.lane.waiting.appendleft(held)
        self._release(held)

    async def _repeatedly(
        self, call: Callable[[], Awaitable[None]], interval_s: float = _EXTENSION_INTERVAL_S
    ) -> None:
        """Keeps what is held: leases at the owner, invisibility at the queue."""
        while True:
            await asyncio.sleep(interval_s)
            await self._quietly(call())

    async def _recall(self) -> None:
        """Asks for tasks back that wait at their node while another worker is idle."""
        now_s = asyncio.get_running_loop().time()
        idle: dict[tuple[str, str], int] = {}
        for held in self._held.values():
            if (
                held.node is None
                or held.opened is None
                or not held.sent_s
                or held.is_accepted
                or held.is_recalled
                or held.cancel_sent
                or held.node.queue == 0
                or now_s < held.sent_s + _RECALL_INTERVAL_S
            ):
                continue
            choice, kind = held.lane.rules.choice, held.header.kind
            left = idle.setdefault((choice, kind), self._fleet.idle_count(choice, kind))
            if left > 0:
                idle[choice, kind] = left - 1
                held.is_recalled = True
                held.node.send_cancel(held.opened.lease)
                self._expect_outcome(held, held.node, _ANSWER_GRACE_S)

    async def _renew(self) -> None:
        attempts = [
            (held, held.opened.lease)
            for held in self._held.values()
            if held.opened is not None and not held.is_early and held.verdict is None
        ]
        for start in range(0, len(attempts), BATCH_COUNT):
            chunk = attempts[start : start + BATCH_COUNT]
            answers = await self._owner.renew_leases([lease for _, lease in chunk])
            for (held, lease), answer in zip(chunk, answers, strict=True):
                match answer:
                    case Renewed(cancel_requested=False):
                        pass
                    case Renewed():
                        self._cancel(held)
                    case Refused(reason) if self._held.get(lease.task_id) is held:
                        if held.outcome.done():
                            continue
                        log.warning("lease-lost", task_id=lease.task_id, reason=reason)
                        held.verdict = Return(AT_ONCE)
                        self._cancel(held)
                    case Refused():
                        pass

    async def _give_up_waiting(self) -> None:
        """Hands back what waits for nodes that are gone, or whose workers are all with others."""
        for lane in self._lanes:
            if not self._fleet.capacity(lane.rules.choice, lane.rules.kind):
                while lane.waiting:
                    held = lane.waiting.popleft()
                    if held.opened is None:
                        await self._let_go(held, Return(AT_ONCE))
                    else:
                        words = "no worker took it, and no node is left to try"
                        held.settle(HandedBack(NODE_BUSY, words, excused=True))
        self._room_changed.set()

    async def _report(self) -> None:
        """Sends the newest progress of each attempt, all together, ten times a second at most."""
        while True:
            await self._reported.wait()
            self._reported.clear()
            reports = list(self._reports.items())[:BATCH_COUNT]
            for lease, _ in reports:
                del self._reports[lease]
            if reports:
                await self._quietly(self._owner.report_progress(reports))
            if self._reports:
                self._reported.set()
            await asyncio.sleep(_PROGRESS_INTERVAL_S)

    async def _heed_cancels(self) -> None:
        async for task_id in self._cancels.wishes():
            held = self._held.get(task_id)
            if held is not None:
                self._cancel(held)

    def _cancel(self, held: Held) -> None:
        """Asks the node once to stop; the attempt ends by the node's answer."""
        if held.cancel_sent or held.opened is None:
            return
        held.cancel_sent = True
        if held.node is None or not held.sent_s:
            held.settle(Failed("CANCELLED", "cancelled before a worker had it"))
            return
        held.node.send_cancel(held.opened.lease)
        self._expect_outcome(held, held.node, _ANSWER_GRACE_S)

    def _expect_outcome(self, held: Held, node: WorkingNode, within_s: float) -> None:
        """Drops the node if the attempt has no outcome by then: its worker may be lost for good.

        Back again, it has as many free workers as it says; of the attempt there is nothing left.
        """
        if held.overdue is not None:
            held.overdue.cancel()
        if held.outcome.done():
            return
        why = f"no outcome of task {held.header.task_id} in time"
        held.overdue = asyncio.get_running_loop().call_later(within_s, node.drop, why)

    # What nodes say

    def joined(self, node: WorkingNode) -> None:
        self._fleet.join(node)
        self._nodes_have_changed()

    def left(self, node: WorkingNode) -> None:
        self._fleet.leave(node)
        for held in list(self._held.values()):
            if held.node is not node or held.outcome.done():
                continue
            if node.queue > 0 and held.sent_s and not held.is_accepted and not held.cancel_sent:
                self._displace(held)
            else:
                held.settle(HandedBack("WORKER_LOST", f"node {node.node_id} was lost"))
        self._nodes_have_changed()

    def shared(self, node: WorkingNode, others_count: int) -> None:
        self._fleet.note_others(node, others_count)
        self._nodes_have_changed()

    def accepted(self, lease: Lease) -> None:
        held = self._attempt_of(lease)
        if held is not None:
            held.is_accepted = True
            held.is_off.set()

    def progressed(self, lease: Lease, progress: Progress) -> None:
        held = self._attempt_of(lease)
        if held is None:
            return
        if held.is_early:
            held.early_progress = progress
        else:
            self._reports[lease] = progress
            self._reported.set()

    def ended(self, lease: Lease, outcome: Outcome) -> None:
        held = self._attempt_of(lease)
        if held is None:
            return
        if isinstance(outcome, Succeeded) and held.node is not None:
            self._fleet.worked(held.node, held.header.kind, outcome.solve_ms)
        if isinstance(outcome, HandedBack) and outcome.reason == NODE_BUSY and held.node:
            # Its next heartbeat tells how many workers others have.
            self._fleet.note_full(held.node)
        if held.is_recalled and not held.cancel_sent and _is_cancelled(outcome):
            self._displace(held)
        else:
            held.settle(outcome)

    # What all of it needs

    def _attempt_of(self, lease: Lease) -> Held | None:
        held = self._held.get(lease.task_id)
        return held if held and held.opened and held.opened.lease == lease else None

    def _release(self, held: Held) -> None:
        """The place that the delivery was given is free."""
        if not held.is_placed:
            return
        held.is_placed = False
        self._at_work[held.lane.rules.kind] -= 1
        if held.node is not None:
            node, held.node = held.node, None
            self._fleet.release(node, held.header.kind)
        self._room_has_changed()

    def _room_has_changed(self) -> None:
        self._place()
        self._room_changed.set()

    def _nodes_have_changed(self) -> None:
        self._room_has_changed()
        self._nodes_changed.set()

    async def _let_go(self, held: Held, disposal: Disposal) -> None:
        # Before anything else: what is handed back may be delivered again at once, to us.
        del self._held[held.header.task_id]
        if isinstance(disposal, Return):
            self._returned.note([held.header.task_id])
        await held.lane.dispose(held, disposal)

    async def _persistently(self, what: str, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of a call that is repeated, with backoff and jitter, until there is one.

        What is held meanwhile stays held: giving it back would use up its deliveries. Raises
        _Stopping instead of repeating when the bridge drains.
        """
        failed_count = 0
        while True:
            try:
                return await call()
            except (GridpactError, BrokerUnavailable) as error:
                if self._stopping.is_set():
                    raise _Stopping from error
                delay_s = min(_FIRST_RETRY_S * 2**failed_count, _LONGEST_RETRY_S)
                failed_count = min(failed_count + 1, 16)
                log.warning(f"{what}-failed", cause=str(error), retry_s=round(delay_s, 2))
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def _quietly(self, call: Awaitable[object]) -> None:
        """A call that is made again anyway, or whose failure mends itself."""
        try:
            await call
        except (GridpactError, BrokerUnavailable) as error:
            log.warning("retried-later", cause=str(error))


async def _until_set(event: asyncio.Event) -> None:
    event.clear()
    await event.wait()


def _is_excused(outcome: Outcome) -> bool:
    return isinstance(outcome, HandedBack) and outcome.excused


def _is_cancelled(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and outcome.reason == "CANCELLED"


async def _unless_done(done: asyncio.Future[Outcome], work: Coroutine[None, None, None]) -> None:
    """Does the work, or as much of it as there is until ``done``."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait([working, done], return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
    with suppress(asyncio.CancelledError):
        await working
