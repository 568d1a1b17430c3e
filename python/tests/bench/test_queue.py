"""That the queue benchmark measures each system alone, and what it makes of its books."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

import bench.queue.__main__ as queue
from bench.process import Side
from bench.queue.systems import Stored, System
from gridpact.platform.error import PlatformError

ARGUMENTS = Namespace(systems="a,b,c", tasks=10, rounds=2, singly=4, rate=50.0)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "settled", lambda: None)


class FakeClient:
    """Answers as a client whose tasks all end once."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self._story = story

    def ask(self, *words: str) -> dict[str, Any]:
        if words[0] == "versions":
            return {self.name: "1"}
        self._story.append(f"{self.name} {words[0]}")
        ms = [1.0] * int(words[1]) if words[0] == "singly" else []
        return {"seconds": 2.0, "lost": 0, "doubled": 0, "ms": ms}

    def pid(self) -> int:
        return os.getpid()


def occupy(folder: Path) -> None:
    assert not list(folder.iterdir())
    (folder / "kept").touch()


def starting(name: str, story: list[str]) -> Callable[[Path], AbstractAsyncContextManager[System]]:
    @asynccontextmanager
    async def start(folder: Path) -> AsyncIterator[System]:
        occupy(folder)
        story.append(f"{name} starts")
        yield System(name, cast("Side", FakeClient(name, story)), {})
        story.append(f"{name} stops")

    return start


async def test_each_system_is_alone_while_it_is_measured_and_begins_with_empty_stores() -> None:
    story: list[str] = []
    systems = {name: starting(name, story) for name in "abc"}

    report = await queue.measured(ARGUMENTS, systems)

    turns = [("starts", "burst", "singly", "burst", "singly", "singly", "stops")] * 6
    order = zip("abcbca", turns, strict=True)
    assert story == [f"{name} {done}" for name, turn in order for done in turn]
    assert list(report["systems"]) == ["a", "b", "c"]
    assert report["systems"]["a"]["tasks_per_s_of_rounds"] == [5.0, 5.0]
    warm_up = queue.WARM_UP_BURST + queue.WARM_UP_SINGLY
    assert report["systems"]["a"]["submitted"] == 2 * (warm_up + 10 + 2 * 4)
    assert report["versions"].keys() > {"a", "b", "c"}


async def test_a_system_that_does_not_start_is_missing_and_not_tried_again() -> None:
    tried: list[str] = []

    @asynccontextmanager
    async def start(folder: Path) -> AsyncIterator[System]:
        tried.append(folder.name)
        raise PlatformError("no Java here")
        yield

    systems = {"a": starting("a", []), "b": start, "c": starting("c", [])}

    report = await queue.measured(ARGUMENTS, systems)

    assert len(tried) == 1
    assert report["missing"] == ["b: no Java here"]
    assert list(report["systems"]) == ["a", "c"]


@pytest.mark.parametrize(
    ("seen", "stored", "lost", "doubled"),
    [
        ({"lost": 0, "doubled": 0}, Stored(10, 10, 0), 0, 0),
        ({"lost": 2, "doubled": 0}, Stored(10, 10, 0), 2, 0),
        ({"lost": 0, "doubled": 1}, Stored(10, 10, 0), 0, 1),
        ({"lost": 0, "doubled": 0}, Stored(10, 7, 0), 3, 0),
        ({"lost": 3, "doubled": 0}, Stored(10, 7, 0), 3, 0),
        ({"lost": 0, "doubled": 1}, Stored(10, 10, 4), 0, 5),
        ({"lost": 0, "doubled": 0}, Stored(11, 10, 0), 0, 1),
    ],
)
def test_books_tell_what_the_client_or_the_database_misses(
    seen: dict[str, int], stored: Stored, lost: int, doubled: int
) -> None:
    books = queue.Books()
    books.count(10, seen)
    books.compare(stored)

    assert (books.lost, books.doubled) == (lost, doubled)
