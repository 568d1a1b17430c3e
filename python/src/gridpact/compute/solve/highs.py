"""Linear and mixed-integer programs, written down block by block and solved by HiGHS.

A block is an array of variables or rows, mostly one a slot, so that a model reads as its
formulas do:

    program = LinearProgram()
    imported = program.variables(slots, upper=limit_kw, cost=price)
    exported = program.variables(slots, upper=limit_kw, cost=-earning)
    balance = program.equal(load_kw, (1, imported), (-1, exported))
    solution = program.solve(time_limit_s=60)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import highspy
import numpy as np
from highspy import HighsCallbackEvent, HighsModelStatus
from numpy.typing import NDArray

from gridpact.compute.solve.deadline import allowed_s

Floats = NDArray[np.float64]
Coefficient = float | Floats
Block = NDArray[np.int32]
"""Variables or rows of one program, by their numbers; indexing gives a part of the block."""
Term = tuple[Coefficient, Block]
"""Coefficients and variables, one pair a row."""


class Outcome(Enum):
    """How a solve ended."""

    OPTIMAL = "optimal"
    TIME_LIMIT = "time limit"
    INFEASIBLE = "infeasible"


class SolverError(Exception):
    """HiGHS ended in a way that is neither a solution, nor infeasible, nor out of time."""


@dataclass(frozen=True, slots=True)
class Solution:
    """What HiGHS found; ``has_values`` only where a feasible point is known.

    Duals are those of a linear program: ``dual(rows)`` is how the minimum changes with the
    right-hand side. ``bound`` is what no feasible point can undercut.
    """

    outcome: Outcome
    is_mixed: bool
    has_values: bool
    objective: float
    bound: float
    relative_gap: float
    _values: Floats
    _row_duals: Floats
    _reduced_costs: Floats

    def value(self, variables: Block) -> Floats:
        return self._values[variables]

    @property
    def all_values(self) -> Floats:
        """The value of every variable, in order."""
        return self._values

    def dual(self, rows: Block) -> Floats:
        return self._row_duals[rows]

    def bound_dual(self, variables: Block) -> Floats:
        """How the minimum changes with the bound that each variable is at; 0 where at none."""
        return self._reduced_costs[variables]


Listener = Callable[[float | None, float | None, float | None], None]
"""Called with the objective of the best point so far, with what no point can undercut, and with
the distance of the two relative to the objective; each is None until it is known."""

REPORT_INTERVAL_S = 0.1

WIDENING_TIME_LIMIT_S = 60.0
ROUNDING = 1e-5
"""What misses being whole by 1e-6 leaks that part of its coefficient; more than some of these is
no rounding."""
LEFT_OVER = 1e-9
"""Room for the rounding of a widening itself."""


class LinearProgram:
    """A minimisation that grows block by block and is solved once."""

    def __init__(self) -> None:
        self._costs: list[Floats] = []
        self._lower: list[Floats] = []
        self._upper: list[Floats] = []
        self._whole: list[NDArray[np.int32]] = []
        self._row_lower: list[Floats] = []
        self._row_upper: list[Floats] = []
        self._entries: list[tuple[Block, Block, Floats]] = []
        self._variable_count = 0
        self._row_count = 0

    def variables(
        self,
        count: int,
        *,
        lower: Coefficient = 0.0,
        upper: Coefficient = np.inf,
        cost: Coefficient = 0.0,
        whole: bool = False,
    ) -> Block:
        """``count`` variables; numbers stand for all of them."""
        block = np.arange(self._variable_count, self._variable_count + count, dtype=np.int32)
        self._variable_count += count
        self._lower.append(_each(count, lower))
        self._upper.append(_each(count, upper))
        self._costs.append(_each(count, cost))
        self._whole.append(np.full(count, int(whole), dtype=np.int32))
        return block

    def rows(self, lower: Coefficient, upper: Coefficient, *terms: Term) -> Block:
        """Rows with lower ≤ Σ coefficient·variables ≤ upper; row i takes item i of each term."""
        block = self.empty_rows(len(terms[0][1]), lower, upper)
        self.extend(block, *terms)
        return block

    def empty_rows(self, count: int, lower: Coefficient, upper: Coefficient) -> Block:
        """Rows without terms, for ``extend``."""
        block = np.arange(self._row_count, self._row_count + count, dtype=np.int32)
        self._row_count += count
        self._row_lower.append(_each(count, lower))
        self._row_upper.append(_each(count, upper))
        return block

    def extend(self, rows: Block, *terms: Term) -> None:
        """Adds terms with other variables to rows that stand already, one item a row."""
        self._entries += [
            (rows, variables, _each(len(rows), coefficient)) for coefficient, variables in terms
        ]

    def sum(self, lower: float, upper: float, *terms: Term) -> Block:
        """One row with lower ≤ Σ coefficient·variable ≤ upper over all items of all terms."""
        row = self.empty_rows(1, lower, upper)
        for coefficient, variables in terms:
            self.extend(np.repeat(row, len(variables)), (coefficient, variables))
        return row

    def equal(self, right: Coefficient, *terms: Term) -> Block:
        """Rows with Σ coefficient·variables = right."""
        return self.rows(right, right, *terms)

    def at_most(self, right: Coefficient, *terms: Term) -> Block:
        """Rows with Σ coefficient·variables ≤ right."""
        return self.rows(-np.inf, right, *terms)

    @property
    def variable_count(self) -> int:
        return self._variable_count

    def bounds(self) -> tuple[Floats, Floats]:
        """The lower and the upper bound of every variable so far."""
        return np.concatenate(self._lower), np.concatenate(self._upper)

    def costs(self) -> Floats:
        """The cost of every variable so far."""
        return np.concatenate(self._costs)

    def replace_costs(self, costs: Floats) -> None:
        """Gives every variable so far another cost."""
        self._costs = [costs]

    def solve(
        self,
        *,
        time_limit_s: float,
        relative_gap: float = 0.0,
        on_progress: Listener | None = None,
    ) -> Solution:
        """Minimises; ``on_progress`` hears ten times a second of the search for whole numbers.

        Raises SolverError when HiGHS fails or the program is unbounded, and what ``on_progress``
        raises.
        """
        model = self.model()
        try:
            return model.solve(
                time_limit_s=time_limit_s, relative_gap=relative_gap, on_progress=on_progress
            )
        except SolverError:
            # Presolve is where HiGHS gives up most often.
            model.start_anew()
            model.skip_presolve()
            return model.solve(
                time_limit_s=time_limit_s, relative_gap=relative_gap, on_progress=on_progress
            )

    def model(self, *, relaxed: bool = False) -> Model:
        """The program as it is now, in HiGHS: to be changed in place and solved again.

        Relaxed, no variable must be whole.
        """
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("threads", 1)  # a node runs one worker a core
        highs.setOptionValue("mip_abs_gap", 1e-9)
        # As a linear program has it: what a binary variable misses of being whole, leaks.
        highs.setOptionValue("mip_feasibility_tolerance", 1e-7)
        highs.setOptionValue("solve_relaxation", relaxed)
        self._pass_to(highs)
        return Model(highs, is_mixed=self.is_mixed and not relaxed)

    @property
    def is_mixed(self) -> bool:
        """Whether any variable must be whole."""
        return any(bool(whole.any()) for whole in self._whole)

    def widen(self) -> bool:
        """Widens the rows that no point keeps by as little in all as there must be.

        Only where that is mere rounding, as when what was nearly whole is whole now; else False.
        """
        elastic = LinearProgram()
        elastic._costs = [np.zeros(self._variable_count)]
        elastic._lower, elastic._upper = list(self._lower), list(self._upper)
        elastic._whole, elastic._entries = list(self._whole), list(self._entries)
        elastic._row_lower, elastic._row_upper = list(self._row_lower), list(self._row_upper)
        elastic._variable_count, elastic._row_count = self._variable_count, self._row_count
        rows = np.arange(self._row_count, dtype=np.int32)
        raised, lowered = (elastic.variables(len(rows), cost=1.0) for _ in range(2))
        elastic.extend(rows, (1.0, raised), (-1.0, lowered))
        nearest = elastic.solve(time_limit_s=WIDENING_TIME_LIMIT_S)
        if not nearest.has_values:
            return False
        too_low, too_high = (np.maximum(nearest.value(one), 0.0) for one in (raised, lowered))
        largest = max((float(np.abs(values).max(initial=0.0)) for *_, values in self._entries))
        if max(too_low.max(initial=0.0), too_high.max(initial=0.0)) > ROUNDING * max(1.0, largest):
            return False
        _, _, _, lower, upper = self.numbers()
        self._row_lower = [lower - np.where(too_low > 0.0, too_low + LEFT_OVER, 0.0)]
        self._row_upper = [upper + np.where(too_high > 0.0, too_high + LEFT_OVER, 0.0)]
        return True

    def resembles(self, other: LinearProgram) -> bool:
        """Whether the two have the same matrix, so that only numbers beside it differ."""
        return (
            (self._variable_count, self._row_count) == (other._variable_count, other._row_count)
            and len(self._entries) == len(other._entries)
            and all(
                np.array_equal(ours, theirs)
                for entry, its_entry in zip(self._entries, other._entries, strict=True)
                for ours, theirs in zip(entry, its_entry, strict=True)
            )
        )

    def numbers(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Costs, bounds of the variables and limits of the rows, in order."""
        return (
            np.concatenate(self._costs),
            np.concatenate(self._lower),
            np.concatenate(self._upper),
            np.concatenate(self._row_lower),
            np.concatenate(self._row_upper),
        )

    def _pass_to(self, highs: highspy.Highs) -> None:
        rows = np.concatenate([entry[0] for entry in self._entries])
        columns = np.concatenate([entry[1] for entry in self._entries])
        values = np.concatenate([entry[2] for entry in self._entries])
        # Compressed by row; a stable sort keeps the order of terms, so equal input, equal program.
        order = np.argsort(rows, kind="stable")
        starts = np.searchsorted(rows[order], np.arange(self._row_count + 1)).astype(np.int32)
        status = highs.passModel(
            self._variable_count,
            self._row_count,
            len(values),
            int(highspy.MatrixFormat.kRowwise),
            int(highspy.ObjSense.kMinimize),
            0.0,
            np.concatenate(self._costs),
            np.concatenate(self._lower),
            np.concatenate(self._upper),
            np.concatenate(self._row_lower),
            np.concatenate(self._row_upper),
            starts[:-1],
            columns[order],
            values[order],
            np.concatenate(self._whole),
        )
        if status == highspy.HighsStatus.kError:
            raise SolverError("HiGHS refuses the program")


