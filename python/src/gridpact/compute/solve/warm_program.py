"""A linear program of a controller that stays in HiGHS from step to step."""

from __future__ import annotations

from gridpact.compute.solve.highs import LinearProgram, Model, Outcome, Solution


class WarmProgram:
    """The last program of a controller; ``used`` says whether the last solution started from it."""

    def __init__(self) -> None:
        self._program: LinearProgram | None = None
        self._model: Model | None = None
        self.used = False

    def solve(self, program: LinearProgram, *, time_limit_s: float) -> Solution:
        """Minimises a linear program.

        Where it has the matrix of the last one, only numbers change in HiGHS, and the simplex
        method starts from the last basis. What is then not optimal is solved again from nothing,
        so that neither outcome nor objective depend on what was kept. Raises SolverError.
        """
        self.used = False
        if self._model is None or self._program is None or not program.resembles(self._program):
            self._program, self._model = program, program.model()
            return self._model.solve(time_limit_s=time_limit_s)
        self._program = program
        self._model.change_numbers(program)
        found = self._model.solve(time_limit_s=time_limit_s)
        if found.outcome is Outcome.OPTIMAL:
            self.used = True
            return found
        self._model.start_anew()
        return self._model.solve(time_limit_s=time_limit_s)
