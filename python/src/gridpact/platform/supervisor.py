"""Runs a table of processes: starts them in order, restarts what dies, stops them in reverse.

One task keeps one process. Stopping is cancelling the tasks: each then waits until the processes
that depend on its own are gone and stops it. A process that cannot be started raises in its task,
which cancels the others, so a failed start ends by the same path as Ctrl-C.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ParamSpec

from gridpact.platform.error import PlatformError
from gridpact.platform.state import Identity, ProcessRecord

FAILED_STARTS_ALLOWED = 4
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 10.0
# A process that has served this long is healthy: its next death is a first one again.
HEALTHY_SECONDS = 10.0
LAST_LINES = 25

_PROBE_INTERVAL_SECONDS = 0.05
_READ_BYTES = 65536

Arguments = ParamSpec("Arguments")

READY_EVENT = re.compile(r"(^|\s)event=ready(\s|$)")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One row of the process table.

    A process starts when all in ``after`` are ready. It is ready when a line of its output
    matches ``ready_line`` and then ``probe``, if any, answers True; a ``one_shot`` is ready when
    it has exited with 0. It gets ``ready_seconds`` for that, and twice as long after each failed
    start, up to ``longest_ready_seconds``, if given.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    after: tuple[str, ...] = ()
    one_shot: bool = False
    ready_line: re.Pattern[str] = READY_EVENT
    probe: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 60.0
    longest_ready_seconds: float | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 6.0
    address: str | None = None
    # A line that says the process only seems to be alive: it is killed and started again.
    fatal_line: re.Pattern[str] | None = None


class NotReadyError(Exception):
    """A process could not be started, ended, or ran out of time before it was ready."""


class Supervisor:
    """Keeps the processes of a table alive while ``run`` runs.

    ``write(process, line)`` gets every line the processes print, ``say(sentence)`` what the
    supervisor has to tell: when they raise, the loop's exception handler hears of it and nothing
    else is affected. ``changed()`` is called after every change of ``records()``;
    ``end_orphans(pids)`` must end every child of this process but those.
    """

    def __init__(
        self,
        table: Sequence[ProcessSpec],
        *,
        write: Callable[[str, str], None],
        say: Callable[[str], None],
        changed: Callable[[], None],
        end_orphans: Callable[[Iterable[int]], None],
    ) -> None:
        self._write = _harmless(write)
        self._say = _harmless(say)
        self._changed = changed
        self._end_orphans = end_orphans
        self._kept = {spec.name: _Kept(spec) for spec in table}
        for kept in self._kept.values():
            for name in kept.spec.after:
                self._kept[name].dependents.append(kept)
        self._hurry = asyncio.Event()
        self.was_ready = False

    def records(self) -> tuple[ProcessRecord, ...]:
        """How every process stands, in the order of the table."""
        return tuple(kept.record() for kept in self._kept.values())

    def hurry(self) -> None:
        """Cuts every grace period short: what still runs is killed."""
        self._hurry.set()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Runs the table until cancelled; calls ``on_ready`` once, when all are ready.

        Whatever way it ends, no process of the table runs afterwards. Raises PlatformError when
        a process cannot be brought up before the platform has ever been ready; afterwards such
        a process is tried again for ever, because what keeps it down may pass: a full disk.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for kept in self._kept.values():
                    tasks.create_task(self._keep(kept))
                for kept in self._kept.values():
                    await kept.ready.wait()
                self.was_ready = True
                on_ready()
        except ExceptionGroup as group:
            # Early releases of Python 3.11 would wrap what `except*` raises once more.
            failed = group.subgroup(PlatformError)
            if failed is None:
                raise
            raise failed.exceptions[0] from None
        finally:
            self._end_orphans(())

    async def _keep(self, kept: _Kept) -> None:
        try:
            for name in kept.spec.after:
                await self._kept[name].ready.wait()
            while await self._live(kept):
                await self._back_off(kept)
        finally:
            if kept.state not in ("done", "failed"):
                self._change(kept, "stopped")
            kept.gone.set()

    async def _live(self, kept: _Kept) -> bool:
        """One life of the process, from its start to its end; whether another shall follow."""
        spec = kept.spec
        last_lines: Sequence[str] = ()
        try:
            life = Life(spec, lambda line: self._write(spec.name, line))
            last_lines = life.last_lines
            try:
                exit_code = await self._watch(kept, life)
            finally:
                # Dead already, unless the platform stops or the process was not ready in time.
                await life.stop(self._hurry)
                kept.note_end(life)
                self._end_orphans([alive.pid for alive in self._alive()])
        except NotReadyError as error:
            problem = str(error)
            kept.failed_starts += 1
        else:
            if spec.one_shot:
                return False
            problem = f"died: {describe_exit(exit_code)}"
            kept.failed_starts = 0
        hopeless = kept.failed_starts > FAILED_STARTS_ALLOWED and not self.was_ready
        if spec.one_shot or hopeless:
            self._change(kept, "failed")
            raise PlatformError("\n".join((f"{spec.name} {problem}; its last lines:", *last_lines)))
        self._say(f"{spec.name} {problem}; starting it again in {kept.backoff_seconds():.1f} s")
        return True

    async def _back_off(self, kept: _Kept) -> None:
        self._change(kept, "restarting")
        await asyncio.sleep(kept.backoff_seconds())

    async def _watch(self, kept: _Kept, life: Life) -> int:
        """Sees a life through to its exit code; cancelled, waits until nobody needs it."""
        kept.life = life
        self._change(kept, "starting")
        try:
            await life.until_ready(kept.ready_seconds())
            self._change(kept, "done" if kept.spec.one_shot else "ready")
            kept.ready.set()
            return await life.exit_code()
        except asyncio.CancelledError:
            for dependent in kept.dependents:
                await dependent.gone.wait()
            self._change(kept, "stopping")
            raise

    def _alive(self) -> list[Life]:
        return [kept.life for kept in self._kept.values() if kept.life is not None]

    def _change(self, kept: _Kept, state: str) -> None:
        kept.state = state
        kept.since = time.time()
        if state != "done":
            kept.ready.clear()
        self._changed()


class _Kept:
    """One process over all its lives."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.dependents: list[_Kept] = []
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.state = "waiting"
        self.since = time.time()
        self.life: Life | None = None
        self.deaths = 0
        self.failed_starts = 0
        self._deaths_in_a_row = 0

    def note_end(self, life: Life) -> None:
        self.life = None
        if self.spec.one_shot:
            return
        healthy = time.monotonic() - life.start_instant >= HEALTHY_SECONDS
        self._deaths_in_a_row = 1 if healthy else self._deaths_in_a_row + 1
        self.deaths += 1

    def backoff_seconds(self) -> float:
        doublings = min(self._deaths_in_a_row - 1, 16)
        return min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**doublings)

    def ready_seconds(self) -> float:
        """How long this start may take."""
        seconds = self.spec.ready_seconds
        longest = self.spec.longest_ready_seconds
        return (
            seconds if longest is None else min(longest, seconds * 2 ** min(self.failed_starts, 16))
        )

    def record(self) -> ProcessRecord:
        return ProcessRecord(
            name=self.spec.name,
            state=self.state,
            since=self.since,
            restarts=self.deaths,
            identity=self.life.identity if self.life else None,
            address=self.spec.address,
        )