class Model:
    """A program in HiGHS. A linear one is solved again from the basis where the last run ended.

    Every change takes one number for a whole block, or one for each of its members.
    """

    def __init__(self, highs: highspy.Highs, *, is_mixed: bool) -> None:
        self._highs = highs
        self._is_mixed = is_mixed

    def change_costs(self, variables: Block, costs: Coefficient) -> None:
        count = len(variables)
        _check(self._highs.changeColsCost(count, variables, _each(count, costs)), "costs")

    def change_bounds(self, variables: Block, lower: Coefficient, upper: Coefficient) -> None:
        count = len(variables)
        bounds = _each(count, lower), _each(count, upper)
        _check(self._highs.changeColsBounds(count, variables, *bounds), "bounds")

    def change_rows(self, rows: Block, lower: Coefficient, upper: Coefficient) -> None:
        count = len(rows)
        limits = _each(count, lower), _each(count, upper)
        change = self._highs.changeRowsBounds  # pyright: ignore[reportAttributeAccessIssue]  # stub
        _check(change(count, rows, *limits), "rows")

    def change_coefficients(self, rows: Block, variables: Block, values: Coefficient) -> None:
        """What each of the variables contributes to the row beside it."""
        count = len(rows)
        for row, variable, value in zip(rows, variables, _each(count, values), strict=True):
            _check(self._highs.changeCoeff(row, variable, value), "coefficients")

    def change_numbers(self, program: LinearProgram) -> None:
        """Everything but the matrix becomes that of ``program``, which has the same one."""
        costs, lower, upper, row_lower, row_upper = program.numbers()
        variables = np.arange(len(costs), dtype=np.int32)
        self.change_costs(variables, costs)
        self.change_bounds(variables, lower, upper)
        self.change_rows(np.arange(len(row_lower), dtype=np.int32), row_lower, row_upper)

    def start_anew(self) -> None:
        """The next ``solve`` gives what a new model would: it starts from nothing."""
        self._highs.clearSolver()

    def start_from(self, solution: Solution) -> None:
        """The next search for whole numbers begins with this point, where no limit forbids it."""
        known = highspy.HighsSolution()
        known.col_value = list(solution.all_values)
        _check(self._highs.setSolution(known), "the point to start from")

    def skip_presolve(self) -> None:
        """The next ``solve`` takes the program as it is: slower, but in no doubt of its bounds."""
        self._highs.setOptionValue("presolve", "off")

    def solve(
        self,
        *,
        time_limit_s: float,
        relative_gap: float = 0.0,
        on_progress: Listener | None = None,
    ) -> Solution:
        """As LinearProgram.solve; ends with TIME_LIMIT at the deadline of the task, too."""
        highs = self._highs
        # The limit counts from the first run of the model, not from the start of this one.
        allowed = allowed_s(time_limit_s, is_search=self._is_mixed)
        highs.setOptionValue("time_limit", highs.getRunTime() + allowed)
        highs.setOptionValue("mip_rel_gap", relative_gap)
        if on_progress is not None and self._is_mixed:
            ear = _Ear(on_progress)
            highs.cbMipInterrupt.subscribe(ear.hear)
            try:
                highs.run()
            finally:
                highs.cbMipInterrupt.unsubscribe(ear.hear)
            ear.check()
        else:
            highs.run()
        return self._solution()

    def _solution(self) -> Solution:
        highs = self._highs
        status = highs.getModelStatus()
        match status:
            case HighsModelStatus.kOptimal:
                outcome = Outcome.OPTIMAL
            case HighsModelStatus.kTimeLimit:
                outcome = Outcome.TIME_LIMIT
            # No cost of ours is unbounded below, so "one of the two" can only be the first.
            case HighsModelStatus.kInfeasible | HighsModelStatus.kUnboundedOrInfeasible:
                outcome = Outcome.INFEASIBLE
            case HighsModelStatus.kMemoryLimit:
                raise MemoryError
            case _:
                raise SolverError(highs.modelStatusToString(status))
        info = highs.getInfo()
        feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        found = highs.getSolution()
        bound = info.mip_dual_bound if self._is_mixed else info.objective_function_value
        gap = info.mip_gap if self._is_mixed else 0.0
        # Relative to a plan that costs nothing every gap is infinite: then it is the absolute one.
        if not math.isfinite(gap):
            gap = info.objective_function_value - bound
        return Solution(
            outcome=outcome,
            is_mixed=self._is_mixed,
            has_values=feasible,
            objective=info.objective_function_value,
            bound=bound,
            relative_gap=gap,
            _values=np.array(found.col_value, dtype=np.float64),
            _row_duals=np.array(found.row_dual, dtype=np.float64),
            _reduced_costs=np.array(found.col_dual, dtype=np.float64),
        )


class _Ear:
    """Passes on what HiGHS says while it searches; keeps what the listener raises until after."""

    def __init__(self, on_progress: Listener) -> None:
        self._on_progress = on_progress
        self._next_report = 0.0
        self._failure: Exception | None = None

    def hear(self, event: HighsCallbackEvent) -> None:
        """Called some hundred times a second: HiGHS asks whether it shall stop."""
        if self._failure is None and (now := time.monotonic()) >= self._next_report:
            self._next_report = now + REPORT_INTERVAL_S
            found = event.data_out
            known = map(_known, (found.mip_primal_bound, found.mip_dual_bound, found.mip_gap))
            try:
                self._on_progress(*known)
            except Exception as error:  # HiGHS would make "solve error" of it
                self._failure = error
        if self._failure is not None:
            event.interrupt()

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure


def _check(status: highspy.HighsStatus, what: str) -> None:
    if status == highspy.HighsStatus.kError:
        raise SolverError(f"HiGHS refuses a change of {what}")


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _each(count: int, value: Coefficient) -> Floats:
    return np.full(count, value, dtype=np.float64)
