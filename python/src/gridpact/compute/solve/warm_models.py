"""Models that a worker keeps between tasks, so that a controller's step need not build its own."""

from __future__ import annotations

from collections import OrderedDict

MOST_MODELS = 8


class WarmModels:
    """Models by key, at most ``most`` of them: the one used longest ago makes room.

    It must not matter whether one is here: a worker is replaced at any time, and the next task of
    the same key may go to another. What is kept under one ``affinity_key`` is not found under
    another: whose task it is says the worker, before each.
    """

    def __init__(self, most: int = MOST_MODELS) -> None:
        self.affinity_key: str | None = None
        self._most = most
        self._kept: OrderedDict[tuple[str | None, str], object] = OrderedDict()

    def take(self, key: str) -> object | None:
        """Takes a model out.

        Put it back with ``keep`` when its task has succeeded: one that failed halfway through a
        change is better forgotten.
        """
        return self._kept.pop((self.affinity_key, key), None)

    def keep(self, key: str, model: object) -> None:
        """Keeps a model under ``key``, instead of what was kept there."""
        self._kept[self.affinity_key, key] = model
        self._kept.move_to_end((self.affinity_key, key))
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forgets every model, as when memory is short."""
        self._kept.clear()
