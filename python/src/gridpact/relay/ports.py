"""What the relay needs: the outbox, one batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gridpact.broker.port import Message


class Outbox(Protocol):
    """Committed messages that may not have reached the broker yet, the oldest first."""

    def batch(
        self, max_count: int, max_bytes: int
    ) -> AbstractAsyncContextManager[Sequence[Message]]:
        """Up to ``max_count`` messages of about ``max_bytes`` in all, at least one if there is any.

        They are removed when the block ends and stay when it raises. No two callers hold the same
        message at once. Raises GridpactError UNAVAILABLE when the database does not answer.
        """
        ...
