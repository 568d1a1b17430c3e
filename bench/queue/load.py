"""What a client of the benchmark does: it submits no-op tasks and notes when it knows each result.

A client runs in a process of its own, Gridpact's and the peers' alike, with the standard library
and the system's own client. Requests come as lines of words separated by tabs, answers go as lines
of JSON:

    burst COUNT         all submitted as fast as the system takes them
    singly COUNT RATE    one after the other, RATE a second at most: an unloaded system
    versions            {NAME: version}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


@dataclass(slots=True)
class Outcome:
    """What the client saw of its tasks.

    ``seconds``: from the first submission until the last result was known. ``lost``: tasks without
    a result within the time limit. ``doubled``: results that came, or executions that were, beyond
    one a task. ``ms``: of single tasks, each from before its submission until its result was known.
    """

    seconds: float = 0.0
    lost: int = 0
    doubled: int = 0
    ms: list[float] = field(default_factory=list)


class Client(Protocol):
    """One system's client."""

    def burst(self, count: int) -> Outcome: ...

    def singly(self, count: int, rate: float) -> Outcome: ...

    def versions(self) -> Mapping[str, str]: ...


class Executions:
    """How often one worker says that it has executed tasks, against how often it was asked to."""

    def __init__(self) -> None:
        self._wanted = 0
        self._counted = 0

    def note(self, number: int) -> None:
        """The worker's count when it executed a task whose result came."""
        self._counted = max(self._counted, number)

    def checked(self, outcome: Outcome, count: int) -> Outcome:
        """The outcome of ``count`` more tasks, with the executions beyond one a task."""
        self._wanted += count
        outcome.doubled = max(0, self._counted - self._wanted)
        return outcome


class Pace:
    """The times at which single tasks are due; a system that is late is not hurried."""

    def __init__(self, rate: float) -> None:
        self._interval_s = 1 / rate
        self._due = time.perf_counter()

    def wait_s(self) -> float:
        """How long until the next task; zero when it is late."""
        now = time.perf_counter()
        self._due = max(self._due + self._interval_s, now)
        return self._due - now


def serve(client: Client) -> None:
    """Answers requests until standard input ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        reply = _answer(client, line.rstrip("\n").split("\t"))
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def _answer(client: Client, words: list[str]) -> Mapping[str, Any]:
    match words:
        case ["burst", count]:
            return asdict(client.burst(int(count)))
        case ["singly", count, rate]:
            return asdict(client.singly(int(count), float(rate)))
        case ["versions"]:
            return client.versions()
        case _:
            raise ValueError(f"not understood: {words}")
