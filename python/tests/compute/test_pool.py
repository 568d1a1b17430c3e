"""Which worker a task gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest

from gridpact.compute.serve.pool import Pool
from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError


async def pid_of(pool: Pool, key: str | None) -> int:
    async with pool.worker(key) as worker:
        return worker.pid


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(2, memory_mib=1000)
    try:
        await pool.run()
        yield pool
    finally:
        await pool.close()


async def test_task_gets_the_worker_that_served_its_key_last_and_never_waits_for_it(
    pool: Pool,
) -> None:
    first, second = await pid_of(pool, "a"), await pid_of(pool, "b")
    assert first != second  # keys spread over the workers
    for _ in range(3):
        assert await pid_of(pool, "b") == second
        assert await pid_of(pool, "a") == first
        await pid_of(pool, None)
    async with AsyncExitStack() as busy:
        await busy.enter_async_context(pool.worker("a"))
        other = await pid_of(pool, "a")
        assert other != first
    assert await pid_of(pool, "b") == second


async def test_worker_that_uses_more_than_it_may_is_stopped(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await pid_of(pool, None)
    monkeypatch.setattr("gridpact.compute.serve.pool.private_mib", lambda _: 1001)

    async def work() -> None:
        async with pool.worker() as worker:
            await worker.receive()

    with pytest.raises(GridpactError, match="1000 MiB") as raised:
        await work()
    assert raised.value.reason is Reason.OUT_OF_MEMORY
    monkeypatch.undo()
    assert await pid_of(pool, None) != first


async def test_key_of_a_worker_that_was_killed_is_served_by_another(pool: Pool) -> None:
    first = await pid_of(pool, "a")
    with suppress(LookupError):
        async with pool.worker("a") as worker:
            assert worker.pid == first
            raise LookupError
    assert await pid_of(pool, "a") != first
