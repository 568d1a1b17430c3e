"""A real PostgreSQL for tests, with a database of its own for whoever asks."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from gridpact.kit.settings import Address
from gridpact.platform.postgres import Postgres, database_url

_START_SECONDS = 20.0
_PASSWORD = "only-for-tests"


class PostgresServer:
    """A cluster in a private folder, gone with its owner. It does not wait for the disk."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gridpact-postgres-"))
        self._postgres = Postgres.find(self._folder)
        self._postgres.initialise(_PASSWORD)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = Address("127.0.0.1", probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return database_url(self._address, _PASSWORD)

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        self._spawn()
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                if self._process is None or self._process.poll() is not None:
                    # After a kill the last backends hold the shared memory for a moment.
                    self._spawn()
                # Nothing announces that a server listens; asking again is all there is.
                time.sleep(0.02)

    def _spawn(self) -> None:
        command = self._postgres.server_command(self._address)
        self._process = subprocess.Popen(
            [*command, "-c", "fsync=off", "-c", "shared_buffers=64MB"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def create_database(self, template: str = "template1") -> str:
        """The URL of a fresh database, a copy of ``template``."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return f"{self.url.rpartition('/')[0]}/{name}"

    def kill(self) -> None:
        """As a power cut does it: SIGKILL to the whole server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Ends the server and deletes its data."""
        if self._process is not None:
            # The fast shutdown: it does not wait for clients to leave.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)
            self._process = None
        shutil.rmtree(self._folder)
