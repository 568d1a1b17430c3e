"""How a platform tells whoever started it about its start: JSON lines on a pipe."""

from __future__ import annotations

import os
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Report:
    """A process became ready; or, for process ``platform``, the start is over.

    The state of the platform is ``ready`` or ``failed``; then ``detail`` says why.
    """

    process: str
    state: str
    elapsed_ms: int
    detail: str = ""


def decode_report(line: bytes) -> Report:
    return msgspec.json.decode(line, type=Report)


class Reporter:
    """Writes reports to a pipe. Without one, or after its reader has left, it writes nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def write(self, report: Report) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, msgspec.json.encode(report) + b"\n")
        except BrokenPipeError:
            self._descriptor = None
