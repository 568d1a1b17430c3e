"""Who dies with whom: no process of the platform may outlive it, whatever kills what.

Two promises of the Linux kernel carry this. A process can ask for a signal when its parent dies
(`dies_with_parent`), and an ancestor can ask to become the parent of every orphan below it
(`adopt_orphans`), so that none can slip away to init.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from gridpact.platform.error import PlatformError

_PR_SET_CHILD_SUBREAPER = 36


def dies_with_parent(
    command: tuple[str, ...], death_signal: signal.Signals = signal.SIGTERM
) -> tuple[str, ...]:
    """The command, so wrapped that it gets ``death_signal`` when its parent dies.

    The wrapper replaces itself by the command. Raises PlatformError without util-linux.
    """
    if shutil.which("setpriv") is None:
        raise PlatformError("setpriv is missing: install util-linux (2.33 or later)")
    return ("setpriv", "--pdeathsig", death_signal.name, "--", *command)


def adopt_orphans() -> None:
    """Makes this process the parent of every descendant whose own parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def kill_children(spared: Iterable[int] = ()) -> None:
    """Kills and reaps every child of this process, with its descendants, but the spared pids.

    Returns when none is left. A process that adopts orphans leaves nothing behind this way:
    what a killed child had started becomes a child and is killed in the next round.
    """
    spared_pids = frozenset(spared)
    while True:
        doomed = [child for child in psutil.Process().children() if child.pid not in spared_pids]
        if not doomed:
            return
        for child in doomed:
            for process in (*_descendants(child), child):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        for child in doomed:
            with suppress(ChildProcessError):
                os.waitpid(child.pid, 0)


def wait_for_children(seconds: float) -> bool:
    """Reaps children until none is left; False when some still run after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


def stop_process_tree(root: psutil.Process, grace_seconds: float) -> None:
    """Ends a process that is not our child, in order if it can, and then all it had started."""
    tree = [*_descendants(root), root]
    with suppress(psutil.NoSuchProcess):
        root.terminate()
    psutil.wait_procs([root], timeout=grace_seconds)
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(tree)


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
