"""Generated files against what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gridpact.codegen.emit.output import JULIA, PYTHON, WEB, Files

# Nothing else may stand in these folders.
OWNED = (PYTHON, JULIA, WEB)


def stale(files: Files, root: Path) -> Iterator[str]:
    """Each generated file that is missing or differs, and each that nothing generates."""
    for path, text in files.items():
        target = root / path
        if not target.exists():
            yield f"{path} is missing; run `make generate` and commit it"
        elif target.read_bytes() != text:
            yield f"{path} is stale; run `make generate` and commit it"
    for path in leftovers(files, root):
        yield f"{path} is not generated any more; run `make generate`, which removes it"


def write(files: Files, root: Path) -> Iterator[str]:
    """Makes the folder what ``files`` says; yields what changed."""
    for path, text in files.items():
        target = root / path
        if target.exists() and target.read_bytes() == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
        yield f"wrote {path}"
    for path in leftovers(files, root):
        (root / path).unlink()
        yield f"removed {path}"


def leftovers(files: Files, root: Path) -> list[PurePosixPath]:
    found = [
        PurePosixPath(path.relative_to(root).as_posix())
        for folder in OWNED
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return [path for path in found if path not in files]
