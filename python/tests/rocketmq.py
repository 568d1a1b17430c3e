"""A real RocketMQ for tests."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridpact.platform.rocketmq import RocketmqServer


@contextmanager
def rocketmq_running() -> Iterator[RocketmqServer]:
    """A RocketMQ in a private folder; gone with its owner. Raises PlatformError without Java."""
    folder = Path(tempfile.mkdtemp(prefix="gridpact-rocketmq-"))
    try:
        server = RocketmqServer(folder)
        try:
            asyncio.run(server.start())
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder)
