"""`gridpact run`: one task from a file, through the running platform, to a result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast, get_args
from uuid import uuid4

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gridpact.cli.client import Client, TaskUpdate
from gridpact.cli.words import no_json
from gridpact.contracts import rest
from gridpact.contracts.rest import Task, TaskFailure, TaskKind, TaskProgress

KINDS: tuple[str, ...] = get_args(TaskKind)

HANG_UP_SECONDS = 30.0


class InputError(Exception):
    """The file is not what a task can be made of."""


class TaskFailedError(Exception):
    """The task has ended without a result."""

    def __init__(self, failure: TaskFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Finished:
    """A task that has succeeded, and the JSON of its result."""

    task: Task
    result: bytes


def submission_of(
    text: bytes, *, kind: str | None, engine: str | None, timeout_s: float | None
) -> dict[str, object]:
    """The submission that a file asks for: a whole one, or the input of a kind.

    Options override what the file says. Raises InputError for what is no JSON object, where the
    kind contradicts the file, and where nobody says the kind and it is no dispatch; everything
    else is for the API to judge.
    """
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(no_json("this", error)) from error
    if not isinstance(content, dict):
        raise InputError("a JSON object is wanted: the input of a task, or a whole submission")
    given = cast("dict[str, object]", content)
    submission: dict[str, object]
    if "kind" in given and "input" in given:
        if kind not in (None, given["kind"]):
            raise InputError(f"the file says kind {given['kind']}, --kind says {kind}")
        submission = given
    else:
        submission = {"kind": kind or _kind_of(given), "input": given}
    if engine is not None:
        submission["engine"] = engine
    if timeout_s is not None:
        submission["timeout_s"] = timeout_s
    return submission


def _kind_of(given: dict[str, object]) -> str:
    """`dispatch`, unless the members are those that another kind needs: then --kind must say so."""
    fitting = [kind for kind in KINDS if (needed := _required(kind)) and needed <= given.keys()]
    if fitting and "dispatch" not in fitting:
        raise InputError(
            f"this is no input of a dispatch: say --kind {fitting[0]}, "
            f"or what else it is of {', '.join(KINDS)}"
        )
    return "dispatch"


def _required(kind: str) -> set[str]:
    model = getattr(rest, kind.title().replace("-", "") + "Input")
    return {name for name, field in model.model_fields.items() if field.is_required()}


async def run_task(client: Client, submission: dict[str, object], console: Console) -> Finished:
    """Submits, shows progress on the console, and returns when the task has succeeded.

    Interrupted, it cancels the task. Raises TaskFailedError, ApiError and UnreachableError.
    """
    task = await client.submit(msgspec.json.encode(submission), str(uuid4()))
    with _bar(console) as bar:
        shown = bar.add_task(task.state.lower(), total=1.0, found="")
        try:
            async for update in client.follow(task.task_id):
                progress = update.task.progress
                bar.update(
                    shown,
                    description=progress.stage if progress else update.task.state.lower(),
                    completed=progress.fraction if progress else None,
                    found=words_for(progress) if progress else "",
                )
                if (finished := finished_by(update)) is not None:
                    return finished
        except asyncio.CancelledError:
            async with asyncio.timeout(HANG_UP_SECONDS):
                await client.cancel(task.task_id)
            raise
    raise AssertionError("follow() ends with the task")


def words_for(progress: TaskProgress) -> str:
    """What a solver has found so far, and how good that is at least."""
    found: list[str] = []
    if progress.objective is not None:
        found.append(f"cost {progress.objective:,.2f}")
    if progress.bound is not None:
        found.append(f"at least {progress.bound:,.2f}")
    if progress.relative_gap is not None:
        found.append(f"gap {progress.relative_gap:.2%}")
    return ", ".join(found)


def finished_by(update: TaskUpdate) -> Finished | None:
    """The finished task, if the update ends it well. Raises TaskFailedError if it ends badly."""
    if update.result is not None:
        return Finished(update.task, update.result)
    if update.task.state in ("FAILED", "CANCELLED"):
        failure = update.task.failure
        raise TaskFailedError(
            failure or TaskFailure(reason=update.task.state, message="no reason was given")
        )
    return None


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[found]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
