"""What the command line says before any platform is asked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridpact.cli.__main__ import app
from gridpact.platform.state import Identity, ProcessRecord, RunRecord, StateFolder

ALL = "dispatch, power-flow, unit-commitment, replay, mpc-step, plan-check, probe"


def said(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    return result.exit_code, result.output.strip()


def test_version_is_that_of_the_package() -> None:
    assert said("--version") == (0, "gridpact 0.1.0")


def test_an_unknown_kind_lists_those_there_are() -> None:
    assert said("run", "x.json", "--kind", "disptach") == (
        2,
        f"error --kind: there is no kind disptach; there are {ALL}",
    )


@pytest.mark.parametrize("name", ["Nowhere", "../etc", "Europe", ""])
def test_an_unknown_zone_is_named_without_more_quotes(name: str) -> None:
    code, words = said("run", "x.json", "--time-zone", name)
    assert code == 2
    assert words == (
        f"error --time-zone: there is no zone {name}; names are such as Europe/Berlin or UTC"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--broker", "kafka"), "'--broker': 'kafka' is not one of 'redis', 'rocketmq'."),
        (("up", "--engine", "c"), "'--engine': 'c' is not one of 'julia', 'python', 'all'."),
        (("run", "x.json", "--engine", "c"), "'--engine': 'c' is not one of"),
    ],
)
def test_a_choice_that_is_none_is_told_from_those_there_are(
    arguments: tuple[str, ...], words: str
) -> None:
    code, told = said(*arguments)
    assert code == 2
    assert f"Invalid value for {words}" in told


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"# Read me", "invalid character (byte 0)"),
        (b"{", "Input data was truncated"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_json_is_said_once(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    code, words = said("run", str(file))
    assert code == 2
    assert f"x: this is no JSON: {why}" in " ".join(words.split())


def test_an_input_of_another_kind_needs_its_kind(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text(json.dumps({"network": {}}), encoding="utf-8")
    code, words = said("run", str(file))
    assert code == 2
    assert "say --kind power-flow" in words
    assert ALL in words


def test_dead_letters_need_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDPACT_REDIS_URL", raising=False)
    code, words = said("dead-letters", "list", "--state-dir", str(tmp_path))
    assert code == 1
    assert words.startswith("error no platform runs here: start one with `gridpact up`")
    assert "GRIDPACT_REDIS_URL is not set" in words


@pytest.fixture(params=["nothing known yet", "starting", "stopping"])
def unready(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A state folder that a platform holds which is not ready, and what is to be said of it."""
    folder = StateFolder(tmp_path / "state")
    folder.create()
    lock = folder.lock()
    assert lock is not None
    mine = Identity(os.getpid(), 0.0)
    states = {"redis": "ready", "migrate": "done", "api": "waiting", "compute-julia": "starting"}
    processes = tuple(ProcessRecord(name, state, 0.0) for name, state in states.items())
    if request.param == "nothing known yet":
        words = "the platform here is starting: `gridpact status` shows how far it is"
    else:
        folder.write_run(RunRecord(request.param, mine, mine, 0.0, "redis", {}, processes))
        words = {
            "starting": "the platform here is starting (api, compute-julia not ready yet): "
            "`gridpact status` shows how far it is",
            "stopping": "the platform here is stopping: `gridpact status` shows what still runs",
        }[request.param]
    yield folder.path, words
    os.close(lock)


def test_a_platform_that_starts_is_told_from_none(
    unready: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir, words = unready
    monkeypatch.delenv("GRIDPACT_REDIS_URL", raising=False)
    monkeypatch.delenv("GRIDPACT_URL", raising=False)
    file = tmp_path / "input.json"
    file.write_text("{}", encoding="utf-8")
    where = ("--state-dir", str(state_dir))
    assert said("run", str(file), *where) == (1, f"error {words}")
    assert said("dead-letters", "list", *where) == (1, f"error {words}")
    assert said("demo", *where) == (1, f"error {words}")


def test_a_platform_that_starts_is_in_nobodys_way_to_another(
    unready: tuple[Path, str], tmp_path: Path
) -> None:
    file = tmp_path / "input.json"
    file.write_text("{}", encoding="utf-8")
    where = ("--url", "http://127.0.0.1:1", "--state-dir", str(unready[0]))
    code, words = said("run", str(file), *where)
    assert code == 1
    assert "127.0.0.1:1" in words


@pytest.mark.parametrize(
    "arguments", [(), ("auto-probe/1-0", "--all"), ("auto-probe/1-0", "--topic", "auto-probe")]
)
def test_replay_takes_ids_or_all(arguments: tuple[str, ...]) -> None:
    code, words = said("dead-letters", "replay", *arguments)
    assert (code, words) == (2, "error replay takes ids, or --all, perhaps with --topic")
