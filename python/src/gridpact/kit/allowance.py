"""A bound on what may be in use at once, for which callers wait their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Allowance:
    """So many bytes may be in use at once. One share that is larger has all of it to itself."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        # Whoever has it waits for room; the others wait for it, first come, first served.
        self._turn = asyncio.Lock()
        self._returned = asyncio.Event()

    @asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        """Waits until ``size`` more may be used; they are in use while entered."""
        async with self._turn:
            while self._used and self._used + size > self._total:
                self._returned.clear()
                await self._returned.wait()
            self._used += size
        try:
            yield
        finally:
            self._used -= size
            self._returned.set()
