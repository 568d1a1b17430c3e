"""`gridpact import`: a file in, a submission out, and words for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridpact.cli.__main__ import app
from gridpact.cli.run import submission_of
from tests.cli.importing.test_matpower import CASE


@pytest.fixture
def case(tmp_path: Path) -> Path:
    file = tmp_path / "small.m"
    file.write_text(CASE, "utf-8")
    return file


def test_prints_a_submission_that_run_understands(case: Path) -> None:
    done = CliRunner().invoke(app, ["import", "matpower", str(case)])
    assert done.exit_code == 0
    assert "note: isolated (BUS_TYPE 4)" in done.stderr
    submission = submission_of(done.stdout.encode(), kind=None, engine=None, timeout_s=None)
    assert submission["kind"] == "power-flow"


def test_writes_to_the_file_that_is_named(case: Path, tmp_path: Path) -> None:
    written = tmp_path / "out.json"
    done = CliRunner().invoke(app, ["import", "matpower", str(case), "-o", str(written)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert json.loads(written.read_text("utf-8"))["label"] == "small"


@pytest.mark.parametrize(
    ("format_", "text", "words"),
    [
        ("matpower", CASE.replace("\t20\t2\t50", "\t20\t2\tx"), "row 2: PD must be a number"),
        ("pandapower", "{", "this is no JSON: Input data was truncated"),
        ("pandapower", "x", "this is no JSON: invalid character (byte 0)"),
        ("matpower", "\udcff", "can't decode"),
    ],
)
def test_says_by_file_what_is_wrong(tmp_path: Path, format_: str, text: str, words: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = CliRunner().invoke(app, ["import", format_, str(file)])
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", "pandapower", str(tmp_path / "none.json")])
    assert done.exit_code == 2
    assert "none.json: No such file" in done.stderr
