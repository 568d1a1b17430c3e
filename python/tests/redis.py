"""A real Redis for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from gridpact.kit.settings import Address
from gridpact.platform.redis import prepare_redis, redis_url

_START_SECONDS = 10.0
_PASSWORD = "only-for-tests"


class RedisServer:
    """A Redis in a private folder, as the platform runs it; gone with its owner."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gridpact-redis-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = Address("127.0.0.1", probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return redis_url(self._address, _PASSWORD)

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        command = prepare_redis(self._folder, self._address, _PASSWORD)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise
                    # Nothing announces that a server listens; asking again is all there is.
                    time.sleep(0.01)

    def kill(self) -> None:
        """As a power cut does it: SIGKILL. What Redis had answered is on the disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Ends the server and deletes its data."""
        self.kill()
        shutil.rmtree(self._folder)
