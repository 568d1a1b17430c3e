"""Log files are bounded and lose the oldest lines only."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

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
