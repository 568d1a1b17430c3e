"""The commands of `gridpact import`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from gridpact.cli.importing import matpower, pandapower, pglib_uc
from gridpact.cli.importing.error import ImportFileError
from gridpact.cli.report import show_error

USAGE = 2

importing = typer.Typer(
    name="import",
    help="Make submissions for `gridpact run` from files of other programs.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(help="The file to read.", show_default=False)]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write. [default: standard output]"),
]


@importing.command("matpower")
def import_matpower(file: File, output: Output = None) -> None:
    """A MATPOWER case file (.m, version 2) as a power-flow submission."""
    _convert(file, output, lambda text: matpower.submission_of(text.decode("utf-8")))


@importing.command("pandapower")
def import_pandapower(file: File, output: Output = None) -> None:
    """A pandapower network, written by pandapower.to_json, as a power-flow submission."""
    _convert(file, output, pandapower.submission_of)


@importing.command("pglib-uc")
def import_pglib_uc(
    file: File,
    output: Output = None,
    start_time: Annotated[
        str | None,
        typer.Option(help="Start of the first slot. [default: the date in the file's name]"),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of the costs.")] = "USD",
) -> None:
    """A PGLib-UC instance (.json) as a unit-commitment submission."""
    start = start_time or pglib_uc.start_in(file.name)
    _convert(
        file,
        output,
        lambda text: (pglib_uc.submission_of(text, start_time=start, currency=currency), []),
    )


def _convert(
    file: Path,
    output: Path | None,
    submission_of: Callable[[bytes], tuple[dict[str, Any], list[str]]],
) -> None:
    """Reads, converts and writes; what stops it is said on standard error, by file."""
    console = Console(stderr=True)
    try:
        submission, notes = submission_of(file.read_bytes())
        written = msgspec.json.format(msgspec.json.encode(submission), indent=1) + b"\n"
        if output is None:
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()
        else:
            output.write_bytes(written)
    except OSError as error:
        show_error(console, f"{error.filename}: {error.strerror}")
        raise typer.Exit(USAGE) from error
    except (ImportFileError, UnicodeDecodeError) as error:
        show_error(console, f"{file}: {error}")
        raise typer.Exit(USAGE) from error
    for note in notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
