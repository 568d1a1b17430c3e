"""The processes of a benchmark, seen from the one that drives them."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "JULIA_NUM_THREADS",
    ),
    "1",
)


class SideError(Exception):
    """A process died, or did not answer in time; the end of what it wrote is in the message."""


class Side:
    """A process that answers requests of `bench.compute.lane`. Starts when first asked."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], timeout_s: float = 600.0
    ) -> None:
        self._command = command
        self._environment = {**os.environ, **ONE_THREAD, **environment}
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._unread = b""

    def ask(self, *words: str) -> dict[str, Any]:
        """The answer to one request. Raises SideError."""
        process = self._started()
        assert process.stdin is not None
        try:
            process.stdin.write("\t".join(words).encode() + b"\n")
            process.stdin.flush()
            return json.loads(self._line(process))
        except (BrokenPipeError, EOFError) as error:
            raise SideError(f"the process ended: {self._said()}") from error

    def pid(self) -> int:
        """The process's number."""
        return self._started().pid

    def forget_peak(self) -> None:
        """Lets the peak of the process's memory begin at what it uses now."""
        (self._proc() / "clear_refs").write_text("5", encoding="ascii")

    def peak_memory_mib(self) -> float:
        """The largest resident set since `forget_peak`."""
        for line in (self._proc() / "status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise SideError("the kernel does not tell the peak of resident memory")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._log.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=self._environment,
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(self._timeout_s):
                    process.kill()
                    raise SideError(f"no answer within {self._timeout_s:.0f} s: {self._said()}")
                more = os.read(process.stdout.fileno(), 1 << 20)
                if not more:
                    raise EOFError
                self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _said(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        # Julia begins with the error, Python ends with it.
        errors = [line for line in said if line.startswith("ERROR")] or said[-1:]
        return errors[0][:300] if errors else "it said nothing"

    def _proc(self) -> Path:
        return Path("/proc") / str(self._started().pid)
