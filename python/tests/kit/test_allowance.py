from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gridpact.kit.allowance import Allowance

TOTAL = 10


class Users:
    """Who uses an allowance, each until the test lets go of it."""

    def __init__(self) -> None:
        self.allowance = Allowance(TOTAL)
        self.in_use: dict[asyncio.Task[None], int] = {}

    def start(self, size: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._use(size))

    async def _use(self, size: int) -> None:
        async with self.allowance.share(size):
            task = asyncio.current_task()
            assert task is not None
            self.in_use[task] = size
            try:
                await asyncio.Event().wait()
            finally:
                del self.in_use[task]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@given(st.lists(st.integers(1, 15), max_size=12), st.data())
def test_never_gives_more_than_there_is_and_everybody_in_turn(
    sizes: list[int], data: st.DataObject
) -> None:
    async def run() -> None:
        users = Users()
        waiting = [users.start(size) for size in sizes]
        await settle()
        while waiting:
            used = list(users.in_use.values())
            assert sum(used) <= TOTAL or len(used) == 1
            # Those who came first have it, as many as fit.
            entered = [task for task in waiting if task in users.in_use]
            assert entered == waiting[: len(entered)]
            if len(entered) < len(waiting):
                assert sum(used) + sizes[len(sizes) - len(waiting) + len(entered)] > TOTAL
            gone = data.draw(st.sampled_from(entered[:1]))
            gone.cancel()
            waiting.remove(gone)
            await settle()
        assert not users.in_use

    asyncio.run(run())


async def test_goes_on_without_those_who_give_up_waiting() -> None:
    users = Users()
    tasks = [users.start(size) for size in (10, 10, 1)]
    await settle()
    tasks[1].cancel()
    await settle()
    tasks[0].cancel()
    await settle()
    assert [*users.in_use] == [tasks[2]]
    tasks[2].cancel()
