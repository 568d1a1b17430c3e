"""What clients did and were told, in the order in which it came to an end.

As Jepsen's histories are: every operation has an invocation and an outcome. **ok**: it was done.
**fail**: it was certainly not done. **indeterminate**: nobody told, and it may have been done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


class Action(StrEnum):
    """What a client does."""

    SUBMIT = "submit"
    READ = "read"  # a task, by its id
    EVENT = "event"  # a task, as the event stream tells of it
    LIST = "list"  # a task, as the list of all tasks has it
    RESULT = "result"
    CANCEL = "cancel"


class Outcome(StrEnum):
    """How an operation ended."""

    OK = "ok"
    FAIL = "fail"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as a client saw it. ``end`` tells one terminal state from every other; "" before."""

    state: str
    attempt_count: int
    end: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; times are this process's monotonic clock in seconds.

    ``key`` names the submission (its idempotency key, and the label of its task). ``result`` is a
    digest of the result, with ``right`` saying whether it is the one that was asked for.
    """

    client: str
    action: Action
    outcome: Outcome
    invoked_s: float
    ended_s: float
    key: str = ""
    task_id: str = ""
    seen: Seen | None = None
    result: str = ""
    right: bool = True
    detail: str = ""


@dataclass(slots=True)
class History:
    """The operations so far, and what each submission asked for: the states it may end in."""

    operations: list[Operation] = field(default_factory=list[Operation])
    wanted: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)

    def write(self, file: Path) -> None:
        """One line of JSON an operation."""
        lines = (json.dumps(asdict(each)) + "\n" for each in self.operations)
        file.write_text("".join(lines), encoding="utf-8")

    def of(self, names: Iterable[str]) -> list[Operation]:
        """What happened to the submissions or tasks of these keys or ids."""
        wanted = set(names)
        return [each for each in self.operations if {each.key, each.task_id} & wanted]


def now_s() -> float:
    return time.monotonic()
