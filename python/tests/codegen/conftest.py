from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gridpact.codegen.documents import Contracts
from gridpact.codegen.model import Model

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def contracts() -> Contracts:
    """The contracts of this repository."""
    return Contracts(ROOT / "contracts")


@pytest.fixture(scope="session")
def model(contracts: Contracts) -> Model:
    return Model(contracts)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of contracts/ that a test may break."""
    return Path(shutil.copytree(ROOT / "contracts", tmp_path / "contracts"))
