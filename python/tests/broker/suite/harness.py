"""What the port suite needs to know of a broker under test, besides the port itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from gridpact.broker.port import Broker

MAX_ATTEMPTS = 3
"""Every broker under test makes a dead letter of a message after so many deliveries."""


class BrokerUnderTest(Protocol):
    """One running broker; each test uses topics of its own."""

    name: str

    def open(self) -> Broker:
        """A new connection, as a process of its own would have it."""
        ...

    async def pass_time(self, topic: str, duration: timedelta) -> None:
        """Lets every invisibility and delay of the topic be `duration` nearer to its end."""
        ...

    def restart(self) -> None:
        """Kills the broker and starts it again with what it had stored."""
        ...

    def empty(self) -> None:
        """Removes everything the broker has stored, without telling anyone."""
        ...
