"""The promises of gridpact.broker.port, one by one, against every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from gridpact.broker.port import (
    MAX_BODY_BYTES,
    Broker,
    BrokerUnavailable,
    Consumer,
    Delivery,
    Message,
    MessageId,
    Receipt,
    ReceiptExpired,
)
from tests.broker.suite.harness import MAX_ATTEMPTS, BrokerUnderTest

pytestmark = pytest.mark.timeout(60)

NOW = timedelta(0)
MINUTE = timedelta(minutes=1)
# Longer than any test may take: a receive that waits this long has been woken by an event.
LONG = timedelta(seconds=50)
# What a real clock may add where a test measures.
SLACK = timedelta(seconds=5)


def messages(topic: str, count: int, *, group: str | None = None) -> list[Message]:
    return [Message(topic, f"body {i}".encode(), f"key-{i}", group=group) for i in range(count)]


def receipts(deliveries: Sequence[Delivery]) -> list[Receipt]:
    return [delivery.receipt for delivery in deliveries]


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.body.decode() for delivery in deliveries]


async def receive_now(
    consumer: Consumer, max_count: int = 10, hidden: timedelta = LONG
) -> list[Delivery]:
    return await consumer.receive(max_count, hidden, NOW)


async def receive_soon(
    consumer: Consumer, max_count: int = 10, hidden: timedelta = LONG
) -> list[Delivery]:
    """What is there, or comes in a moment; for the broker may bury a message meanwhile."""
    return await consumer.receive(max_count, hidden, timedelta(seconds=10))


async def eventually(reached: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it is so; what a broker does by itself is announced to nobody."""
    async with asyncio.timeout(20):
        while not await reached():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class TestPublish:
    @pytest.mark.parametrize("group", [None, "site-1"])
    async def test_carries_body_key_properties_and_group_unchanged(
        self, broker: Broker, topic: str, group: str | None
    ) -> None:
        message = Message(
            topic if group is None else f"{topic}-ordered",
            body=bytes(range(256)),
            key="task/0198",
            properties={"kind": "dispatch", "note": "Größe = 5 µ 电池", "empty": ""},
            group=group,
        )
        (message_id,) = await broker.publish([message])
        (delivery,) = await receive_now(broker.consumer(message.topic))
        assert delivery.message_id == message_id
        assert delivery.body == message.body
        assert delivery.key == message.key
        assert delivery.properties == message.properties
        assert delivery.group == message.group
        assert delivery.attempt == 1

    async def test_answers_ids_in_order_over_several_topics(
        self, broker: Broker, topic: str
    ) -> None:
        other = f"{topic}-other"
        ids = await broker.publish(
            [Message(name, b"x", f"key-{i}") for i, name in enumerate([topic, other] * 300)]
        )
        for name, expected in ((topic, ids[::2]), (other, ids[1::2])):
            received: list[Delivery] = []
            while deliveries := await receive_now(broker.consumer(name), 256):
                received += deliveries
            assert [delivery.message_id for delivery in received] == expected

    async def test_carries_the_largest_body(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        body = b"\xff" * MAX_BODY_BYTES
        await broker.publish([Message(topic, body, f"key-{i}") for i in range(2)])
        received: list[Delivery] = []
        while deliveries := await receive_now(consumer):
            received += deliveries
        assert [delivery.body for delivery in received] == [body] * 2

    async def test_of_nothing_is_nothing(self, broker: Broker) -> None:
        assert await broker.publish([]) == []

    @pytest.mark.parametrize(
        ("fields", "complaint"),
        [
            ({"body": b""}, "0 bytes"),
            ({"body": bytes(MAX_BODY_BYTES + 1)}, "4194305 bytes"),
            ({"key": "two words"}, "white space"),
            ({"key": ""}, "white space"),
            ({"properties": {"UPPER": "x"}}, "UPPER"),
            ({"properties": {"name": "line\nbreak"}}, "control character"),
            ({"delay": timedelta(hours=24, seconds=1)}, "24 hours"),
            ({"delay": timedelta(seconds=-1)}, "24 hours"),
            ({"delay": MINUTE, "group": "g"}, "no delay"),
            ({"group": ""}, "a name"),
            ({"group": "g"}, "ordered topics"),
            ({"topic": "t-ordered"}, "ordered topics"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    async def test_refuses_what_no_broker_carries(
        self, fields: dict[str, object], complaint: str
    ) -> None:
        with pytest.raises(ValueError, match=complaint):
            Message(**{"topic": "t", "body": b"x", "key": "k", **fields})  # pyright: ignore[reportArgumentType]


class TestReceive:
    async def test_takes_the_oldest_first_and_no_more_than_asked(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 5))
        assert bodies(await receive_now(consumer, 3)) == ["body 0", "body 1", "body 2"]
        assert bodies(await receive_now(consumer, 3)) == ["body 3", "body 4"]
        assert await receive_now(consumer) == []

    async def test_gives_each_message_to_one_of_many(
        self, broker_under_test: BrokerUnderTest, broker: Broker, topic: str
    ) -> None:
        others = [broker_under_test.open() for _ in range(4)]
        await broker.publish(messages(topic, 100))
        taken: list[Delivery] = []
        try:
            # A call may give less than there is: while another one takes from the same queue.
            async with asyncio.timeout(20):
                while len(taken) < 100:
                    for deliveries in await asyncio.gather(
                        *(receive_now(other.consumer(topic), 30) for other in others)
                    ):
                        taken += deliveries
        finally:
            for other in others:
                await other.close()
        assert sorted(bodies(taken)) == sorted(f"body {i}" for i in range(100))

    async def test_wakes_when_a_message_is_published(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        waiting = asyncio.create_task(consumer.receive(1, MINUTE, LONG))
        await _until_waiting(broker, topic, waiting)
        await broker.publish(messages(topic, 1))
        assert bodies(await asyncio.wait_for(waiting, 5)) == ["body 0"]

    async def test_wakes_when_an_invisibility_ends(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 1))
        await consumer.receive(1, timedelta(seconds=1), NOW)
        (again,) = await asyncio.wait_for(consumer.receive(1, MINUTE, LONG), 10)
        assert again.attempt == 2

    async def test_wakes_when_another_hands_back(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 1))
        held = await consumer.receive(1, LONG, NOW)
        waiting = asyncio.create_task(consumer.receive(1, MINUTE, LONG))
        await _until_waiting(broker, topic, waiting)
        await consumer.change_invisibility(receipts(held), NOW)
        assert bodies(await asyncio.wait_for(waiting, 5)) == ["body 0"]

    async def test_comes_back_empty_after_the_wait(self, consumer: Consumer) -> None:
        assert await consumer.receive(1, MINUTE, timedelta(milliseconds=20)) == []

    async def test_that_is_cancelled_loses_nothing(
        self, broker_under_test: BrokerUnderTest, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 1))
        for steps in range(12):
            receiving = asyncio.create_task(consumer.receive(1, LONG, LONG))
            for _ in range(steps):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
            if not receiving.cancelled():
                await consumer.change_invisibility(receipts(receiving.result()), NOW)

        async def handed_back() -> bool:
            backlog = await consumer.backlog()
            assert backlog.invisible_count in (0, None)
            return backlog.visible_count + backlog.dead_letter_count == 1

        await eventually(handed_back)


class TestAcknowledge:
    async def test_removes_the_message_for_good(
        self, broker_under_test: BrokerUnderTest, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 300))
        hidden = 8 * broker_under_test.brief
        taken: list[Delivery] = []
        while deliveries := await receive_now(consumer, 256, hidden):
            taken += deliveries
        assert await consumer.acknowledge(receipts(taken)) == [None] * 300
        await broker_under_test.pass_time(topic, hidden)
        assert await receive_now(consumer) == []
        backlog = await consumer.backlog()
        assert backlog.visible_count == 0
        assert backlog.invisible_count in (0, None)

    async def test_answers_for_each_receipt_on_its_own(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        await broker.publish(messages(topic, 2))
        early, late = await receive_now(consumer, hidden=brief)
        (early_renewed,) = await consumer.change_invisibility([early.receipt], 20 * brief)
        assert not isinstance(early_renewed, ReceiptExpired)
        await broker_under_test.pass_time(topic, 2 * brief)
        outcomes = await consumer.acknowledge([late.receipt, early_renewed, early.receipt])
        assert [type(outcome) for outcome in outcomes] == [
            ReceiptExpired,
            type(None),
            ReceiptExpired,
        ]

    async def test_with_the_receipt_of_an_earlier_delivery_is_refused(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        await broker.publish(messages(topic, 1))
        first = await receive_now(consumer, hidden=brief)
        await broker_under_test.pass_time(topic, 2 * brief)
        second = await receive_soon(consumer)
        assert [type(outcome) for outcome in await consumer.acknowledge(receipts(first))] == [
            ReceiptExpired
        ]
        assert await consumer.acknowledge(receipts(second)) == [None]


class TestChangeInvisibility:
    async def test_keeps_the_message_from_others_for_longer(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        await broker.publish(messages(topic, 1))
        (delivery,) = await receive_now(consumer, hidden=brief)
        (receipt,) = await consumer.change_invisibility([delivery.receipt], 8 * brief)
        await broker_under_test.pass_time(topic, 2 * brief)
        assert await receive_now(consumer) == []
        await broker_under_test.pass_time(topic, 7 * brief)
        assert len(await receive_soon(consumer)) == 1
        assert not isinstance(receipt, ReceiptExpired)

    async def test_voids_the_old_receipt(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 1))
        (delivery,) = await receive_now(consumer)
        (receipt,) = await consumer.change_invisibility([delivery.receipt], MINUTE)
        assert not isinstance(receipt, ReceiptExpired)
        (refused,) = await consumer.change_invisibility([delivery.receipt], MINUTE)
        assert isinstance(refused, ReceiptExpired)
        assert await consumer.acknowledge([receipt]) == [None]


class TestHandBack:
    async def test_makes_no_dead_letter_however_often(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
    ) -> None:
        (message_id,) = await broker.publish(messages(topic, 1))
        for _ in range(2 * MAX_ATTEMPTS + 1):
            (delivery,) = await receive_soon(consumer)
            assert (delivery.message_id, delivery.body) == (message_id, b"body 0")
            assert delivery.attempt <= MAX_ATTEMPTS
            assert await consumer.hand_back(delivery, NOW) is None
            assert isinstance(await consumer.hand_back(delivery, NOW), ReceiptExpired)
            await broker_under_test.pass_time(topic, NOW)
        (delivery,) = await receive_soon(consumer)
        assert await consumer.acknowledge([delivery.receipt]) == [None]
        assert (await consumer.backlog()).dead_letter_count == 0

    async def test_waits_as_long_as_it_is_told(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        await broker.publish(messages(topic, 1))
        (delivery,) = await receive_now(consumer)
        assert await consumer.hand_back(delivery, 5 * brief) is None
        assert await receive_now(consumer) == []
        await broker_under_test.pass_time(topic, 6 * brief)
        assert bodies(await receive_soon(consumer)) == ["body 0"]

    async def test_wakes_who_waits(self, broker: Broker, consumer: Consumer, topic: str) -> None:
        await broker.publish(messages(topic, 1))
        (delivery,) = await receive_now(consumer)
        waiting = asyncio.create_task(consumer.receive(1, MINUTE, LONG))
        await _until_waiting(broker, topic, waiting)
        await consumer.hand_back(delivery, NOW)
        assert bodies(await asyncio.wait_for(waiting, 10)) == ["body 0"]

    async def test_is_not_for_messages_of_a_group(self, broker: Broker, topic: str) -> None:
        consumer = broker.consumer(f"{topic}-ordered")
        await broker.publish(messages(f"{topic}-ordered", 1, group="a"))
        (delivery,) = await receive_now(consumer)
        with pytest.raises(ValueError, match="group"):
            await consumer.hand_back(delivery, NOW)


class TestDelay:
    async def test_holds_the_message_until_it_has_passed(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        await broker.publish(
            [Message(topic, b"late", "late", delay=5 * brief), Message(topic, b"now", "now")]
        )
        (now,) = await receive_now(consumer)
        assert now.body == b"now"
        await consumer.acknowledge([now.receipt])
        await broker_under_test.pass_time(topic, 5 * brief)
        (late,) = await receive_soon(consumer)
        assert (late.body, late.attempt) == (b"late", 1)

    async def test_wakes_who_waits_when_it_ends(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        waiting = asyncio.create_task(consumer.receive(1, MINUTE, LONG))
        await _until_waiting(broker, topic, waiting)
        await broker.publish([Message(topic, b"late", "late", delay=timedelta(seconds=1))])
        assert bodies(await asyncio.wait_for(waiting, 10)) == ["late"]


class TestGroup:
    async def test_delivers_the_next_only_when_the_one_before_is_acknowledged(
        self, broker_under_test: BrokerUnderTest, broker: Broker, topic: str
    ) -> None:
        ordered = f"{topic}-ordered"
        consumer = broker.consumer(ordered)
        await broker.publish(messages(ordered, 3, group="a"))
        await broker.publish(messages(ordered, 2, group="b"))
        received: list[tuple[str | None, str, int]] = []
        while len(received) < 5:
            taken = await receive_soon(consumer)
            groups = [delivery.group for delivery in taken]
            assert len(set(groups)) == len(groups), "two of a group at once"
            if not broker_under_test.holds_up_other_groups:
                assert await receive_now(consumer) == []
            elif "a" in groups:
                assert "a" not in [other.group for other in await receive_now(consumer, 1, SLACK)]
            assert await consumer.acknowledge(receipts(taken)) == [None] * len(taken)
            received += [(it.group, it.body.decode(), it.attempt) for it in taken]
        for group, count in (("a", 3), ("b", 2)):
            own = [delivery for delivery in received if delivery[0] == group]
            assert own == [(group, f"body {i}", 1) for i in range(count)]

    async def test_goes_on_when_its_first_message_is_dead(
        self, broker_under_test: BrokerUnderTest, broker: Broker, topic: str, brief: timedelta
    ) -> None:
        ordered = f"{topic}-ordered"
        consumer = broker.consumer(ordered)
        await broker.publish(messages(ordered, 2, group="a"))
        for _ in range(MAX_ATTEMPTS):
            assert bodies(await receive_soon(consumer, hidden=brief)) == ["body 0"]
            await broker_under_test.pass_time(ordered, 2 * brief)
        assert bodies(await receive_soon(consumer)) == ["body 1"]


class TestDeadLetters:
    async def test_hold_a_message_after_exactly_its_maximum_of_attempts(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        properties = {"kind": "dispatch"}
        (poison,) = await broker.publish([Message(topic, b"poison", "p", properties)])
        for attempt in range(1, MAX_ATTEMPTS + 1):
            (delivery,) = await receive_soon(consumer, hidden=brief)
            assert delivery.attempt == attempt
            await broker_under_test.pass_time(topic, 2 * brief)
        # The neighbour is not held up.
        await broker.publish([Message(topic, b"neighbour", "n")])
        assert bodies(await receive_soon(consumer)) == ["neighbour"]
        assert await receive_now(consumer) == []
        await _until_dead(consumer, 1)
        (letter,) = await consumer.dead_letters(10)
        assert (letter.message_id, letter.body, letter.key) == (poison, b"poison", "p")
        assert (letter.properties, letter.attempts) == (properties, MAX_ATTEMPTS)
        assert (letter.error, letter.holder) == (None, None)
        assert await consumer.dead_letters(10) == [letter]

    @pytest.mark.parametrize("group", [None, "a"])
    async def test_hold_what_is_buried_with_what_was_said_of_it(
        self, broker: Broker, topic: str, group: str | None
    ) -> None:
        name = topic if group is None else f"{topic}-ordered"
        consumer = broker.consumer(name)
        properties = {"kind": "Größe 电池", "empty": ""}
        poison = Message(name, b"poison", "p", properties, group)
        (message_id,) = await broker.publish([poison])
        await broker.publish(messages(name, 1, group=group))
        first = await receive_now(consumer)
        (delivery,) = [it for it in first if it.body == b"poison"]
        before = datetime.now(UTC)
        assert await consumer.bury(delivery, "not a map:\n0xc1 电池", "bridge-7") is None
        (letter,) = await consumer.dead_letters(10)
        assert (letter.message_id, letter.body, letter.key) == (message_id, b"poison", "p")
        assert (letter.properties, letter.group, letter.attempts) == (properties, group, 1)
        assert (letter.error, letter.holder) == ("not a map: 0xc1 电池", "bridge-7")
        assert before - SLACK <= letter.dead_time <= datetime.now(UTC) + SLACK
        assert (await consumer.backlog()).dead_letter_count == 1
        # Its neighbour is not affected, and the receipt is void.
        neighbours = [it for it in first if it is not delivery] or await receive_soon(consumer)
        assert bodies(neighbours) == ["body 0"]
        refused = await consumer.bury(delivery, "again", "bridge-7")
        assert isinstance(refused, ReceiptExpired)
        assert len(await consumer.dead_letters(10)) == 1

    async def test_that_were_buried_are_replayed_as_if_nothing_had_been(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        properties = {"kind": "dispatch"}
        (message_id,) = await broker.publish([Message(topic, b"poison", "p", properties)])
        (delivery,) = await receive_now(consumer)
        await consumer.bury(delivery, "for the test", "bridge-7")
        assert await consumer.replay([message_id]) == 1
        assert await consumer.dead_letters(10) == []
        (again,) = await receive_soon(consumer)
        assert (again.message_id, again.body, again.properties) == (
            message_id,
            b"poison",
            properties,
        )
        assert again.attempt == 1

    async def test_are_all_read_however_many_there_are(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        ids = await broker.publish(messages(topic, 300))
        while deliveries := await receive_now(consumer, 100):
            for delivery in deliveries:
                assert await consumer.bury(delivery, "for the test", "bridge-7") is None
        letters = await consumer.dead_letters(1000)
        bodies_by_id = {id: f"body {i}".encode() for i, id in enumerate(ids)}
        assert len(letters) == 300
        assert {letter.message_id: letter.body for letter in letters} == bodies_by_id
        assert letters == sorted(letters, key=lambda letter: letter.dead_time)
        assert await consumer.dead_letters(270) == letters[:270]
        assert await consumer.replay(ids) == 300
        assert await consumer.dead_letters(1000) == []

    async def test_are_discarded_for_good(
        self, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        ids = await broker.publish(messages(topic, 3))
        for delivery in await receive_now(consumer):
            await consumer.bury(delivery, "for the test", "bridge-7")
        assert await consumer.discard([ids[1], ids[1], MessageId("unknown")]) == 1
        letters = await consumer.dead_letters(10)
        assert [letter.message_id for letter in letters] == [ids[0], ids[2]]
        assert await consumer.replay([ids[1]]) == 0
        assert (await consumer.backlog()).dead_letter_count == 2

    @pytest.mark.parametrize("group", [None, "a"])
    async def test_are_replayed_with_all_attempts_before_them(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        topic: str,
        group: str | None,
        brief: timedelta,
    ) -> None:
        name = topic if group is None else f"{topic}-ordered"
        consumer = broker.consumer(name)
        (dead_id,) = await broker.publish(messages(name, 1, group=group))
        for _ in range(MAX_ATTEMPTS):
            await receive_soon(consumer, hidden=brief)
            await broker_under_test.pass_time(name, 2 * brief)
        assert await receive_now(consumer) == []
        await _until_dead(consumer, 1)
        assert await consumer.replay([dead_id, dead_id]) == 1
        assert await consumer.dead_letters(10) == []
        (delivery,) = await receive_soon(consumer)
        assert (delivery.message_id, delivery.attempt) == (dead_id, 1)
        assert await consumer.acknowledge([delivery.receipt]) == [None]


class TestBacklog:
    async def test_counts_each_state_and_measures_the_lag(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        await broker.publish(messages(topic, 5))
        await broker.publish([Message(topic, b"late", "late", delay=60 * brief)])
        await receive_now(consumer, 2, brief)
        backlog = await consumer.backlog()
        assert (backlog.visible_count, backlog.invisible_count) in ((3, 3), (3, None))
        assert backlog.lag_duration < SLACK
        await broker_under_test.pass_time(topic, 3 * brief)
        backlog = await consumer.backlog()
        assert (backlog.visible_count, backlog.invisible_count) in ((5, 1), (5, None))
        assert 2 * brief <= backlog.lag_duration < 3 * brief + SLACK
        assert len(await receive_now(consumer)) == 5, "looking has taken a message away"

    async def test_of_an_unknown_topic_is_empty(self, consumer: Consumer) -> None:
        backlog = await consumer.backlog()
        assert backlog.visible_count == backlog.dead_letter_count == 0
        assert backlog.invisible_count in (0, None)
        assert backlog.lag_duration == timedelta(0)


class TestFaults:
    async def test_a_restart_keeps_what_was_acknowledged_and_what_was_published(
        self,
        broker_under_test: BrokerUnderTest,
        broker: Broker,
        consumer: Consumer,
        topic: str,
        brief: timedelta,
    ) -> None:
        idle = f"{topic}-idle"
        waiting = asyncio.create_task(broker.consumer(idle).receive(1, MINUTE, LONG))
        await _until_waiting(broker, idle, waiting)
        await broker.publish(messages(topic, 3))
        done, *_ = await receive_now(consumer, 2, brief)
        await consumer.acknowledge([done.receipt])
        await broker_under_test.restart()

        received = bodies(await receive_now(consumer, hidden=brief))
        await broker_under_test.pass_time(topic, 2 * brief)
        received += bodies(await receive_now(consumer))
        if broker_under_test.survives_kill_exactly:
            assert sorted(received) == ["body 1", "body 2", "body 2"]
        else:
            assert {"body 1", "body 2"} <= set(received)

        # Who waited goes on waiting, or is told.
        await broker.publish(messages(idle, 1))
        assert await _received_at_last(waiting, broker.consumer(idle)) == ["body 0"]

    async def test_an_emptied_broker_serves_at_once(
        self, broker_under_test: BrokerUnderTest, broker: Broker, consumer: Consumer, topic: str
    ) -> None:
        await broker.publish(messages(topic, 2))
        held = await receive_now(consumer, 1)
        waiting = asyncio.create_task(broker.consumer(f"{topic}-idle").receive(1, MINUTE, LONG))
        await _until_waiting(broker, f"{topic}-idle", waiting)
        await broker_under_test.empty()
        (outcome,) = await consumer.acknowledge(receipts(held))
        assert isinstance(outcome, ReceiptExpired) or not broker_under_test.survives_kill_exactly
        await broker.publish([Message(topic, b"new", "n"), Message(f"{topic}-idle", b"i", "i")])
        assert bodies(await receive_now(consumer)) == ["new"]
        assert await _received_at_last(waiting, broker.consumer(f"{topic}-idle")) == ["i"]


async def _until_waiting(broker: Broker, topic: str, waiting: asyncio.Task[list[Delivery]]) -> None:
    """Lets the receive get to where it waits: as many round trips as it makes, and some more."""
    for _ in range(10):
        await broker.consumer(topic).backlog()
    assert not waiting.done()


async def _received_at_last(waiting: asyncio.Task[list[Delivery]], consumer: Consumer) -> list[str]:
    """What a receive that waited through a fault brings, or the one after it."""
    try:
        return bodies(await asyncio.wait_for(waiting, 10))
    except BrokerUnavailable:
        return bodies(await receive_soon(consumer))


async def _until_dead(consumer: Consumer, count: int) -> None:
    """Lets the broker bury what it did not deliver any more."""

    async def are_dead() -> bool:
        return (await consumer.backlog()).dead_letter_count == count

    await eventually(are_dead)
