"""Real PostgreSQL and Redis under a real keeper and supervisor, as the user who runs the tests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg
import pytest
import redis

from gridpact.platform import commands
from gridpact.platform.error import PlatformError
from gridpact.platform.options import PlatformOptions
from gridpact.platform.postgres import AS_NOBODY, NOBODY, Postgres, find_binaries
from gridpact.platform.report import Report
from gridpact.platform.running import (
    RunningPlatform,
    find_platform,
    read_report,
    running_platform,
    start_keeper,
)
from gridpact.platform.state import StateFolder
from tests.platform.processes import family, still_alive

GONE_SECONDS = 20


def servers(path: Path) -> PlatformOptions:
    return PlatformOptions(state_dir=path / "state", engine="python", only=("postgres", "redis"))


@dataclass(frozen=True, slots=True)
class Started:
    keeper: subprocess.Popen[bytes]
    platform: RunningPlatform

    def pid(self, process: str) -> int:
        record = self.platform.record()
        assert record is not None
        identity = {entry.name: entry.identity for entry in record.processes}[process]
        assert identity is not None
        return identity.pid

    @property
    def supervisor_pid(self) -> int:
        record = self.platform.record()
        assert record is not None
        return record.supervisor.pid


@contextmanager
def started(options: PlatformOptions) -> Generator[Started]:
    """A platform that the test may kill; whatever is left of it is killed in the end."""
    keeper, reports = start_keeper(options, detached=False)
    processes: list[psutil.Process] = []
    try:
        with reports:
            while read_report(reports.readline(), options).process != "platform":
                pass
        processes = family(keeper.pid)
        platform = find_platform(options.state_dir)
        assert platform is not None
        yield Started(keeper, platform)
    finally:
        keeper.terminate()
        keeper.wait(timeout=GONE_SECONDS)
        for process in processes:
            if process.is_running():
                process.kill()


def query(platform: RunningPlatform, statement: LiteralString) -> object:
    url = platform.environment["GRIDPACT_DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as client:
        cursor = client.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    return row and row[0]


def cache(platform: RunningPlatform) -> redis.Redis:
    return redis.Redis.from_url(platform.environment["GRIDPACT_REDIS_URL"])


async def test_serves_for_the_length_of_the_block_and_keeps_its_data(tmp_path: Path) -> None:
    options = servers(tmp_path)
    reports: list[Report] = []
    async with running_platform(options, reports.append) as platform:
        query(platform, "CREATE TABLE kept AS SELECT 7 AS n")
        with cache(platform) as client:
            client.set("kept", 7)
        record = platform.record()
        assert record is not None
        processes = family(record.keeper.pid)
    assert len(processes) > 4
    assert not still_alive(processes, 0)
    assert platform.record() is None
    assert [report.process for report in reports if report.process != "redis"] == [
        "initdb",
        "postgres",
        "platform",
    ]
    async with running_platform(options) as platform:
        assert query(platform, "SELECT n FROM kept") == 7
        with cache(platform) as client:
            assert client.get("kept") == b"7"


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    options = servers(tmp_path)
    families: list[list[psutil.Process]] = []

    def cancel(report: Report) -> None:
        record = StateFolder(options.state_dir).read_run()
        assert record is not None
        families.append(family(record.keeper.pid))
        starting.cancel()

    async def start() -> None:
        async with running_platform(options, cancel):
            raise AssertionError("it was cancelled before")

    starting = asyncio.ensure_future(start())
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(families) == 1
    assert not still_alive(families[0], 0)


async def test_nobody_enters_without_the_password(tmp_path: Path) -> None:
    async with running_platform(servers(tmp_path)) as platform:
        postgres, cache_address = platform.addresses["postgres"], platform.addresses["redis"]
        for user, password in (("gridpact", "wrong"), ("gridpact", ""), ("postgres", "")):
            url = f"postgresql://{user}:{password}@{postgres}/gridpact"
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url)
        with (
            redis.Redis(host=cache_address.host, port=cache_address.port) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        assert (
            query(platform, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        )
        assert query(platform, "SELECT current_setting('fsync')") == "on"
        with cache(platform) as client:
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_no_password_shows_in_the_process_list(tmp_path: Path) -> None:
    with started(servers(tmp_path)) as it:
        words = " ".join(word for process in family(it.keeper.pid) for word in process.cmdline())
        assert it.platform.secrets.database_password not in words
        assert it.platform.secrets.redis_password not in words


@pytest.mark.parametrize("victim", ["supervisor", "keeper"])
def test_nothing_outlives_a_killed(tmp_path: Path, victim: str) -> None:
    with started(servers(tmp_path)) as it:
        processes = family(it.keeper.pid)
        os.kill(it.supervisor_pid if victim == "supervisor" else it.keeper.pid, signal.SIGKILL)
        assert not still_alive(processes, GONE_SECONDS)
        assert it.platform.record() is None


def test_nothing_outlives_a_platform_killed_as_a_whole(tmp_path: Path) -> None:
    options = servers(tmp_path)
    with started(options) as it:
        processes = family(it.keeper.pid)
        # In this order the keeper cannot see the supervisor die.
        os.kill(it.keeper.pid, signal.SIGKILL)
        os.kill(it.supervisor_pid, signal.SIGKILL)
        assert not still_alive(processes, GONE_SECONDS)
        assert it.platform.record() is not None, "nobody was left to remove run.json"
    with started(options) as it:
        assert query(it.platform, "SELECT 1") == 1


@pytest.mark.parametrize("victim", ["postgres", "redis"])
def test_a_killed_server_comes_back_with_its_data(tmp_path: Path, victim: str) -> None:
    with started(servers(tmp_path)) as it:
        query(it.platform, "CREATE TABLE kept AS SELECT 7 AS n")
        with cache(it.platform) as client:
            client.set("kept", 7)
        processes = family(it.pid(victim))
        os.kill(it.pid(victim), signal.SIGKILL)
        assert not still_alive(processes, GONE_SECONDS)
        wait_for_line(it.platform.folder.logs / f"{victim}.log", "eady to accept connections", 2)
        assert query(it.platform, "SELECT n FROM kept") == 7
        with cache(it.platform) as client:
            assert client.get("kept") == b"7"


def wait_for_line(log: Path, text: str, times: int) -> None:
    """Follows a log file until a text has come up so often."""
    with subprocess.Popen(["tail", "-n", "+1", "-F", str(log)], stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        for line in tail.stdout:
            times -= text in line.decode()
            if times == 0:
                tail.terminate()
                return


def test_a_second_one_on_the_folder_is_refused_and_one_on_another_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(servers(tmp_path / "one")) as one:
        assert commands.up(servers(tmp_path / "one")) == 1
        assert f"already running (pid {one.keeper.pid})" in capsys.readouterr().err
        with (
            pytest.raises(PlatformError, match="already running"),
            started(servers(tmp_path / "one")),
        ):
            pass
        with started(servers(tmp_path / "two")) as two:
            assert query(one.platform, "SELECT 1") == query(two.platform, "SELECT 1") == 1
            assert not set(one.platform.addresses.values()) & set(two.platform.addresses.values())


def up_command(options: PlatformOptions, *, detach: bool) -> list[str]:
    """`gridpact up` in a process of its own, for these options."""
    script = (
        "import sys; from pathlib import Path; from gridpact.platform import commands, options;"
        "chosen = options.PlatformOptions(state_dir=Path(sys.argv[1]), engine='python',"
        " only=('postgres', 'redis'));"
        f"raise SystemExit(commands.up(chosen, detach={detach}))"
    )
    return [sys.executable, "-c", script, str(options.state_dir)]


def test_up_detached_status_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = servers(tmp_path)
    folder = options.state_dir
    assert commands.status(folder, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "stopped"
    up = subprocess.run(up_command(options, detach=True), capture_output=True, text=True)
    try:
        assert (up.returncode, up.stderr) == (0, "")
        assert commands.status(folder, as_json=True) == 0
        shown = json.loads(capsys.readouterr().out)
        assert f"running (pid {shown['pid']})" in up.stdout
        processes = family(shown["pid"])
        steps = shown["processes"]
        assert [process["name"] for process in steps] == ["initdb", "postgres", "redis"]
        assert all(process["rss_bytes"] > 0 for process in steps[1:])
        assert commands.status(folder) == 0
        assert "127.0.0.1:" in capsys.readouterr().out
    finally:
        assert commands.down(folder) == 0
    assert not still_alive(processes, 0)
    assert commands.down(folder) == 0
    assert capsys.readouterr().out.endswith("stopped\nnot running\n")


def test_ctrl_c_stops_the_foreground_platform(tmp_path: Path) -> None:
    with subprocess.Popen(
        up_command(servers(tmp_path), detach=False),
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if line.startswith(b"platform | ") and b" ready in " in line:
                break
        processes = family(up.pid)
        # What the terminal does: the signal goes to the whole foreground group.
        os.killpg(up.pid, signal.SIGINT)
        rest = up.stdout.read().decode()
    assert up.returncode == 0
    assert rest.endswith("stopped\n")
    assert not still_alive(processes, 0)


def test_a_folder_with_a_long_and_odd_name_will_do(tmp_path: Path) -> None:
    with started(servers(tmp_path / ("long" * 30) / "a 'quoted' \"näme\"")) as it:
        assert query(it.platform, "SELECT 1") == 1
        with cache(it.platform) as client:
            assert client.ping()


def test_an_unknown_process_is_refused(tmp_path: Path) -> None:
    options = PlatformOptions(state_dir=tmp_path, engine="python", only=("postgras",))
    with pytest.raises(PlatformError, match="no such process: postgras"), started(options):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")
def test_root_without_user_namespaces_runs_postgresql_as_nobody(tmp_path: Path) -> None:
    locked = tmp_path / "home"
    locked.mkdir(mode=0o700)
    postgres = Postgres(find_binaries(), AS_NOBODY, NOBODY, locked / "data")
    postgres.initialise("unused")
    assert (postgres.data / "PG_VERSION").stat().st_uid == NOBODY
    assert stat.S_IMODE(postgres.data.stat().st_mode) == 0o700
    # Root can run it in a user namespace the next time: the files become root's again.
    Postgres(find_binaries(), (), 0, postgres.data).prepare()
    assert (postgres.data / "PG_VERSION").stat().st_uid == 0
