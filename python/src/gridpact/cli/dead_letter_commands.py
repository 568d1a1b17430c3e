"""The commands of `gridpact dead-letters`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridpact.broker.port import BrokerUnavailable
from gridpact.cli.dead_letters import (
    DeadLetterError,
    DeadLetters,
    Letter,
    Replay,
    connected_letters,
)
from gridpact.cli.report import show_error
from gridpact.kit.errors import GridpactError
from gridpact.kit.settings import QueueSettings, SettingsError, read_settings
from gridpact.kit.violation import ContractError
from gridpact.platform.error import PlatformError
from gridpact.platform.running import NotReadyYetError, find_platform

FAILURE, USAGE = 1, 2
# What is shown of a body: a year of series is nothing to look at.
_SHOWN_CHARACTERS = 2000
_SHOWN_BYTES = 128
# The columns beside the id, with some words of the error.
_OTHERS_WIDTH = 60
_UNBOUNDED = 10_000

Answer = TypeVar("Answer")

dead_letters = typer.Typer(
    name="dead-letters",
    help="Messages that nobody could do anything with: list, show, replay.",
    no_args_is_help=True,
)

Topic = Annotated[
    str | None,
    typer.Option(help="Only this topic, such as auto-dispatch. [default: all]", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StateDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the platform's state. [default: GRIDPACT_STATE_DIR, or .gridpact]",
        show_default=False,
    ),
]


@dead_letters.command("list")
def list_letters(
    topic: Topic = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to show.")] = 100,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> None:
    """List dead letters, the newest first, with the last error of each."""
    # One more than is shown tells whether there are more.
    found = _with_letters(state_dir, lambda letters: letters.all(topic, limit + 1))
    if as_json:
        _print_json([_members(letter) for letter in found[:limit]])
        return
    console = Console()
    if not found:
        console.print("no dead letters" + (f" in {escape(topic)}" if topic else ""))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("died", no_wrap=True)
    table.add_column("deliveries", justify="right")
    table.add_column("last error", overflow="fold", min_width=20)
    for letter in found[:limit]:
        died = letter.letter.dead_time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(letter.name, died, str(letter.letter.attempts), escape(letter.cause))
    # What has to be copied is never cut: ids of RocketMQ are long, and a terminal can wrap them.
    width = console.width if console.is_terminal else _UNBOUNDED
    longest = max((len(letter.name) for letter in found[:limit]), default=0)
    console.print(table, width=max(width, longest + _OTHERS_WIDTH), crop=False)
    if len(found) > limit:
        Console(stderr=True).print(f"there are more than {limit}: --limit shows them")


@dead_letters.command("show")
def show_letter(
    id: Annotated[str, typer.Argument(metavar="ID", help="An id that `list` shows.")],
    as_json: Json = False,
    state_dir: StateDir = None,
) -> None:
    """Show a dead letter: its header fields, its last error and its body."""
    (letter,) = _with_letters(state_dir, lambda letters: letters.find([id]))
    if as_json:
        _print_json(_members(letter) | _body_of(letter))
        return
    console = Console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _members(letter).items():
        if name == "properties":
            for key, text in value.items():
                facts.add_row(f"header {escape(key)}", escape(text))
        elif value is not None:
            facts.add_row(name.replace("_", " "), escape(str(value)))
    console.print(facts)
    body = _body_of(letter)
    if "input" in body:
        text = msgspec.json.format(bytes(body["input"]), indent=2).decode()
        console.print("\ninput", style="bold")
        console.print(text[:_SHOWN_CHARACTERS], markup=False, highlight=False, soft_wrap=True)
        if len(text) > _SHOWN_CHARACTERS:
            left = len(text) - _SHOWN_CHARACTERS
            console.print(f"… {left} more characters: --json shows them", style="dim")
        return
    if letter.claim_bytes is not None:
        console.print(f"\n{body['input_kept']}", markup=False, highlight=False, soft_wrap=True)
        return
    words = f"\nthe body cannot be read: {body['body_error']}; its beginning:"
    console.print(words, markup=False, highlight=False, soft_wrap=True)
    console.print(letter.letter.body[:_SHOWN_BYTES].hex(" "), highlight=False, soft_wrap=True)


@dead_letters.command("replay")
def replay_letters(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids that `list` shows.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them, or all of --topic.")] = False,
    topic: Topic = None,
    as_json: Json = False,
    state_dir: StateDir = None,
) -> None:
    """Give dead letters another chance.

    A task that FAILED is submitted once more as a new task, which names it (replay_of); it gets one
    replay, even if the command died half-way. Every other message goes back to its topic.
    """
    if bool(ids) == all_ or (topic is not None and not all_):
        show_error(Console(stderr=True), "replay takes ids, or --all, perhaps with --topic")
        raise typer.Exit(USAGE)

    async def replay(letters: DeadLetters) -> list[Replay]:
        found = await letters.all(topic) if all_ else await letters.find(ids or [])
        return await letters.replay(found)

    outcomes = _with_letters(state_dir, replay)
    if as_json:
        _print_json([asdict(outcome) for outcome in outcomes])
    else:
        console = Console()
        if not outcomes:
            console.print("no dead letters" + (f" in {escape(topic)}" if topic else ""))
        for outcome in outcomes:
            words = f"{outcome.name}  {_words_of(outcome)}"
            console.print(words, markup=False, highlight=False, soft_wrap=True)
    if any(outcome.outcome == "left" for outcome in outcomes):
        raise typer.Exit(FAILURE)


def _words_of(outcome: Replay) -> str:
    match outcome.outcome:
        case "submitted":
            return f"submitted again as task {outcome.new_task_id}"
        case "queued":
            return "is back on its topic"
        case _:
            return f"left as it is: there is no task {outcome.task_id}"


def _members(letter: Letter) -> dict[str, Any]:
    dead = letter.letter
    task_id = letter.headers.task_id if letter.headers else None
    return {
        "id": letter.name,
        "topic": letter.topic,
        "task_id": task_id,
        "key": dead.key,
        "deliveries": dead.attempts,
        "dead_time": dead.dead_time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "error": letter.cause,
        "bridge_id": dead.holder,
        "body_bytes": len(dead.body),
        "properties": dict(dead.properties),
    }


def _body_of(letter: Letter) -> dict[str, Any]:
    """Of the JSON of a letter, what shows its body."""
    if letter.claim_bytes is not None:
        kept = f"the input ({letter.claim_bytes} bytes) is kept with the task; replay uses it"
        return {"input_bytes": letter.claim_bytes, "input_kept": kept}
    try:
        return {"input": msgspec.Raw(letter.input_json())}
    except ContractError as error:
        return {"body_error": error.message, "body": letter.letter.body}


def _with_letters(
    state_dir: Path | None, work: Callable[[DeadLetters], Awaitable[Answer]]
) -> Answer:
    """What the work gives; what goes wrong becomes words on standard error and an exit code."""

    async def connected() -> Answer:
        async with connected_letters(_settings(state_dir)) as letters:
            return await work(letters)

    code = FAILURE
    try:
        return asyncio.run(connected())
    except DeadLetterError as error:
        words, code = str(error), USAGE
    except GridpactError as error:
        words = f"{error.reason}: {error.message}"
    except (BrokerUnavailable, SettingsError, PlatformError) as error:
        words = str(error)
    show_error(Console(stderr=True), words)
    raise typer.Exit(code)


def _settings(state_dir: Path | None) -> QueueSettings:
    not_ready: NotReadyYetError | None = None
    try:
        platform = find_platform(state_dir)
    except NotReadyYetError as error:
        platform, not_ready = None, error
    if platform is not None:
        return read_settings(QueueSettings, platform.environment)
    try:
        return read_settings(QueueSettings)
    except SettingsError as error:
        if not_ready is not None:
            raise not_ready from error
        raise SettingsError(
            "no platform runs here: start one with `gridpact up`, or name another one's queue "
            f"in the environment ({error})"
        ) from error


def _print_json(value: Sequence[object] | dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    sys.stdout.buffer.flush()
