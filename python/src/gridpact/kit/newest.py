"""What was noted last, and no more of it than there is room for."""

from __future__ import annotations

from collections.abc import Iterable


class Newest:
    """The texts that were noted last, ``max_count`` at most; the oldest are forgotten first."""

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        # In the order in which they came.
        self._texts: dict[str, None] = {}

    def note(self, texts: Iterable[str]) -> None:
        self._texts |= dict.fromkeys(texts)
        while len(self._texts) > self._max_count:
            del self._texts[next(iter(self._texts))]

    def __contains__(self, text: str) -> bool:
        return text in self._texts
