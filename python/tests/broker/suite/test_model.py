"""Any sequence of calls, by several holders, with time passing: the broker agrees with a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gridpact.broker.port import (
    DeadLetter,
    Delivery,
    Message,
    MessageId,
    Receipt,
    ReceiptExpired,
    one_line,
)
from tests.broker.suite.harness import MAX_ATTEMPTS, BrokerUnderTest

pytestmark = pytest.mark.timeout(300)

# Whole minutes last, half minutes pass: the seconds that a run really takes never tip a balance.
# Where time cannot be shifted nothing ends but what is handed back.
MINUTES = st.integers(1, 4)
GROUPS = st.sampled_from(["a", "a", "b", "c"])


@dataclass
class ModelMessage:
    number: int
    group: str | None
    invisible_minutes: float
    """Until it is visible; 0 or less when it is."""
    attempts: int = 0
    receipt: Receipt | None = None
    is_dead: bool = False
    delivery: Delivery | None = None
    error: str | None = None


@dataclass
class Model:
    messages: dict[MessageId, ModelMessage] = field(default_factory=dict[MessageId, ModelMessage])
    void_receipts: list[Receipt] = field(default_factory=list[Receipt])
    published: int = 0

    def visible(self) -> Iterator[tuple[MessageId, ModelMessage]]:
        heads: set[str] = set()
        for message_id, message in self.messages.items():
            if message.is_dead:
                continue
            if message.group is not None:
                if message.group in heads:
                    continue
                heads.add(message.group)
            if message.invisible_minutes <= 0:
                yield message_id, message

    def held(self) -> dict[Receipt, MessageId]:
        return {
            message.receipt: message_id
            for message_id, message in self.messages.items()
            if message.receipt is not None and message.invisible_minutes > 0
        }

    def void(self, message: ModelMessage) -> None:
        if message.receipt is not None:
            self.void_receipts.append(message.receipt)
            message.receipt = None


class BrokerMachine(RuleBasedStateMachine):
    under_test: BrokerUnderTest

    @initialize(ordered=st.booleans())
    def start(self, *, ordered: bool) -> None:
        self.runner = asyncio.Runner()
        # The model knows nothing of groups that wait for one another.
        self.ordered = ordered and not self.under_test.holds_up_other_groups
        self.topic = f"model-{uuid4().hex}{'-ordered' if self.ordered else ''}"
        self.broker = self.under_test.open()
        self.consumer = self.broker.consumer(self.topic)
        self.model = Model()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.broker.close())
            self.runner.close()

    @rule(count=st.integers(1, 4), some=GROUPS, delay_minutes=st.sampled_from([0, 0, 2]))
    def publish(self, count: int, some: str, delay_minutes: int) -> None:
        delay_minutes = 0 if self.ordered else delay_minutes
        self.runner.run(self._publish(count, some, delay_minutes))

    @precondition(lambda self: not dict(self.model.visible()))
    @rule(count=st.integers(1, 4), some=GROUPS, max_count=st.integers(1, 3), minutes=MINUTES)
    def publish_to_who_waits(self, count: int, some: str, max_count: int, minutes: int) -> None:
        async def receive() -> list[Delivery]:
            hidden, soon = timedelta(minutes=minutes), timedelta(seconds=10)
            receiving = asyncio.create_task(self.consumer.receive(max_count, hidden, soon))
            # Long enough for it to wait, as a rule; if not, it takes what is published.
            await self.consumer.backlog()
            await self._publish(count, some, 0)
            return await receiving

        # A group that is held up by what is invisible shows nothing.
        held_up = self.ordered and any(it.group == some for it in self.model.messages.values())
        if not held_up:
            deliveries = self.runner.run(receive())
            assert deliveries
            self._hold(deliveries, minutes)

    async def _publish(self, count: int, some: str, delay_minutes: int) -> None:
        group, delay = some if self.ordered else None, timedelta(minutes=delay_minutes)
        batch = [
            Message(self.topic, f"{self.model.published + i}".encode(), "k", {}, group, delay)
            for i in range(count)
        ]
        for message_id in await self.broker.publish(batch):
            self.model.messages[message_id] = ModelMessage(
                self.model.published, group, delay_minutes
            )
            self.model.published += 1

    @rule(max_count=st.integers(1, 5), minutes=MINUTES)
    def receive(self, max_count: int, minutes: int) -> None:
        deliveries = self.runner.run(self._receive(max_count, minutes))
        self._bury(everything=len(deliveries) < max_count)
        visible = self._hold(deliveries, minutes)
        if len(deliveries) < max_count:
            assert not visible, "left a visible message lying"

    def _hold(self, deliveries: Sequence[Delivery], minutes: int) -> dict[MessageId, ModelMessage]:
        """Notes what was received; gives what was not, though it was visible."""
        visible = dict(self.model.visible())
        for delivery in deliveries:
            message = visible.pop(delivery.message_id)
            message.attempts += 1
            assert delivery.attempt == message.attempts <= MAX_ATTEMPTS
            assert delivery.body == f"{message.number}".encode()
            assert delivery.group == message.group
            self.model.void(message)
            message.receipt = delivery.receipt
            message.delivery = delivery
            message.invisible_minutes = minutes
        return visible

    async def _receive(self, max_count: int, minutes: int) -> list[Delivery]:
        """A broker may give less than it has at once; then it gives the rest when asked again."""
        deliveries: list[Delivery] = []
        empty_count = 0
        while len(deliveries) < max_count and empty_count < 2:
            more = await self.consumer.receive(
                max_count - len(deliveries), timedelta(minutes=minutes), timedelta(0)
            )
            empty_count = 0 if more else empty_count + 1
            deliveries += more
        return deliveries

    async def _dead_letters(self, least_count: int) -> list[DeadLetter]:
        """The dead letters, as soon as there are so many."""
        async with asyncio.timeout(10):
            while True:
                letters = await self.consumer.dead_letters(100)
                if len(letters) >= least_count:
                    return letters

    def _bury(self, *, everything: bool) -> None:
        """What a receive made dead letters of: it may stop before it comes to all of them."""
        dead_count = sum(message.is_dead for message in self.model.messages.values())
        doomed = (message.attempts == MAX_ATTEMPTS for _, message in self.model.visible())
        least_count = dead_count + sum(doomed) if everything else dead_count
        letters = self.runner.run(self._dead_letters(least_count))
        newly_dead = {letter.message_id for letter in letters} - {
            message_id for message_id, message in self.model.messages.items() if message.is_dead
        }
        # One death may show the next message of the group, which may be dead as well.
        while newly_dead:
            buried = newly_dead & dict(self.model.visible()).keys()
            assert buried, "became a dead letter while it was invisible"
            for message_id in buried:
                message = self.model.messages[message_id]
                assert message.attempts == MAX_ATTEMPTS
                self.model.void(message)
                message.is_dead = True
            newly_dead -= buried

    @precondition(lambda self: self.model.held())
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        receipts = data.draw(self._receipts())
        held = self.model.held()
        outcomes = self.runner.run(self.consumer.acknowledge(receipts))
        for receipt, outcome in zip(receipts, outcomes, strict=True):
            message_id = held.pop(receipt, None)
            assert isinstance(outcome, ReceiptExpired) == (message_id is None)
            if message_id is not None:
                self.model.void(self.model.messages.pop(message_id))

    @precondition(lambda self: self.model.held())
    @rule(data=st.data(), minutes=st.integers(0, 4))
    def change_invisibility(self, data: st.DataObject, minutes: int) -> None:
        receipts = data.draw(self._receipts())
        held = self.model.held()
        outcomes = self.runner.run(
            self.consumer.change_invisibility(receipts, timedelta(minutes=minutes))
        )
        for receipt, outcome in zip(receipts, outcomes, strict=True):
            message_id = held.pop(receipt, None)
            assert isinstance(outcome, ReceiptExpired) == (message_id is None)
            if message_id is not None and not isinstance(outcome, ReceiptExpired):
                message = self.model.messages[message_id]
                self.model.void(message)
                message.receipt = outcome
                message.invisible_minutes = minutes
        if minutes == 0:
            self.runner.run(self.under_test.pass_time(self.topic, timedelta(0)))

    @precondition(lambda self: self.model.held() and not self.ordered)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        message, delivery = self._delivery(data)
        outcome = self.runner.run(self.consumer.hand_back(delivery, timedelta(0)))
        self._ended(message, outcome)
        if message is None:
            return
        if not self.under_test.counts_hand_backs:
            message.attempts -= 1
        elif message.attempts == MAX_ATTEMPTS:
            message.attempts = 0
        message.invisible_minutes = 0
        self.runner.run(self.under_test.pass_time(self.topic, timedelta(0)))

    @precondition(lambda self: self.model.held())
    @rule(data=st.data(), error=st.text(max_size=20))
    def bury(self, data: st.DataObject, error: str) -> None:
        message, delivery = self._delivery(data)
        outcome = self.runner.run(self.consumer.bury(delivery, error, "holder"))
        self._ended(message, outcome)
        if message is not None:
            message.is_dead = True
            message.error = one_line(error)

    @precondition(lambda self: any(m.is_dead for m in self.model.messages.values()))
    @rule()
    def discard(self) -> None:
        letters = self.runner.run(self.consumer.dead_letters(100))
        chosen = letters[-1].message_id
        assert self.runner.run(self.consumer.discard([chosen, chosen])) == 1
        self.model.void(self.model.messages.pop(chosen))

    def _delivery(self, data: st.DataObject) -> tuple[ModelMessage | None, Delivery]:
        """A delivery under a receipt that is good, with its message, or under one that is not."""
        held = self.model.held()
        receipt = data.draw(st.sampled_from([*held, *self.model.void_receipts]))
        message = self.model.messages[held[receipt]] if receipt in held else None
        some = message or self.model.messages[next(iter(held.values()))]
        assert some.delivery is not None
        return message, replace(some.delivery, receipt=receipt)

    def _ended(self, message: ModelMessage | None, outcome: ReceiptExpired | None) -> None:
        assert isinstance(outcome, ReceiptExpired) == (message is None)
        if message is not None:
            self.model.void(message)

    @precondition(lambda self: self.under_test.shifts_time)
    @rule(half_minutes=st.sampled_from([1, 3, 5]))
    def pass_time(self, half_minutes: int) -> None:
        self.runner.run(self.under_test.pass_time(self.topic, timedelta(minutes=half_minutes / 2)))
        for message in self.model.messages.values():
            message.invisible_minutes -= half_minutes / 2

    @precondition(lambda self: any(m.is_dead for m in self.model.messages.values()))
    @rule()
    def replay(self) -> None:
        letters = self.runner.run(self.consumer.dead_letters(100))
        dead = {i for i, message in self.model.messages.items() if message.is_dead}
        assert {letter.message_id for letter in letters} == dead
        for letter in letters:
            message = self.model.messages[letter.message_id]
            assert (letter.attempts, letter.error) == (message.attempts, message.error)
        chosen = letters[0].message_id
        assert self.runner.run(self.consumer.replay([chosen])) == 1
        # It goes to the end of its group.
        message = self.model.messages.pop(chosen)
        self.model.messages[chosen] = ModelMessage(message.number, message.group, 0)

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        backlog = self.runner.run(self.consumer.backlog())
        messages = self.model.messages.values()
        dead = sum(message.is_dead for message in messages)
        invisible = sum(not m.is_dead and m.invisible_minutes > 0 for m in messages)
        assert backlog.dead_letter_count == dead
        assert backlog.invisible_count in (invisible, None)
        assert backlog.visible_count == len(messages) - dead - invisible

    def _receipts(self) -> st.SearchStrategy[list[Receipt]]:
        known = [*self.model.held(), *self.model.void_receipts]
        return st.lists(st.sampled_from(known), min_size=1, max_size=4)


def test_every_sequence_of_calls_agrees_with_the_model(broker_under_test: BrokerUnderTest) -> None:
    class Machine(BrokerMachine):
        under_test = broker_under_test

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30 if broker_under_test.shifts_time else 3,
            stateful_step_count=40 if broker_under_test.shifts_time else 25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
