"""Process start: ``python -m gridpact.compute --host 127.0.0.1 --port 7431 --workers 2``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from gridpact.compute.serve.front import serving
from gridpact.compute.serve.memory import share_mib
from gridpact.kit.process import run_process
from gridpact.kit.settings import Address, ComputeSettings


def main() -> int:
    """Serves until SIGTERM; gives the exit status."""
    parser = argparse.ArgumentParser("gridpact.compute", description="The Python compute node.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7431, help="port to listen on; 0: any")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="tasks at once (default: cores)"
    )
    arguments = parser.parse_args()
    if arguments.workers < 1:
        parser.error("--workers must be at least 1")
    address = Address(arguments.host, arguments.port)

    def serve(settings: ComputeSettings) -> AbstractAsyncContextManager[Mapping[str, object]]:
        memory_mib = settings.worker_memory_mib or share_mib(arguments.workers)
        return serving(address, settings.compute_secret, arguments.workers, memory_mib)

    return run_process("compute-python", ComputeSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
