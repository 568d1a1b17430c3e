"""The commands of `gridpact`: options in, exit code out. What they do lies beside this file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from rich.console import Console, RenderableType
from typer.core import TyperGroup

from gridpact.cli.access import Access, NoPlatformError
from gridpact.cli.client import ApiError, UnreachableError
from gridpact.cli.commitment_report import unit_commitment_report
from gridpact.cli.control_report import mpc_step_report, replay_report
from gridpact.cli.dead_letter_commands import dead_letters
from gridpact.cli.demo import demonstrate
from gridpact.cli.demo_site import default_demo_folder
from gridpact.cli.importing.commands import importing
from gridpact.cli.network_report import plan_check_report, power_flow_report
from gridpact.cli.report import (
    PlanView,
    plan_report,
    show_error,
    show_problem,
    show_task_failure,
)
from gridpact.cli.run import (
    KINDS,
    Finished,
    InputError,
    TaskFailedError,
    run_task,
    submission_of,
)
from gridpact.contracts.rest import (
    DispatchResult,
    DispatchSubmission,
    EngineChoice,
    MpcStepResult,
    PlanCheckResult,
    PowerFlowResult,
    ReplayResult,
    UnitCommitmentResult,
)
from gridpact.platform import commands
from gridpact.platform.error import PlatformError
from gridpact.platform.options import (
    Broker,
    Engine,
    PlatformOptions,
    default_state_dir,
    default_workers,
)

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


StateDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the platform's state. [default: GRIDPACT_STATE_DIR, or .gridpact]",
        show_default=False,
    ),
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        min=1, max=64, help="Worker processes of each compute node. [default: half the cores]"
    ),
]
EngineSelection = Annotated[Engine, typer.Option(help="Which compute nodes to start.")]
BrokerSelection = Annotated[
    Broker, typer.Option(help="What carries the tasks; rocketmq needs scripts/setup-rocketmq.")
]


class _Commands(TyperGroup):
    """Says of a wrong option what is wrong, without the name of the exception that found it."""

    def invoke(self, ctx: Any) -> Any:  # typer names the type in private only
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    name="gridpact",
    cls=_Commands,
    help="Plans, simulates and controls energy sites, and computes their networks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


app.add_typer(importing)
app.add_typer(dead_letters)


def _show_version(wanted: bool) -> None:
    if wanted:
        Console().print(f"gridpact {version('gridpact')}", highlight=False)
        raise typer.Exit


@app.callback()
def gridpact(
    version_: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    # The help of the whole is said where `app` is made.
    del version_


@app.command()
def up(
    state_dir: StateDir = None,
    engine: EngineSelection = "all",
    broker: BrokerSelection = "redis",
    workers: WorkerCount = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when the platform is ready.")
    ] = False,
) -> None:
    """Start the embedded platform and show its logs; Ctrl-C stops it."""
    options = _platform_options(state_dir, engine, broker, workers)
    raise typer.Exit(commands.up(options, detach=detach))


@app.command()
def down(state_dir: StateDir = None) -> None:
    """Stop the platform."""
    raise typer.Exit(commands.down(state_dir))


@app.command()
def status(
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what runs, and where. Exit code 0 when the platform is ready."""
    raise typer.Exit(commands.status(state_dir, as_json=as_json))


@app.command()
def demo(
    state_dir: StateDir = None,
    engine: EngineSelection = "all",
    broker: BrokerSelection = "redis",
    workers: WorkerCount = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with site.yaml and its CSV files. [default: demo]"),
    ] = None,
) -> None:
    """Plan a day and a week of a real site, from CSV files to a plan.

    Starts the platform if none runs, and then stops it again.
    """
    options = _platform_options(state_dir, engine, broker, workers)
    folder = data or default_demo_folder()
    if not (folder / "site.yaml").is_file():
        show_error(_errors(), f"{folder} has no site.yaml; --data names the folder")
        raise typer.Exit(USAGE)
    _run(demonstrate(options, folder, Console(), _errors()))


