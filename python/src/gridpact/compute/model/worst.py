"""The worst of many quantities over many slots, seen one slot after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.network import Indices, Mask, Real


class Worst:
    """Of each quantity: its worst value, where that was first, and how often it counted.

    ``direction`` is 1 where a higher value is worse, −1 where a lower one is.
    """

    def __init__(self, count: int, direction: int) -> None:
        self._direction = direction
        self._worst: Real = np.full(count, -np.inf)
        self.slot: Indices = np.zeros(count, dtype=np.intp)
        self.first_slot: Indices = np.zeros(count, dtype=np.intp)
        self.slots: NDArray[np.intp] = np.zeros(count, dtype=np.intp)

    def see(self, slot: int, values: Real, counts: Mask) -> None:
        """Takes the values of a slot; only those where ``counts`` holds."""
        badness = self._direction * values
        worse = counts & (badness > self._worst)
        self._worst[worse] = badness[worse]
        self.slot[worse] = slot
        self.first_slot[counts & (self.slots == 0)] = slot
        self.slots += counts

    @property
    def value(self) -> Real:
        """The worst values, 0 where nothing has counted."""
        return np.where(self.slots > 0, self._direction * self._worst, 0.0)
