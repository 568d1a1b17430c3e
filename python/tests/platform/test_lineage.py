"""Nothing escapes: neither what detaches itself, nor what ignores signals, nor a parent's death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

import psutil

from gridpact.platform.lineage import dies_with_parent, stop_process_tree
from tests.platform.processes import family, still_alive

GONE_SECONDS = 20

# A process that detaches a child into a session of its own, deaf to SIGTERM, and then serves.
DETACHING = """
setsid sh -c 'trap "" TERM; echo detached $$; sleep 1000; sleep 1000' &
echo event=ready
exec sleep 1000
"""

SUPERVISING = f"""
import asyncio
from gridpact.platform.lineage import adopt_orphans, kill_children
from gridpact.platform.supervisor import ProcessSpec, Supervisor

adopt_orphans()

def write(name, line):
    print(line, flush=True)

async def main():
    table = [ProcessSpec(name="detaching", command=("sh", "-c", {DETACHING!r}))]
    supervisor = Supervisor(
        table, write=write, say=lambda text: None, changed=lambda: None, end_orphans=kill_children
    )
    await supervisor.run(lambda: None)

asyncio.run(main())
"""


@contextmanager
def python(script: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for each in family(process.pid):
                    each.kill()


def detached_child(process: subprocess.Popen[bytes]) -> psutil.Process:
    """Reads on until the process has told of a child that detached itself."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b"detached "):
            return psutil.Process(int(line.split()[1]))
    raise AssertionError("the process ended")


def test_what_a_dead_process_had_detached_ends_before_its_successor_starts() -> None:
    with python(SUPERVISING) as supervising:
        first = detached_child(supervising)
        leader = psutil.Process(supervising.pid).children()[0]
        leader.kill()
        second = detached_child(supervising)
        assert second != first
        assert not still_alive([first, leader], 0)


def test_what_was_detached_ends_with_a_supervisor_that_is_stopped() -> None:
    with python(SUPERVISING) as supervising:
        child = detached_child(supervising)
        supervising.send_signal(signal.SIGINT)
        supervising.wait(timeout=GONE_SECONDS)
        assert not still_alive([child], 0)


def test_what_was_detached_ends_when_its_supervisor_is_killed() -> None:
    keeping = (
        "import subprocess, sys\n"
        "from gridpact.platform.lineage import adopt_orphans, kill_children\n"
        "adopt_orphans()\n"
        f"subprocess.Popen([sys.executable, '-c', {SUPERVISING!r}]).wait()\n"
        "kill_children()\n"
    )
    with python(keeping) as keeper:
        child = detached_child(keeper)
        processes = [child, *family(keeper.pid)]
        psutil.Process(keeper.pid).children()[0].kill()
        keeper.wait(timeout=GONE_SECONDS)
        assert not still_alive(processes, 0)


def test_the_death_of_a_parent_reaches_its_child() -> None:
    command = dies_with_parent(("sleep", "1000"))
    starting = f"import subprocess\nsubprocess.Popen({command!r}).wait()"
    with python(f"{starting}") as parent:
        child = wait_for_child(parent.pid)
        os.kill(parent.pid, signal.SIGKILL)
        assert not still_alive([child], GONE_SECONDS)


def wait_for_child(pid: int) -> psutil.Process:
    """The child once the wrapper has become the command itself."""
    while True:
        for child in psutil.Process(pid).children():
            if child.name() == "sleep":
                return child


def test_a_tree_is_ended_whole() -> None:
    with python(
        "import subprocess; subprocess.run(['sh', '-c', 'echo up; sleep 1000; :'])"
    ) as root:
        assert root.stdout is not None
        assert root.stdout.readline() == b"up\n"
        processes = family(root.pid)
        stop_process_tree(psutil.Process(root.pid), GONE_SECONDS)
        assert len(processes) >= 2
        assert not still_alive(processes, 0)
