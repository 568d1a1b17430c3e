"""The supervisor on tables of small real processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from gridpact.platform import supervisor
from gridpact.platform.error import PlatformError
from gridpact.platform.state import ProcessRecord
from gridpact.platform.supervisor import ProcessSpec, Supervisor
from tests.platform.processes import still_alive

SERVE = "echo event=ready; exec sleep 1000"


def shell(name: str, script: str, **rest: object) -> ProcessSpec:
    return ProcessSpec(name=name, command=("sh", "-c", script), **rest)  # pyright: ignore[reportArgumentType]


class Watch:
    """Runs a table and tells when something has come about."""

    def __init__(self, *table: ProcessSpec) -> None:
        self.unwritable = False
        self.lines: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.history: list[tuple[str, str]] = []
        self._happened = asyncio.Event()
        self.supervisor = Supervisor(
            table,
            write=self._write,
            say=self._say,
            changed=self._changed,
            end_orphans=self._end_orphans,
        )
        self.ready = asyncio.Event()
        self.running = asyncio.ensure_future(self.supervisor.run(self.ready.set))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._happened.clear()
                await self._happened.wait()

    def now(self, name: str) -> ProcessRecord:
        return next(record for record in self.supervisor.records() if record.name == name)

    def process(self, name: str) -> psutil.Process:
        identity = self.now(name).identity
        assert identity is not None
        process = identity.process()
        assert process is not None
        return process

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.wait({self.running})

    def _write(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._happened.set()
        if self.unwritable:
            raise ValueError(line)

    def _say(self, text: str) -> None:
        self.said.append(text)
        self._happened.set()
        if self.unwritable:
            raise ValueError(text)

    def _changed(self) -> None:
        for record in self.supervisor.records():
            if (record.name, record.state) not in self.history[-1:]:
                known = [state for name, state in self.history if name == record.name]
                if known[-1:] != [record.state]:
                    self.history.append((record.name, record.state))
        self._happened.set()

    def _end_orphans(self, spared: Iterable[int]) -> None:
        """The tests' own process has other children; the platform's tests see orphans end."""


@asynccontextmanager
async def watching(*table: ProcessSpec) -> AsyncGenerator[Watch]:
    watch = Watch(*table)
    try:
        yield watch
    finally:
        watch.supervisor.hurry()
        await watch.stop()


async def test_starts_each_process_when_what_it_needs_is_ready() -> None:
    async with watching(
        shell("last", SERVE, after=("second", "side")),
        shell("second", SERVE, after=("first",)),
        shell("first", SERVE),
        shell("side", "exit 0", one_shot=True),
    ) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        order = watch.history
        assert order.index(("first", "ready")) < order.index(("second", "starting"))
        assert order.index(("second", "ready")) < order.index(("last", "starting"))
        assert order.index(("side", "done")) < order.index(("last", "starting"))


async def test_stops_in_reverse_order() -> None:
    script = "trap 'echo bye; exit 0' TERM; echo event=ready; while :; do sleep 1000 & wait; done"
    async with watching(
        shell("store", script),
        shell("middle", script, after=("store",)),
        shell("top", script, after=("middle",)),
    ) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        processes = [watch.process(name) for name in ("store", "middle", "top")]
        await watch.stop()
        assert [name for name, line in watch.lines if line == "bye"] == ["top", "middle", "store"]
        assert not still_alive(processes, 0)


async def test_restarts_what_is_killed_and_says_so() -> None:
    async with watching(shell("victim", SERVE), shell("bystander", SERVE)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        bystander = watch.process("bystander")
        for death in (1, 2):
            victim = watch.process("victim")
            victim.kill()
            await watch.until(
                lambda death=death: (
                    watch.now("victim").restarts == death and watch.now("victim").state == "ready"
                )
            )
            assert watch.process("victim") != victim
        assert watch.process("bystander") == bystander
        assert watch.said == [
            "victim died: killed by SIGKILL; starting it again in 0.1 s",
            "victim died: killed by SIGKILL; starting it again in 0.2 s",
        ]


async def test_what_never_starts_ends_the_platform_with_its_last_lines() -> None:
    async with watching(
        shell("store", SERVE),
        shell("broken", "echo cannot open the thing >&2; exit 3", after=("store",)),
    ) as watch:
        with pytest.raises(PlatformError, match=r"exit code 3(?s:.)*cannot open the thing"):
            await asyncio.wait_for(watch.running, 20)
        assert watch.now("broken").restarts == 5
        assert watch.now("store").identity is None


async def test_what_fails_later_is_tried_until_it_starts_and_leaves_the_others_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_BACKOFF_SECONDS", 0.1)
    hindrance = tmp_path / "hindrance"
    command = f"test -e {hindrance} && exit 4; {SERVE}"
    async with watching(shell("fickle", command), shell("steady", SERVE)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        steady = watch.process("steady")
        hindrance.touch()
        watch.process("fickle").kill()
        tries = 2 * supervisor.FAILED_STARTS_ALLOWED
        await watch.until(lambda: watch.now("fickle").restarts > tries)
        hindrance.unlink()
        await watch.until(lambda: watch.now("fickle").state == "ready")
        assert watch.process("steady") == steady
        assert not watch.running.done()


async def test_a_failed_step_ends_the_platform_at_once() -> None:
    async with watching(
        shell("migrate", "echo no such table; exit 1", one_shot=True),
        shell("later", SERVE, after=("migrate",)),
    ) as watch:
        with pytest.raises(PlatformError, match="migrate did not start: exit code 1"):
            await asyncio.wait_for(watch.running, 20)
        assert ("later", "starting") not in watch.history


async def test_what_is_not_ready_in_time_is_started_again(tmp_path: Path) -> None:
    second_time = (
        f"test -e {tmp_path}/once && {{ {SERVE}; }}; touch {tmp_path}/once; exec sleep 1000"
    )
    async with watching(shell("slow", second_time, ready_seconds=1.0)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        assert watch.said == ["slow was not ready within 1 s; starting it again in 0.1 s"]


async def test_a_slow_start_gets_twice_the_time_after_each_that_failed() -> None:
    spec = shell("slow", "exec sleep 1000", ready_seconds=0.2, longest_ready_seconds=0.7)
    async with watching(spec) as watch:
        await watch.until(lambda: len(watch.said) == 4)
        given = [words.split("within ")[1].split(" s;")[0] for words in watch.said]
        assert given == ["0.2", "0.4", "0.7", "0.7"]


async def test_waits_for_the_probe_after_the_line() -> None:
    answers = iter([False, False, True])

    async def probe() -> bool:
        return next(answers)

    async with watching(shell("server", SERVE, probe=probe)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        assert next(answers, None) is None


async def test_kills_what_ignores_its_stop_signal_and_its_children() -> None:
    stubborn = "trap '' TERM; sleep 1000 & echo event=ready; wait; wait"
    async with watching(shell("stubborn", stubborn, stop_seconds=0.2)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        leader = watch.process("stubborn")
        processes = [leader, *leader.children(recursive=True)]
        await watch.stop()
        assert len(processes) == 2
        assert not still_alive(processes, 5)


async def test_a_second_signal_cuts_the_grace_short() -> None:
    async with watching(
        shell(
            "stubborn",
            "trap '' TERM; echo event=ready; sleep 1000; sleep 1000",
            stop_seconds=1000.0,
        )
    ) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        watch.running.cancel()
        await watch.until(lambda: watch.now("stubborn").state == "stopping")
        watch.supervisor.hurry()
        async with asyncio.timeout(20):
            await asyncio.wait({watch.running})


async def test_a_process_that_stops_answering_signals_is_killed() -> None:
    async with watching(shell("frozen", SERVE, stop_seconds=0.2)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
        frozen = watch.process("frozen")
        os.kill(frozen.pid, signal.SIGSTOP)
        await watch.stop()
        assert not still_alive([frozen], 5)


async def test_long_and_broken_lines_arrive() -> None:
    script = "head -c 200000 /dev/zero | tr '\\0' x; echo; printf '\\377 odd\\nevent=ready\\nend'"
    async with watching(shell("talker", script, one_shot=True)) as watch:
        await asyncio.wait_for(watch.ready.wait(), 20)
    talk = [line for _, line in watch.lines]
    assert "".join(talk[:-3]) == "x" * 200_000
    assert talk[-3:] == ["\ufffd odd", "event=ready", "end"]


async def test_a_process_that_says_it_is_broken_is_started_again(tmp_path: Path) -> None:
    script = f"""echo event=ready
        if mkdir {tmp_path}/broken; then echo java.lang.OutOfMemoryError; fi
        exec sleep 1000"""
    async with watching(shell("a", script, fatal_line=re.compile("OutOfMemoryError"))) as watch:
        await watch.until(lambda: watch.now("a").restarts == 1 and watch.now("a").state == "ready")


async def test_lines_that_cannot_be_written_keep_nothing_from_its_work(tmp_path: Path) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(str(context["exception"]))
    )
    script = f"""echo hello; echo event=ready
        if mkdir {tmp_path}/broken; then echo java.lang.OutOfMemoryError; fi
        exec sleep 1000"""
    async with watching(
        shell("a", script, fatal_line=re.compile("OutOfMemoryError")), shell("b", SERVE)
    ) as watch:
        watch.unwritable = True
        await watch.until(lambda: watch.now("a").restarts == 1 and watch.now("a").state == "ready")
        await asyncio.wait_for(watch.ready.wait(), 20)
        assert watch.now("b").restarts == 0
        assert not watch.running.done()
    assert {"hello", "event=ready", "java.lang.OutOfMemoryError", *watch.said} <= set(told)
