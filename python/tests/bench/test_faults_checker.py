"""The checker of the fault harness finds what is wrong in a history, and nothing where all is well.

Histories are made of what an honest platform could have told; then one lie is put in.
"""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bench.faults.checker import Verdict, judge
from bench.faults.history import Action, History, Operation, Outcome, Seen

SUCCEEDS = frozenset({"SUCCEEDED"})


@st.composite
def honest_histories(draw: st.DrawFn) -> History:
    """Some submissions, each requested once or more, delivered once or more, and looked at."""
    history = History()
    clock = 0.0
    for number in range(draw(st.integers(1, 6))):
        key, task_id = f"key-{number}", f"task-{number}"
        end = draw(st.sampled_from(["SUCCEEDED", "FAILED", "CANCELLED"]))
        history.wanted[key] = frozenset({end})

        def add(action: Action, outcome: Outcome = Outcome.OK, **more: object) -> None:
            nonlocal clock
            begin, clock = clock, clock + 1.0
            known = task_id if outcome is Outcome.OK else ""  # noqa: B023  # called at once
            history.add(
                Operation("client", action, outcome, begin, clock, key, known, **more)  # noqa: B023
            )

        for _ in range(draw(st.integers(0, 2))):
            unanswered = draw(st.sampled_from([Outcome.INDETERMINATE, Outcome.FAIL]))
            add(Action.SUBMIT, unanswered)
        add(Action.SUBMIT, seen=Seen("QUEUED", 0))
        attempts = draw(st.integers(1, 3))
        for attempt in range(1, attempts + 1):
            add(draw(st.sampled_from([Action.EVENT, Action.READ])), seen=Seen("RUNNING", attempt))
        ended = Seen(end, attempts, f"{end} {number}")
        for action in draw(
            st.lists(st.sampled_from([Action.EVENT, Action.READ]), min_size=1, max_size=4)
        ):
            add(action, seen=ended)
        if end == "SUCCEEDED":
            for _ in range(draw(st.integers(1, 2))):
                add(Action.RESULT, result=f"digest-{number}")
        add(Action.LIST, seen=ended)
    return history


def figures(verdict: Verdict) -> tuple[int, int, int, int]:
    """What must be nought under every fault."""
    return (
        verdict.lost,
        verdict.duplicate_effects,
        verdict.terminal_rewrites,
        verdict.unexpected,
    )


@given(honest_histories())
def test_an_honest_history_breaks_nothing(history: History) -> None:
    verdict = judge(history)

    assert figures(verdict) == (0, 0, 0, 0)
    assert verdict.violations == []
    assert verdict.acknowledged == verdict.submissions == len(history.wanted)
    unanswered = [each for each in history.operations if each.outcome is Outcome.INDETERMINATE]
    assert verdict.indeterminate == len(unanswered)


@given(honest_histories())
def test_deliveries_beyond_the_first_are_counted(history: History) -> None:
    most = {
        each.task_id: each.seen.attempt_count
        for each in history.operations
        if each.action is Action.LIST and each.seen is not None
    }
    assert judge(history).duplicate_deliveries == sum(count - 1 for count in most.values())


@given(honest_histories(), st.randoms())
def test_a_task_that_is_never_seen_to_end_is_lost(history: History, chance: random.Random) -> None:
    victim = chance.choice(sorted(history.wanted))
    history.operations = [
        each
        for each in history.operations
        if not (each.key == victim and each.seen is not None and each.seen.has_ended)
    ]

    verdict = judge(history)

    assert verdict.lost == 1
    assert any(victim in each.about for each in verdict.violations)


@given(honest_histories(), st.randoms())
def test_a_task_that_ends_as_nobody_wants_is_lost(history: History, chance: random.Random) -> None:
    victim = chance.choice(sorted(history.wanted))
    history.wanted[victim] = frozenset({"something else"})

    assert judge(history).lost == 1


@given(honest_histories(), st.randoms())
def test_the_result_of_something_else_is_a_loss(history: History, chance: random.Random) -> None:
    results = [i for i, each in enumerate(history.operations) if each.action is Action.RESULT]
    if not results:
        return
    place = chance.choice(results)
    history.operations[place] = replace(history.operations[place], right=False)

    assert judge(history).lost == 1


