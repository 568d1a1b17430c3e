"""Moves the outbox to the broker: whatever its writer did not bring there within a second, because
it died or the broker was away, and what is published again.

A message is removed from the outbox only after the broker has it, so that a crash between the two
publishes it twice, never not at all. Several relays may run: each takes other rows.
"""

from __future__ import annotations

import asyncio
import random

from gridpact.broker.port import Broker, BrokerUnavailable
from gridpact.kit.errors import GridpactError
from gridpact.kit.log import Log
from gridpact.relay.ports import Outbox

log = Log(__name__)

BATCH_COUNT = 256
BATCH_BYTES = 16 * 1024 * 1024

# Seldom is there anything: most messages are published by whoever commits them.
SCAN_INTERVAL_S = 0.5

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 2.0


class Relay:
    """One relay. ``run`` ends by being cancelled."""

    def __init__(self, outbox: Outbox, broker: Broker) -> None:
        self._outbox = outbox
        self._broker = broker

    async def run(self) -> None:
        """Publishes whatever is committed; waits out a database or broker that is gone."""
        failed_count = 0
        while True:
            try:
                # Only a full batch tells that there may be more.
                while await self.publish_batch() == BATCH_COUNT:
                    pass
                failed_count = 0
                await asyncio.sleep(SCAN_INTERVAL_S)
            except (GridpactError, BrokerUnavailable) as error:
                delay_s = min(FIRST_RETRY_S * 2**failed_count, LONGEST_RETRY_S)
                failed_count = min(failed_count + 1, 16)
                log.warning("publish-failed", cause=str(error), retry_s=round(delay_s, 2))
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter

    async def publish_batch(self) -> int:
        """Publishes and removes one batch; the number of its messages."""
        async with self._outbox.batch(BATCH_COUNT, BATCH_BYTES) as messages:
            if messages:
                await self._broker.publish(messages)
        return len(messages)
