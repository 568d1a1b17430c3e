"""Everything that is generated, as text by path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

from gridpact.codegen.documents import Contracts
from gridpact.codegen.emit import errors, gateway, julia, messages, proto, rest, typescript
from gridpact.codegen.emit.output import PYTHON
from gridpact.codegen.model import Model

PACKAGE = (
    b'"""Everything generated from contracts/: nothing in this package is written by hand."""\n'
)


def generate(contracts: Contracts) -> dict[PurePosixPath, bytes]:
    """The content of every generated file, by its path in the repository."""
    model = Model(contracts)
    files = {PYTHON / "__init__.py": PACKAGE}
    files |= proto.emit(contracts)
    files |= messages.emit(contracts, model)
    files |= julia.emit(contracts, model)
    files |= rest.emit(contracts, model)
    files |= typescript.emit(contracts, model)
    files |= gateway.emit(contracts)
    files |= errors.emit(contracts)
    return formatted(files)


def formatted(files: dict[PurePosixPath, bytes]) -> dict[PurePosixPath, bytes]:
    """The same files, Python ones as ruff formats them."""
    return {
        path: _ruff(text) if path.suffix == ".py" and "proto" not in path.parts else text
        for path, text in files.items()
    }


def _ruff(text: bytes) -> bytes:
    ruff = str(Path(sys.executable).parent / "ruff")
    options = ["--isolated", "--line-length=100", "--target-version=py311", "--quiet", "-"]
    first_party = "--config=lint.isort.known-first-party=['gridpact']"
    sort = [ruff, "check", "--select=I,F401", first_party, "--fix", "--exit-zero", *options]
    layout = [ruff, "format", *options]
    for command in (sort, layout):
        text = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    return text
