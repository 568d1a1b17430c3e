"""A good commitment before the search begins: docs/compute/unit-commitment.md, "Solving"."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridpact.compute.model.unit_commitment.formulate import Formulation
from gridpact.compute.solve.deadline import allowed_s
from gridpact.compute.solve.highs import LinearProgram, Listener, Model, Outcome, Solution

Mask = NDArray[np.bool_]
"""Units (rows) and slots (columns)."""

FEW = 1000
"""Up to so many units times slots, the search itself is as quick."""
TIME_SHARE = 1 / 3
"""Of what the search may take in all."""
WINDOW_TIME_SHARE = 1 / 24
DECIDED = 1e-3
"""How near to on or off the relaxation must be to have decided it."""
OPEN_SLOTS = 2
"""How far around what it leaves open nothing is held."""
WINDOW_SLOTS = 12
GAP_SHARE = 1 / 4
"""How much nearer than asked for a part comes to the best that there is in it."""
LEAST_GAP = 1e-4


def first_plan(
    formulation: Formulation, model: Model, time_limit_s: float, gap: float, tell: Listener
) -> Solution | None:
    """A plan for the search of ``model`` to start from; its bound is what the relaxation costs.

    OPTIMAL where the gap between them is small enough, else TIME_LIMIT. None where the search can
    do without, or nothing was found.
    """
    on = np.array([unit.on for unit in formulation.units])
    if on.size <= FEW:
        return None
    in_all = allowed_s(time_limit_s, is_search=True)
    end = time.monotonic() + TIME_SHARE * in_all
    relaxed = formulation.program.model(relaxed=True).solve(time_limit_s=TIME_SHARE * in_all)
    if relaxed.outcome is not Outcome.OPTIMAL:
        return None
    parts = _Parts(formulation, model, on, relaxed.objective, gap, tell)
    share = relaxed.value(on)
    parts.search(_around(share > 1 - DECIDED), _around(share < DECIDED), end - time.monotonic())
    while parts.best is not None and not parts.is_close:
        before = parts.best
        for window in _windows(on.shape[1]):
            left = end - time.monotonic()
            if left > 0 and not parts.is_close:
                held = np.ones(on.shape, dtype=np.bool_)
                held[:, window] = False
                is_on = parts.best.value(on) > 0.5
                parts.search(held & is_on, held & ~is_on, min(left, WINDOW_TIME_SHARE * in_all))
        if parts.best is before:
            break
    parts.free()
    if parts.best is None:
        return None
    outcome = Outcome.OPTIMAL if parts.is_close else Outcome.TIME_LIMIT
    return replace(parts.best, outcome=outcome, bound=relaxed.objective, relative_gap=parts.gap)


class _Parts:
    """A program of which a part is searched at a time, each from the best plan so far."""

    def __init__(
        self,
        formulation: Formulation,
        model: Model,
        on: NDArray[np.int32],
        bound: float,
        gap: float,
        tell: Listener,
    ) -> None:
        self.best: Solution | None = None
        self._model = model
        self._on = on.ravel()
        self._program = formulation.program
        lower, upper = formulation.program.bounds()
        self._lower, self._upper = lower[self._on], upper[self._on]
        self._bound = bound
        self._gap = gap
        self._tell = tell

    def search(self, held_on: Mask, held_off: Mask, time_limit_s: float) -> None:
        """Searches what is not held for a plan that is better than the best."""
        lower = np.where(held_on.ravel(), self._upper, self._lower)
        upper = np.where(held_off.ravel(), self._lower, self._upper)
        self._model.change_bounds(self._on, lower, upper)
        if self.best is not None:
            self._model.start_from(self.best)
        found = self._model.solve(
            time_limit_s=time_limit_s,
            relative_gap=max(GAP_SHARE * self._gap, LEAST_GAP),
            on_progress=self._hear,
        )
        if found.has_values:
            self.best = cheaper(self.best, found, self._program)

    def free(self) -> None:
        """Holds nothing any more."""
        self._model.change_bounds(self._on, self._lower, self._upper)

    @property
    def gap(self) -> float:
        assert self.best is not None
        return _gap(self.best.objective, self._bound)

    @property
    def is_close(self) -> bool:
        """Whether the best plan is near enough to what none can undercut."""
        return self.best is not None and self.gap <= self._gap

    def _hear(self, objective: float | None, bound: float | None, gap: float | None) -> None:
        del bound, gap  # those of the part
        known = [self.best.objective] if self.best is not None else []
        known += [objective] if objective is not None else []
        best = min(known, default=None)
        self._tell(best, self._bound, None if best is None else _gap(best, self._bound))


def cheaper(best: Solution | None, found: Solution, program: LinearProgram) -> Solution:
    """What is found, where it costs less, by its values: HiGHS 1.16 may tell another objective."""
    cost = float(program.costs() @ found.all_values)
    return replace(found, objective=cost) if best is None or cost < best.objective else best


def _gap(cost: float, bound: float) -> float:
    return max(0.0, cost - bound) / max(abs(cost), 1e-9)


def _around(decided: Mask) -> Mask:
    """Where all is decided, so far around."""
    found = decided.copy()
    for distance in range(1, OPEN_SLOTS + 1):
        found[:, distance:] &= decided[:, :-distance]
        found[:, :-distance] &= decided[:, distance:]
    return found


def _windows(slots: int) -> Iterator[slice]:
    """Each overlaps the next one by half."""
    for first in range(0, max(1, slots - WINDOW_SLOTS // 2), WINDOW_SLOTS // 2):
        yield slice(first, first + WINDOW_SLOTS)
