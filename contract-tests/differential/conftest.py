"""The other engine, where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def julia() -> str:
    found = ROOT / ".tools" / "bin" / "julia"
    program = str(found) if found.exists() else shutil.which("julia")
    if program is None:
        pytest.skip("no Julia here; scripts/setup-julia says why")
    return program