@given(honest_histories(), st.randoms())
def test_a_success_without_a_result_is_a_loss(history: History, chance: random.Random) -> None:
    done = sorted({each.key for each in history.operations if each.action is Action.RESULT})
    if not done:
        return
    victim = chance.choice(done)
    history.operations = [
        each
        for each in history.operations
        if not (each.key == victim and each.action is Action.RESULT)
    ]

    assert judge(history).lost == 1


@given(honest_histories(), st.randoms())
def test_a_second_result_is_a_doubled_effect(history: History, chance: random.Random) -> None:
    results = [each for each in history.operations if each.action is Action.RESULT]
    if not results:
        return
    history.add(replace(chance.choice(results), result="another"))

    assert judge(history).duplicate_effects == 1


@given(honest_histories(), st.randoms())
def test_a_second_task_of_one_key_is_a_doubled_effect(
    history: History, chance: random.Random
) -> None:
    listed = [each for each in history.operations if each.action is Action.LIST]
    history.add(replace(chance.choice(listed), task_id="task-twice"))

    verdict = judge(history)

    assert verdict.duplicate_effects == 1
    assert any("task-twice" in each.about for each in verdict.violations)


@given(honest_histories(), st.sampled_from(["RUNNING", "QUEUED", "FAILED"]), st.randoms())
def test_an_end_that_changes_is_a_rewrite(
    history: History, state: str, chance: random.Random
) -> None:
    """Whoever looks again after the end was told must see the same end."""
    last = history.operations[-1].ended_s
    listed = [each for each in history.operations if each.action is Action.LIST]
    seen = Seen(state, 9, "another end" if state == "FAILED" else "")
    history.add(
        replace(
            chance.choice(listed),
            action=Action.READ,
            seen=seen,
            invoked_s=last + 1,
            ended_s=last + 2,
        )
    )

    assert judge(history).terminal_rewrites == 1


@given(honest_histories(), st.randoms())
def test_events_of_an_order_that_cannot_be_are_a_rewrite(
    history: History, chance: random.Random
) -> None:
    told = [
        each
        for each in history.operations
        if each.action is Action.EVENT and each.seen is not None and each.seen.has_ended
    ]
    if not told:
        return
    last = history.operations[-1].ended_s + 1
    victim = replace(chance.choice(told), seen=Seen("RUNNING", 1), invoked_s=last, ended_s=last)
    history.add(victim)

    assert judge(history).terminal_rewrites == 1


def test_a_look_that_began_before_the_end_was_told_may_see_the_task_run() -> None:
    ended = Seen("SUCCEEDED", 1, "SUCCEEDED a")
    history = History(wanted={"key": SUCCEEDS})
    for operation in (
        Operation("a", Action.SUBMIT, Outcome.OK, 0, 1, "key", "task", Seen("QUEUED", 0)),
        Operation("a", Action.READ, Outcome.OK, 2, 3, "", "task", ended),
        Operation("b", Action.READ, Outcome.OK, 1, 4, "", "task", Seen("RUNNING", 1)),
        Operation("a", Action.RESULT, Outcome.OK, 4, 5, "key", "task", None, "digest"),
    ):
        history.add(operation)

    assert figures(judge(history)) == (0, 0, 0, 0)


def test_a_task_of_a_request_that_nobody_answered_is_recovered() -> None:
    history = History(wanted={"key": SUCCEEDS})
    ended = Seen("SUCCEEDED", 1, "SUCCEEDED a")
    history.add(Operation("a", Action.SUBMIT, Outcome.INDETERMINATE, 0, 1, "key"))
    history.add(Operation("a", Action.LIST, Outcome.OK, 2, 3, "key", "task", ended))

    verdict = judge(history)

    assert (verdict.recovered, verdict.acknowledged) == (1, 0)
    assert figures(verdict) == (0, 0, 0, 0)


def test_a_task_of_a_request_that_was_refused_is_a_doubled_effect() -> None:
    history = History(wanted={"key": SUCCEEDS})
    ended = Seen("SUCCEEDED", 1, "SUCCEEDED a")
    history.add(Operation("a", Action.SUBMIT, Outcome.FAIL, 0, 1, "key"))
    history.add(Operation("a", Action.LIST, Outcome.OK, 2, 3, "key", "task", ended))

    assert judge(history).duplicate_effects == 1


@given(honest_histories())
def test_a_task_that_nobody_submitted_is_told(history: History) -> None:
    stranger = Operation("a", Action.LIST, Outcome.OK, 0, 1, "a stranger", "task-x", None)
    history.add(stranger)

    assert judge(history).unexpected == 1
