"""What the port suite needs to know of a broker under test, besides the port itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from gridpact.broker.port import Broker

MAX_ATTEMPTS = 3
"""Every broker under test makes a dead letter of a message after so many deliveries."""


class BrokerUnderTest(Protocol):
    """One running broker; each test uses topics of its own.

    brief: how long the suite hides a message for which it then lets the time pass.
    shifts_time: passing time takes none.
    survives_kill_exactly: a killed broker comes back with all that it had answered; otherwise
        with every message, and perhaps again with some that were acknowledged or are held.
    holds_up_other_groups: a group may have to wait for another one.
    counts_hand_backs: a message that was handed back has been attempted, until that would kill it;
        then it is counted anew.
    """

    name: str
    brief: timedelta
    shifts_time: bool
    survives_kill_exactly: bool
    holds_up_other_groups: bool
    counts_hand_backs: bool

    def open(self) -> Broker:
        """A new connection, as a process of its own would have it."""
        ...

    async def pass_time(self, topic: str, duration: timedelta) -> None:
        """Lets every invisibility and delay of the topic be `duration` nearer to its end.

        What has become visible then can be received.
        """
        ...

    async def restart(self) -> None:
        """Kills the broker and starts it again with what it had stored."""
        ...

    async def empty(self) -> None:
        """Removes everything the broker has stored, without telling anyone."""
        ...
