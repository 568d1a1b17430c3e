"""Single calls that become batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gridpact.kit.group_commit import GroupCommit


class Commits:
    """Commits that wait until they are let through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.allowed = asyncio.Semaphore(0)
        self.failure: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append([*items])
        self.started.set()
        await self.allowed.acquire()
        if self.failure is not None:
            raise self.failure
        return [item * 10 for item in items]


@pytest.fixture
def commits() -> Commits:
    return Commits()


def group(commits: Commits, max_count: int = 100) -> GroupCommit[int, int]:
    return GroupCommit(commits, weight=lambda item: item, max_count=max_count, max_weight=1000)


async def test_commits_the_first_at_once_and_the_rest_together(commits: Commits) -> None:
    grouped = group(commits)
    calls = [asyncio.create_task(grouped.add(1))]
    await commits.started.wait()
    calls += [asyncio.create_task(grouped.add(item)) for item in (2, 3, 4)]
    commits.allowed.release()
    commits.allowed.release()
    assert await asyncio.gather(*calls) == [10, 20, 30, 40]
    assert commits.batches == [[1], [2, 3, 4]]


async def test_ends_a_batch_at_its_limits(commits: Commits) -> None:
    grouped = group(commits, max_count=2)
    for _ in range(4):
        commits.allowed.release()
    calls = [grouped.add(item) for item in (1, 2, 3, 999, 2000)]
    assert await asyncio.gather(*calls) == [10, 20, 30, 9990, 20000]
    assert commits.batches == [[1, 2], [3], [999], [2000]]


async def test_tells_everybody_of_a_failure_and_goes_on(commits: Commits) -> None:
    grouped = group(commits)
    commits.failure = LookupError("down")
    commits.allowed.release()
    outcomes = await asyncio.gather(*map(grouped.add, (1, 2)), return_exceptions=True)
    assert outcomes == [commits.failure, commits.failure]
    commits.failure = None
    commits.allowed.release()
    assert await grouped.add(3) == 30


async def test_commits_for_the_others_when_the_first_gives_up(commits: Commits) -> None:
    grouped = group(commits)
    first = asyncio.create_task(grouped.add(1))
    second = asyncio.create_task(grouped.add(2))
    await commits.started.wait()
    first.cancel()
    commits.allowed.release()
    assert await second == 20
    assert commits.batches == [[1, 2]]


async def test_pauses_only_after_a_batch_of_several(commits: Commits) -> None:
    """What comes within the pause is committed together; a lone call waits for nothing."""
    for _ in range(4):
        commits.allowed.release()
    grouped = GroupCommit(
        commits, weight=lambda item: item, max_count=100, max_weight=1000, pause_s=0.05
    )
    began = asyncio.get_running_loop().time()
    assert [await grouped.add(item) for item in (1, 2)] == [10, 20]
    assert asyncio.get_running_loop().time() - began < 0.05
    assert await asyncio.gather(*(grouped.add(item) for item in (3, 4))) == [30, 40]
    calls = [asyncio.create_task(grouped.add(5))]
    await asyncio.sleep(0)
    calls.append(asyncio.create_task(grouped.add(6)))
    assert await asyncio.gather(*calls) == [50, 60]
    assert commits.batches == [[1], [2], [3, 4], [5, 6]]
