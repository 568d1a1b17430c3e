"""RocketMQ under the port suite."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from gridpact.broker.port import Broker, Message
from gridpact.broker.rocketmq.adapter import QueueLimits, RocketmqBroker
from gridpact.platform.rocketmq import RocketmqServer
from tests.broker.suite.harness import MAX_ATTEMPTS

_LONGEST_REVIVAL = timedelta(seconds=20)


class RocketmqUnderTest:
    name = "rocketmq"
    # Real time, short; the broker may be a second late, which no test takes for a fault.
    brief = timedelta(seconds=0.4)
    shifts_time = False
    survives_kill_exactly = False
    holds_up_other_groups = True
    counts_hand_backs = True

    def __init__(self, server: RocketmqServer) -> None:
        self._server = server

    def open(self) -> RocketmqBroker:
        ports = self._server.rocketmq.ports
        limits = QueueLimits("tests", MAX_ATTEMPTS, queue_count=1)
        return RocketmqBroker(str(ports.proxy), [ports.names], limits)

    async def pass_time(self, topic: str, duration: timedelta) -> None:
        # Messages are made visible in the order of their time: those that were hidden last, for so
        # long, show that everything before them has been seen to. The broker keeps what was
        # received and what was changed since in two places.
        sentinels = f"sentinel-{uuid4().hex}"
        broker: Broker = self.open()
        try:
            await broker.publish([Message(sentinels, b"sentinel", "sentinel")] * 2)
            consumer = broker.consumer(sentinels)
            hidden = max(duration, timedelta(milliseconds=1))
            (changed,) = await consumer.receive(1, _LONGEST_REVIVAL, _LONGEST_REVIVAL)
            await consumer.receive(1, hidden, _LONGEST_REVIVAL)
            await consumer.change_invisibility([changed.receipt], duration)
            returned = 0
            while returned < 2:
                again = await consumer.receive(2, 2 * _LONGEST_REVIVAL, _LONGEST_REVIVAL)
                assert again, "the broker does not let time pass"
                returned += len(again)
        finally:
            await broker.close()

    async def restart(self) -> None:
        self._server.kill()
        await self._server.start()

    async def empty(self) -> None:
        self._server.kill()
        self._server.empty()
        await self._server.start()
