"""What a computation calls to say how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each step, as often as one likes: what comes too soon after another is dropped."""

    def __call__(
        self,
        fraction: float,
        stage: str,
        *,
        objective: float | None = None,
        bound: float | None = None,
        relative_gap: float | None = None,
    ) -> None:
        """``fraction`` is 0 to 1; the numbers are those of contracts/schemas/task-progress.yaml."""
        ...
