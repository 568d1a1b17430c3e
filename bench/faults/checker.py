"""Judges a history: what was lost, doubled, rewritten, or appeared from nowhere.

The invariants are those of docs/reliability.md. A violation names the submissions and tasks that it
is about, so that the lines of the history that show it can be found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.faults.history import Action, History, Operation, Outcome


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that a history breaks, and whom it is about."""

    what: str
    about: tuple[str, ...]


@dataclass(slots=True)
class Verdict:
    """The figures of a history.

    ``acknowledged`` counts submissions that were answered with a task, ``lost`` those of them that
    did not end as they should with their own result. ``indeterminate`` counts requests without an
    answer, ``recovered`` submissions of which no request was ever answered and whose task is
    there. ``unexpected`` tasks were submitted by nobody.
    """

    acknowledged: int = 0
    lost: int = 0
    duplicate_deliveries: int = 0
    duplicate_effects: int = 0
    terminal_rewrites: int = 0
    indeterminate: int = 0
    recovered: int = 0
    unexpected: int = 0
    submissions: int = 0
    requests: int = 0
    violations: list[Violation] = field(default_factory=list[Violation])


def judge(history: History) -> Verdict:
    """The verdict on a history whose clients have read every task that they know to its end."""
    verdict = Verdict()
    submits = [each for each in history.operations if each.action is Action.SUBMIT]
    verdict.requests = len(submits)
    verdict.submissions = len({each.key for each in submits})
    verdict.indeterminate = sum(each.outcome is Outcome.INDETERMINATE for each in submits)
    tasks = _tasks_of_keys(history)
    observations = _observations(history)
    results = _results(history)
    _judge_loss(history, submits, observations, results, verdict)
    _judge_keys(history, submits, tasks, verdict)
    for task_id, seen in observations.items():
        _judge_task(task_id, seen, verdict)
    for task_id, found in results.items():
        others = {each.result for each in found}
        if len(others) > 1:
            verdict.duplicate_effects += len(others) - 1
            verdict.violations.append(Violation("several results", (task_id,)))
    return verdict


def _judge_loss(
    history: History,
    submits: Sequence[Operation],
    observations: dict[str, list[Operation]],
    results: dict[str, list[Operation]],
    verdict: Verdict,
) -> None:
    acknowledged = {each.key: each.task_id for each in submits if each.outcome is Outcome.OK}
    verdict.acknowledged = len(acknowledged)
    for key, task_id in acknowledged.items():
        ends = {
            each.seen.state
            for each in observations.get(task_id, ())
            if each.seen is not None and each.seen.has_ended
        }
        wanted = history.wanted[key]
        if not ends:
            why = "acknowledged, and never seen to end"
        elif not ends <= wanted:
            why = f"ended {' and '.join(sorted(ends))}, not {' or '.join(sorted(wanted))}"
        elif "SUCCEEDED" in ends and not results.get(task_id):
            why = "SUCCEEDED without a result"
        elif not all(each.right for each in results.get(task_id, ())):
            why = "has the result of something else"
        else:
            continue
        verdict.lost += 1
        verdict.violations.append(Violation(why, (key, task_id)))


def _judge_keys(
    history: History, submits: Sequence[Operation], tasks: dict[str, set[str]], verdict: Verdict
) -> None:
    for key, ids in tasks.items():
        if key not in history.wanted:
            verdict.unexpected += len(ids)
            verdict.violations.append(Violation("submitted by nobody", (key, *sorted(ids))))
        elif len(ids) > 1:
            verdict.duplicate_effects += len(ids) - 1
            verdict.violations.append(Violation("one key, several tasks", (key, *sorted(ids))))
    answered = {each.key for each in submits if each.outcome is Outcome.OK}
    unknown = {each.key for each in submits if each.outcome is Outcome.INDETERMINATE} - answered
    refused = {each.key for each in submits} - answered - unknown
    verdict.recovered = len(unknown & tasks.keys())
    for key in sorted(refused & tasks.keys()):
        verdict.duplicate_effects += 1
        verdict.violations.append(Violation("refused, and done all the same", (key,)))


def _judge_task(task_id: str, seen: Sequence[Operation], verdict: Verdict) -> None:
    """One task: its ends are one, and nobody sees it otherwise who looks after somebody saw it."""
    attempts = [each.seen.attempt_count for each in seen if each.seen is not None]
    verdict.duplicate_deliveries += max(0, max(attempts) - 1)
    rewrites = _rewrites([each for each in seen if each.action is Action.EVENT], in_order=True)
    rewrites += _rewrites(
        [each for each in seen if each.action is not Action.EVENT], in_order=False
    )
    ends = {each.seen.end for each in seen if each.seen is not None and each.seen.has_ended}
    # Each observer may have seen another end, and none of them a change.
    rewrites = max(rewrites, len(ends) - 1)
    if rewrites:
        verdict.terminal_rewrites += rewrites
        verdict.violations.append(Violation("a terminal state was rewritten", (task_id,)))
    if len(ends) > 1:
        verdict.duplicate_effects += len(ends) - 1


def _rewrites(seen: Iterable[Operation], *, in_order: bool) -> int:
    """How often a task was seen otherwise by a look that began after its end had been seen.

    The events of one stream have an order of their own; looks that overlap have none.
    """
    count = 0
    end: str | None = None
    known_s = float("inf")
    for each in sorted(seen, key=lambda each: each.ended_s):
        assert each.seen is not None
        later = in_order or each.invoked_s >= known_s
        if end is not None and later and each.seen.end != end:
            count += 1
        if each.seen.has_ended and (end is None or later):
            end = each.seen.end
            known_s = min(known_s, each.ended_s)
    return count


def _tasks_of_keys(history: History) -> dict[str, set[str]]:
    """Which tasks there are of each key, from answers and from the list of all tasks."""
    tasks: dict[str, set[str]] = defaultdict(set)
    for each in history.operations:
        if each.key and each.task_id and each.outcome is Outcome.OK:
            tasks[each.key].add(each.task_id)
    return tasks


def _observations(history: History) -> dict[str, list[Operation]]:
    seen: dict[str, list[Operation]] = defaultdict(list)
    for each in history.operations:
        if each.seen is not None:
            seen[each.task_id].append(each)
    return seen


def _results(history: History) -> dict[str, list[Operation]]:
    results: dict[str, list[Operation]] = defaultdict(list)
    for each in history.operations:
        if each.action is Action.RESULT and each.outcome is Outcome.OK:
            results[each.task_id].append(each)
    return results
