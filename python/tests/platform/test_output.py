"""Log files are bounded and lose the oldest lines only."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.platform.output import LogFile, Terminal

LINE = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n"), max_size=30)


@given(lines=st.lists(LINE, max_size=40), limit=st.integers(1, 200))
def test_keeps_the_newest_lines_within_twice_the_limit(lines: list[str], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.log"
        log = LogFile(path, limit)
        for line in lines:
            log.write(line)
        log.close()
        older = path.with_name("x.log.1")
        files = [file.read_bytes() for file in (older, path) if file.exists()]
    whole = "".join(line + "\n" for line in lines).encode()
    assert whole.endswith(b"".join(files))
    # A single line longer than the limit is still written whole.
    assert all(len(content) <= limit or content.count(b"\n") == 1 for content in files)
    if len(whole) <= limit:
        assert files == [whole]


def test_what_a_full_disk_does_not_take_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = LogFile(path)
    log.write("before")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond this: as on a full disk, the first line gets there in part.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3, hard))
    try:
        log.write("partly")
        log.write("not at all")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.write("after")
    log.write("later")
    log.close()
    told = f"(2 lines lost: {os.strerror(errno.EFBIG)})"
    assert path.read_text() == f"before\npar\n{told}\nafter\nlater\n"


@pytest.mark.parametrize("hindered", ["x.log.1", "x.log.next"])
def test_a_rotation_that_fails_is_tried_again(tmp_path: Path, hindered: str) -> None:
    hindrance = tmp_path / hindered
    (hindrance / "full").mkdir(parents=True)
    path = tmp_path / "x.log"
    log = LogFile(path, 10)
    for line in ("first...", "second..", "third..."):
        log.write(line)
    (hindrance / "full").rmdir()
    hindrance.rmdir()
    log.write("fourth..")
    log.close()
    assert path.with_name("x.log.1").read_text() == "first...\n"
    reason = os.strerror(errno.EISDIR)
    assert path.read_text() == f"\n(2 lines lost: {reason})\nfourth..\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.log", "x.log.1"]


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = LogFile(folder / "x.log", 10)
    log.write("first...")
    shutil.rmtree(folder)
    log.write("second..")
    log.close()
    assert (folder / "x.log").read_text() == "second..\n"


def test_the_terminal_shows_whose_line_it_is() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, ["api", "postgres"])
    terminal.write("api", "hello")
    terminal.write("postgres", "ready")
    assert stream.getvalue() == "api      | hello\npostgres | ready\n"


def test_a_reader_that_leaves_does_no_harm() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    terminal = Terminal(Gone(), ["api"])
    terminal.write("api", "one")
    terminal.write("api", "two")
