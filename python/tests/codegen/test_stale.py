from __future__ import annotations

from pathlib import Path, PurePosixPath

from gridpact.codegen.emit.output import PYTHON
from gridpact.codegen.stale import stale, write

FILES = {PYTHON / "messages.py": b"one\n", PurePosixPath("docs/problems.md"): b"two\n"}


def test_nothing_is_stale_after_writing(tmp_path: Path) -> None:
    assert len(list(write(FILES, tmp_path))) == 2
    assert list(stale(FILES, tmp_path)) == []
    assert list(write(FILES, tmp_path)) == []


def test_finds_a_changed_and_a_missing_file(tmp_path: Path) -> None:
    list(write(FILES, tmp_path))
    (tmp_path / PYTHON / "messages.py").write_bytes(b"one \n")
    (tmp_path / "docs" / "problems.md").unlink()
    assert list(stale(FILES, tmp_path)) == [
        "python/src/gridpact/contracts/messages.py is stale; run `make generate` and commit it",
        "docs/problems.md is missing; run `make generate` and commit it",
    ]


def test_finds_and_removes_what_is_not_generated_any_more(tmp_path: Path) -> None:
    list(write(FILES, tmp_path))
    left = tmp_path / PYTHON / "old.py"
    left.write_bytes(b"")
    assert [line.split(" ")[0] for line in stale(FILES, tmp_path)] == [str(PYTHON / "old.py")]
    list(write(FILES, tmp_path))
    assert not left.exists()
