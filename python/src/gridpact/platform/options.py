"""What a person can choose about a platform, and where its parts lie."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Broker = Literal["redis", "rocketmq"]
Engine = Literal["julia", "python", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformOptions:
    """The choices of ``gridpact up``.

    ``broker``: what carries the tasks; ``rocketmq`` needs scripts/setup-rocketmq and Java.
    ``workers`` counts the worker processes of each compute node. ``only`` narrows the platform
    to the named processes (and drops the order they would have had to the others): tests use it
    for a bare PostgreSQL and Redis. ``detours[process][server]`` is the ``host:port`` at which the
    process shall look for the server: whoever tries faults of the network listens there.
    """

    state_dir: Path = field(default_factory=lambda: default_state_dir())
    broker: Broker = "redis"
    engine: Engine = "all"
    workers: int = field(default_factory=lambda: default_workers())
    only: tuple[str, ...] = ()
    detours: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def __post_init__(self) -> None:
        # The processes are told this path; where they are started from must not matter.
        object.__setattr__(self, "state_dir", self.state_dir.absolute())


def default_state_dir() -> Path:
    """GRIDPACT_STATE_DIR, else ``.gridpact`` in the repository, else in the working folder."""
    chosen = os.environ.get("GRIDPACT_STATE_DIR")
    return Path(chosen) if chosen else (repository() or Path.cwd()) / ".gridpact"


def default_workers() -> int:
    """Half the cores for each of the two engines, four at most."""
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def repository() -> Path | None:
    """The clone this package runs from; None when it was installed as a wheel."""
    root = Path(__file__).resolve().parents[4]
    return root if (root / "julia" / "Project.toml").is_file() else None
