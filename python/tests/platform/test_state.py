"""The state folder: private, locked by one platform at a time, and never fooled by a pid."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gridpact.platform import commands
from gridpact.platform.addresses import HOST, USUAL_PORTS, PortClaims
from gridpact.platform.options import PlatformOptions
from gridpact.platform.state import Identity, ProcessRecord, RunRecord, StateFolder
from gridpact.platform.supervise import stop_leftovers


def made(path: Path) -> StateFolder:
    folder = StateFolder(path / "state")
    folder.create()
    return folder


def test_secrets_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    folder = made(tmp_path)
    secrets = folder.secrets()
    assert secrets == folder.secrets()
    assert secrets != made(tmp_path / "other").secrets()
    assert (folder.path / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert secrets.database_password not in repr(secrets)


def test_one_platform_holds_the_lock(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert not folder.is_locked()
    held = folder.lock()
    assert held is not None
    assert folder.is_locked()
    assert folder.lock() is None
    os.close(held)
    assert not folder.is_locked()


def record_of(identity: Identity) -> RunRecord:
    return RunRecord(
        state="ready",
        keeper=identity,
        supervisor=identity,
        start_time=0.0,
        broker="redis",
        addresses={},
        processes=(ProcessRecord("redis", "ready", 0.0, identity=identity),),
    )


def test_ends_the_leftovers_of_a_killed_platform(tmp_path: Path) -> None:
    folder = made(tmp_path)
    leftover = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    identity = Identity.of(leftover.pid)
    assert identity is not None
    folder.write_run(record_of(identity))
    stop_leftovers(folder)
    leftover.wait(timeout=10)
    assert identity.process() is None
    assert folder.read_run() is None


def test_spares_a_stranger_who_got_the_pid(tmp_path: Path) -> None:
    folder = made(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        identity = Identity.of(stranger.pid)
        assert identity is not None
        folder.write_run(record_of(Identity(stranger.pid, identity.start_time - 60)))
        stop_leftovers(folder)
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert stranger.returncode == 0


def test_two_platforms_never_get_the_same_port() -> None:
    first, second = PortClaims(), PortClaims()
    try:
        mine, theirs = first.claim(USUAL_PORTS), second.claim(USUAL_PORTS)
        assert set(mine) == set(theirs) == set(USUAL_PORTS)
        ports = [address.port for address in (*mine.values(), *theirs.values())]
        assert len(set(ports)) == len(ports)
    finally:
        first.close()
        second.close()


def test_another_port_is_found_when_the_usual_one_is_taken() -> None:
    claims = PortClaims()
    try:
        first = claims.claim(["api"])["api"].port
        with socket.create_server((HOST, first)):
            claims.close()
            assert claims.claim(["api"])["api"].port != first
    finally:
        claims.close()


def test_an_unreadable_record_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path)
    (folder.path / "run.json").write_bytes(b'{"state": ')
    assert commands.down(folder.path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"gridpact down: cannot read {folder.path}/run.json")
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert commands.up(PlatformOptions(state_dir=tmp_path / "file" / "state")) == 1
    error = capsys.readouterr().err
    assert error.startswith("gridpact up: cannot use the state folder: ")
    assert error.count("\n") == 1