class Life:
    """A process from its start to its death. It is the leader of a session of its own."""

    def __init__(self, spec: ProcessSpec, write: Callable[[str], None]) -> None:
        """Starts the process; every line of its output goes to ``write``.

        Raises NotReadyError when the system cannot start it.
        """
        self._spec = spec
        self._loop = asyncio.get_running_loop()
        self._ready_line_seen = asyncio.Event()
        self._write = write
        self._rest = b""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.start_instant = time.monotonic()
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._reader, write_end = os.pipe()
        os.set_blocking(self._reader, False)
        try:
            self._process = subprocess.Popen(
                spec.command,
                env={**os.environ, **spec.environment},
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._reader)
            raise NotReadyError(f"cannot be started: {error}") from error
        finally:
            os.close(write_end)
        self.pid = self._process.pid
        self.identity = Identity.of(self.pid)
        self._loop.add_reader(self._reader, self._read)
        threading.Thread(target=self._wait, name=f"wait-{spec.name}", daemon=True).start()

    async def until_ready(self, seconds: float) -> None:
        """Returns when the process is ready; raises NotReadyError when it will not be."""
        ready = asyncio.ensure_future(self._ready())
        try:
            await asyncio.wait(
                {ready, self._exit},
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if ready.done():
                ready.result()
                return
        finally:
            ready.cancel()
        if not self._exit.done():
            raise NotReadyError(f"was not ready within {seconds:g} s")
        if not (self._spec.one_shot and self._exit.result() == 0):
            raise NotReadyError(f"did not start: {describe_exit(self._exit.result())}")

    async def exit_code(self) -> int:
        """Waits for the end of the process; negative when a signal killed it."""
        return await asyncio.shield(self._exit)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Ends the process: its stop signal, then SIGKILL after its grace or when in a hurry.

        Ends what is left of its process group too, at once: the leader has had its say.
        """
        try:
            if not self._exit.done() and not hurry.is_set():
                self._process.send_signal(self._spec.stop_signal)
                await self._exit_within(self._spec.stop_seconds, hurry)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.exit_code()
            self._drain()

    async def _exit_within(self, seconds: float, hurry: asyncio.Event) -> None:
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait(
            {self._exit, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()

    async def _ready(self) -> None:
        if self._spec.one_shot:
            await asyncio.Event().wait()  # its exit says it all
        await self._ready_line_seen.wait()
        # Nothing announces that a server answers; asking again is all there is.
        while self._spec.probe is not None and not await self._spec.probe():  # noqa: ASYNC110
            await asyncio.sleep(_PROBE_INTERVAL_SECONDS)

    def _wait(self) -> None:
        code = self._process.wait()
        self._loop.call_soon_threadsafe(self._exit.set_result, code)

    def _read(self) -> None:
        chunk = os.read(self._reader, _READ_BYTES)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) >= _READ_BYTES or (not chunk and self._rest):
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._take(line.decode(errors="replace").rstrip("\r"))
        if not chunk:
            self._loop.remove_reader(self._reader)

    def _take(self, line: str) -> None:
        self.last_lines.append(line)
        if self._spec.ready_line.search(line):
            self._ready_line_seen.set()
        if self._spec.fatal_line and self._spec.fatal_line.search(line):
            self._process.kill()
        self._write(line)

    def _drain(self) -> None:
        """Takes what is left in the pipe. A grandchild may still hold the other end."""
        self._loop.remove_reader(self._reader)
        with suppress(BlockingIOError):
            while chunk := os.read(self._reader, _READ_BYTES):
                self._rest += chunk
        for line in self._rest.splitlines():
            self._take(line.decode(errors="replace"))
        os.close(self._reader)


def _harmless(tell: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The same, but nobody who tells something suffers from that it cannot be told."""

    def telling(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except Exception as error:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a line could not be handed on", "exception": error}
            )

    return telling


def describe_exit(code: int) -> str:
    """The exit code as a person would say it."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
