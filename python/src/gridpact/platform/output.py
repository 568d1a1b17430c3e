"""Where the lines of the processes go: a bounded file each, and the terminal when there is one."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TextIO

# A process keeps between one and two of these: <name>.log and <name>.log.1.
LOG_BYTES = 4 * 1024 * 1024

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class LogFile:
    """Appends lines to a file; past LOG_BYTES the file becomes ``.1`` and a fresh one begins.

    What cannot be written is lost, and a line says how much and why as soon as writing works
    again: a platform must not end because nobody can write down what it does. Raises OSError
    when the file cannot be opened at first, and never later.
    """

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path = path
        self._limit = limit
        self._lost_count = 0
        self._lost_because = ""
        self._file: FileIO | None = self._open(path)

    def write(self, line: str) -> None:
        content = line.encode(errors="backslashreplace") + b"\n"
        if self._lost_count:
            # The last one may have been written in part.
            lost = f"\n({self._lost_count} lines lost: {self._lost_because})\n"
            content = lost.encode() + content
        try:
            self._append(content)
            self._lost_count = 0
        except OSError as error:
            self._lost_count += 1
            self._lost_because = error.strerror or str(error)

    def _append(self, content: bytes) -> None:
        if self._file is None:
            self._file = self._open(self._path)
        size = self._file.tell()
        if size and size + len(content) > self._limit:
            self._file = self._begin_afresh()
        if self._file.write(content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin_afresh(self) -> FileIO:
        """The next file, which has taken the place of this one; raises OSError."""
        next_path = self._path.with_name(self._path.name + ".next")
        # Before the old one is given up: when there is no room, there is still that one.
        fresh = self._open(next_path)
        try:
            with suppress(FileNotFoundError):  # somebody removed it: then there is none to keep
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            next_path.replace(self._path)
        except OSError:
            fresh.close()
            # Whose file the open one is now is not known: the next line opens the right one.
            self.close()
            raise
        self.close()
        return fresh

    def _open(self, path: Path) -> FileIO:
        path.parent.mkdir(exist_ok=True)
        # Unbuffered: a line is in the file before the next one is read.
        return path.open("ab", buffering=0)


class Terminal:
    """Shows lines after the coloured name of their process."""

    def __init__(self, stream: TextIO, names: Sequence[str]) -> None:
        self._stream: TextIO | None = stream
        self._width = max(map(len, names))
        coloured = stream.isatty() and "NO_COLOR" not in os.environ
        self._colours = (
            {name: _COLOURS[rank % len(_COLOURS)] for rank, name in enumerate(names)}
            if coloured
            else {}
        )

    def write(self, name: str, line: str) -> None:
        if self._stream is None:
            return
        prefix = f"{name:<{self._width}} |"
        if colour := self._colours.get(name):
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        try:
            self._stream.write(f"{prefix} {line}\n")
            self._stream.flush()
        except OSError:
            # The reader is gone (`gridpact up | head`, a closed window). The log files go on,
            # and a platform must not end because nobody watches it.
            self._stream = None


class Output:
    """Hands each line to the process's log file and to the terminal, if any."""

    def __init__(self, folder: Path, names: Sequence[str], stream: TextIO | None) -> None:
        self._files = {name: LogFile(folder / f"{name}.log") for name in names}
        self._terminal = None if stream is None else Terminal(stream, names)

    def write(self, name: str, line: str) -> None:
        self._files[name].write(line)
        if self._terminal is not None:
            self._terminal.write(name, line)

    def close(self) -> None:
        for file in self._files.values():
            file.close()