@app.command()
def run(
    file: Annotated[str, typer.Argument(help="JSON file, or - for standard input.")],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help=f"What the file is the input of: {', '.join(KINDS)}. [default: dispatch]",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option(help="Which engine computes. [default: auto]", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print exactly the result object.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=86400,
            help="Seconds after which the task fails. [default: 3600]",
            show_default=False,
        ),
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Time zone of the table.")] = "UTC",
    state_dir: StateDir = None,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="GRIDPACT_URL", help="Another API than that of the platform which runs here."
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="GRIDPACT_TOKEN", help="Access token for --url.")
    ] = None,
) -> None:
    """Compute one task and print its result.

    FILE holds the input of a task as in contracts/schemas/KIND-input.yaml, or a whole submission
    with its kind and input, such as those in contract-tests/golden.
    """
    if kind not in (None, *KINDS):
        show_error(_errors(), f"--kind: there is no kind {kind}; there are {', '.join(KINDS)}")
        raise typer.Exit(USAGE)
    zone = _time_zone(time_zone)
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        submission = submission_of(text, kind=kind, engine=engine, timeout_s=timeout)
    except (OSError, InputError) as error:
        show_error(_errors(), f"{file}: {getattr(error, 'strerror', None) or error}")
        raise typer.Exit(USAGE) from error
    _run(_compute(Access(url, token, state_dir), submission, zone, as_json=as_json))


def _time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # also what no name can be
        words = f"--time-zone: there is no zone {name}; names are such as Europe/Berlin or UTC"
        show_error(_errors(), words)
        raise typer.Exit(USAGE) from error


async def _compute(
    access: Access, submission: dict[str, object], zone: ZoneInfo, *, as_json: bool
) -> None:
    async with access.client() as client:
        finished = await run_task(client, submission, _errors())
    reports: dict[str, Callable[[bytes], RenderableType]] = {
        "replay": lambda text: replay_report(ReplayResult.model_validate_json(text)),
        "mpc-step": lambda text: mpc_step_report(MpcStepResult.model_validate_json(text)),
        "power-flow": lambda text: power_flow_report(PowerFlowResult.model_validate_json(text)),
        "unit-commitment": lambda text: unit_commitment_report(
            UnitCommitmentResult.model_validate_json(text)
        ),
        "plan-check": lambda text: plan_check_report(PlanCheckResult.model_validate_json(text)),
    }
    if not as_json and finished.task.kind in reports:
        Console().print(reports[finished.task.kind](finished.result))
        _errors().print(_who_computed(finished), highlight=False, soft_wrap=True)
        return
    if as_json or finished.task.kind != "dispatch":
        sys.stdout.buffer.write(finished.result + b"\n")
        sys.stdout.buffer.flush()
        return
    console = Console()
    wanted = DispatchSubmission.model_validate(submission).input
    view = PlanView.of(wanted, DispatchResult.model_validate_json(finished.result), zone)
    console.print(plan_report(view, console))
    _errors().print(_who_computed(finished), highlight=False, soft_wrap=True)


def _who_computed(finished: Finished) -> str:
    task = finished.task
    return f"computed by {task.engine} {task.engine_version} in {task.solve_ms or 0:.1f} ms"


def _run(work: Coroutine[None, None, None]) -> None:
    """Runs a command; what went wrong becomes words on standard error and an exit code."""
    console = _errors()
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        show_error(console, "interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except ApiError as error:
        show_problem(console, error.problem)
    except TaskFailedError as error:
        show_task_failure(console, error.failure)
    except (NoPlatformError, PlatformError, UnreachableError) as error:
        show_error(console, str(error))
    else:
        return
    raise typer.Exit(FAILURE)


def _platform_options(
    state_dir: Path | None, engine: Engine, broker: Broker, workers: int | None
) -> PlatformOptions:
    return PlatformOptions(
        state_dir=state_dir or default_state_dir(),
        engine=engine,
        broker=broker,
        workers=workers or default_workers(),
    )


def _errors() -> Console:
    return Console(stderr=True)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
