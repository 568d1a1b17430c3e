"""The state folder: one place for data, secrets, logs and the record of the running platform.

secrets.json   passwords and shared secrets, made once, mode 0600
run.json       the platform that runs now: addresses, processes, their pids and start times
lock           held by a running platform, let go by the kernel however it ends
postgres/  redis/  logs/
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from gridpact.kit.settings import Address
from gridpact.platform.error import PlatformError

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the platform's parts prove themselves to each other with, and the first admin."""

    database_password: str = field(repr=False)
    redis_password: str = field(repr=False)
    bridge_secret: str = field(repr=False)
    compute_secret: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)

    @classmethod
    def random(cls) -> Secrets:
        return cls(
            database_password=secrets.token_hex(24),
            redis_password=secrets.token_hex(24),
            bridge_secret=secrets.token_hex(32),
            compute_secret=secrets.token_hex(32),
            admin_email="admin@gridpact.local",
            admin_password=secrets.token_urlsafe(18),
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told apart from a later one with the same pid by its start time."""

    pid: int
    start_time: float

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The process if it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """How one process of the table stands; ``since`` is the unix time of the last change."""

    name: str
    state: str
    since: float
    restarts: int = 0
    identity: Identity | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The content of run.json. ``state`` is starting, ready or stopping."""

    state: str
    keeper: Identity
    supervisor: Identity
    start_time: float
    broker: str
    addresses: dict[str, str]
    processes: tuple[ProcessRecord, ...] = ()

    def address(self, process: str) -> Address | None:
        text = self.addresses.get(process)
        return None if text is None else Address.parse(text)


class StateFolder:
    """Reads and writes the state folder. Nothing is created before ``create``."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._secrets = self.path / "secrets.json"
        self._run = self.path / "run.json"
        self._lock = self.path / "lock"

    def create(self) -> None:
        """Makes the folder, for its owner's eyes only. Raises PlatformError."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise PlatformError(f"cannot use the state folder: {error}") from error

    def lock(self) -> int | None:
        """Takes the folder for one platform; None when another holds it.

        The lock lasts until every process that inherited the descriptor has closed it or died.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def is_locked(self) -> bool:
        """Whether a platform runs on this folder."""
        if not self._lock.exists():
            return False
        descriptor = self.lock()
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def secrets(self) -> Secrets:
        """The secrets of this folder, made on the first call."""
        secrets = _read(self._secrets, Secrets)
        if secrets is None:
            secrets = Secrets.random()
            write_private(self._secrets, msgspec.json.format(msgspec.json.encode(secrets)))
        return secrets

    def read_run(self) -> RunRecord | None:
        """The record of the platform that runs or last ran here without stopping in order."""
        return _read(self._run, RunRecord)

    def write_run(self, record: RunRecord) -> None:
        write_private(self._run, msgspec.json.format(msgspec.json.encode(record)))

    def remove_run(self) -> None:
        with suppress(FileNotFoundError):
            self._run.unlink()


def write_private(path: Path, content: bytes) -> None:
    """Replaces the file in one step; only its owner may read it (mode 0600)."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    fresh.replace(path)


def _read(path: Path, kind: type[Kind]) -> Kind | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, PermissionError) as error:
        raise PlatformError(f"cannot read {path}: {error}") from error
