"""What a worker may use of the machine's memory.

Three nets, the finest first: an allocation beyond the limit fails in the worker; the front looks
ten times a second at what its busy workers use; and when the machine runs out all the same, the
kernel takes a worker and not the front.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.settings import LEAST_WORKER_MEMORY_MIB

OUT_OF_MEMORY_EXIT = 71
"""How a worker ends that ran out of memory."""

CHECK_INTERVAL_S = 0.1

_MIB = 1 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")
_OOM_SCORE = "500"  # of 1000: what the kernel adds when it looks for a process to kill


def share_mib(workers: int) -> int:
    """What each worker may use: its share of three quarters of the machine, or its container."""
    return max(LEAST_WORKER_MEMORY_MIB, 3 * machine_memory_bytes() // (4 * workers * _MIB))


def machine_memory_bytes() -> int:
    """The least of the machine's memory and the limits of this process's control groups."""
    limits = [os.sysconf("SC_PHYS_PAGES") * _PAGE]
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        files: list[str] = []
        if not controllers:
            files = [f"/sys/fs/cgroup{path}/memory.max", "/sys/fs/cgroup/memory.max"]
        elif controllers == "memory":
            folder, name = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
            files = [f"{folder}{path}/{name}", f"{folder}/{name}"]
        limits += [int(text) for file in files for text in _lines(file) if text.isdigit()]
    return min(limits)


def private_mib(pid: int) -> int:
    """What a process has for itself alone; 0 when it is gone."""
    pages = _pages(pid)
    return (pages[1] - pages[2]) * _PAGE // _MIB if pages else 0


def limit_memory(limit_mib: int) -> None:
    """Of this process, once it has started: from now on an allocation beyond the limit fails."""
    own = os.getpid()
    pages = _pages(own)
    assert pages, "Linux tells what a process uses"
    # What is reserved and not used does not count.
    reserved = max(0, pages[5] * _PAGE - private_mib(own) * _MIB)
    limit = limit_mib * _MIB + reserved
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def out_of_memory(limit_mib: int) -> GridpactError:
    words = (
        f"the task needs more than the {limit_mib} MiB that a worker may use; ask for fewer slots, "
        "assets or scenarios, or raise GRIDPACT_WORKER_MEMORY_MIB of the node"
    )
    return GridpactError(Reason.OUT_OF_MEMORY, words, limit_mib=limit_mib)


def _pages(pid: int) -> list[int]:
    """size, resident, shared, text, lib, data of a process, in pages; nothing when it is gone."""
    lines = _lines(f"/proc/{pid}/statm")
    return [int(count) for count in lines[0].split()] if lines else []


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
