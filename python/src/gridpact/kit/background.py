"""Background tasks that end when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Does the work while entered and cancels it on leaving.

    Work that fails cancels the body and raises out of here (as an ExceptionGroup). Libraries
    lose a cancellation now and then (asyncio.wait_for before Python 3.12 does, when it comes
    together with the result), so it is repeated until the work has ended.
    """
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name=name)
        try:
            yield
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.1)
