"""Processes of the platform, run by a test."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from gridpact.kit.settings import Address

_READY = re.compile(r"\bevent=ready\b")
_FACT = re.compile(r'(\w+)=("[^"]*"|\S+)')
_STOP_SECONDS = 10.0


@contextmanager
def running(command: Sequence[str], settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Runs a process while entered; gives the facts of its ``event=ready`` line, and its ``pid``.

    ``settings`` come on top of this process's environment. A process that ends before it is ready,
    or that does not end cleanly on SIGTERM, fails the test with all that it wrote.
    """
    process = subprocess.Popen(
        command,
        env={**os.environ, **settings},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    written: list[str] = []
    # A pipe that nobody empties stops the process.
    emptying = threading.Thread(target=written.extend, args=(process.stdout,))
    try:
        for line in process.stdout:
            written.append(line)
            if _READY.search(line):
                break
        else:
            raise AssertionError(f"{command} never was ready:\n{''.join(written)}")
        emptying.start()
        facts = {name: value.strip('"') for name, value in _FACT.findall(line)}
        yield facts | {"pid": str(process.pid)}
    finally:
        process.terminate()
        try:
            status = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        if emptying.ident is not None:
            emptying.join()
        process.stdout.close()
    assert status == 0, f"{command} ended with {status}:\n{''.join(written)}"


def free_address() -> Address:
    """A TCP address of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])
