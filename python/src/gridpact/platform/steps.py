"""Steps that need not be taken twice: what was done to the database, and for what.

Each start of Alembic costs a second, so a step is remembered with a fingerprint of what it
depends on and left out until that changes. The memory lies beside the data it speaks of and goes
with it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gridpact.platform.state import Secrets, write_private

_MIGRATIONS = Path(__file__).parents[1] / "migrations"


class Steps:
    """The steps of one database."""

    def __init__(self, database_folder: Path, secrets: Secrets) -> None:
        self._file = database_folder / "steps.json"
        self._current = {
            "migrate": _digest(_MIGRATIONS),
            "first-admin": secrets.admin_email,
        }

    def done(self) -> frozenset[str]:
        """The names of the steps that were taken for what is there today."""
        taken = self._taken()
        return frozenset(
            name for name, fingerprint in self._current.items() if taken.get(name) == fingerprint
        )

    def note(self, name: str) -> None:
        """Remembers that the step was taken; a name that is no step is passed over."""
        if name in self._current:
            taken = self._taken() | {name: self._current[name]}
            write_private(self._file, msgspec.json.encode(taken))

    def forget(self) -> None:
        """To be called when the database is made anew."""
        self._file.unlink(missing_ok=True)

    def _taken(self) -> dict[str, str]:
        if not self._file.exists():
            return {}
        return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
