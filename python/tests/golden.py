"""The golden cases of contract-tests/golden: a submission, and what both engines answer to it.

    PYTHONPATH=python .venv/bin/python -m tests.golden             says what has changed
    PYTHONPATH=python .venv/bin/python -m tests.golden --write     writes it down
    … -m tests.golden --write power-flow/village                   of this case alone

The answers are the reference engine's, to twelve digits; the tests hold both engines to them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from gridpact.compute.kinds import computations
from gridpact.compute.solve.warm_models import WarmModels
from gridpact.contracts.channels import KINDS
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import Message, build, encode, to_json
from tests.compute.test_dispatch_plan import silent

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "contract-tests" / "golden"
SUBMISSION, RESULT, FAILURE = ".submission.json", ".result.json", ".failure.json"
DIGITS = 12
LINE = 180

RELATIVE, ABSOLUTE = 1e-6, 1e-6
"""By how much numbers may differ: costs by a part of themselves, powers and prices as they are."""

TOLERANCES: Mapping[str, tuple[float, float]] = {
    "*voltage_pu": (0.0, 1e-8),
    "*voltage_changes_pu": (0.0, 1e-8),
    "*angle_deg": (0.0, 1e-6),
}
"""Relative and absolute, by the last name of the path; whatever is not named has those above."""

_ON_THE_LAST_PLAN = (
    "where the plan stays on the last one, every price within the deviation cost is right"
)
TIES: Mapping[str, Mapping[str, str]] = {
    "mpc-step/home-?": {
        "plan.grid_price_per_kwh*": _ON_THE_LAST_PLAN,
        "plan.pv*.marginal_value_per_kwh*": _ON_THE_LAST_PLAN,
        "plan.batteries*.reasons*": _ON_THE_LAST_PLAN,
    },
    "power-flow/no-solution": {
        "message": "where Newton-Raphson ends without a solution is chance",
        "violations*.message": "likewise",
    },
    "unit-commitment/day": {
        "thermal_units*.reserve_mw*": "reserve that does not bind costs nothing, whoever holds it",
    },
}
"""Paths of cases in which several answers are right, and why; they are not compared."""


@dataclass(frozen=True, slots=True)
class Case:
    """One submission, and the file of its answer."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def submission_file(self) -> Path:
        return FOLDER / self.kind / (self.name + SUBMISSION)

    @property
    def submission(self) -> Json:
        return json.loads(self.submission_file.read_text(encoding="utf-8"))

    @property
    def message(self) -> Message:
        return build(KINDS[self.kind].input, self.submission["input"])

    @property
    def fails(self) -> bool:
        return self._file(FAILURE).exists()

    @property
    def answer_file(self) -> Path:
        return self._file(FAILURE if self.fails else RESULT)

    @property
    def answer(self) -> Json:
        """The result, or the failure of a case that fails."""
        return json.loads(self.answer_file.read_text(encoding="utf-8"))

    @property
    def refusal(self) -> str:
        """The failure in the words of `tests.compute.engines`."""
        found = sorted(f"{each['field']}:{each['rule']}" for each in self.answer["violations"])
        return f"{self.answer['reason']} {';'.join(found)}"

    def write(self, answer: Json) -> None:
        wanted, other = (FAILURE, RESULT) if "reason" in answer else (RESULT, FAILURE)
        self._file(other).unlink(missing_ok=True)
        self._file(wanted).write_text(rendered(answer) + "\n", encoding="utf-8")

    def _file(self, ending: str) -> Path:
        return FOLDER / self.kind / (self.name + ending)


def cases() -> list[Case]:
    """Every case, those of a kind in the order of their names: steps follow one another."""
    files = sorted(FOLDER.glob("*/*" + SUBMISSION))
    return [Case(file.parent.name, file.name.removesuffix(SUBMISSION)) for file in files]


def reference(wanted: list[Case]) -> Iterator[tuple[Case, Json]]:
    """What the reference engine answers; one worker for all, so that steps find their models."""
    compute = computations(WarmModels())
    for case in wanted:
        try:
            yield case, plain(compute[case.kind].compute(case.message, silent))
        except GridpactError as error:
            yield case, failure(error)


def plain(result: Message) -> Json:
    """A result as JSON has it."""
    encode(result)  # refuses what its contract does not allow
    return timeless(json.loads(to_json(result)))


def timeless(answer: Json) -> Json:
    """The answer without the time that it took."""
    return answer | {"solve_ms": 0} if "solve_ms" in answer else answer


def failure(error: GridpactError) -> Json:
    """What a task that ends so tells its user."""
    found = [json.loads(msgspec.json.encode(each)) for each in error.violations]
    return {"reason": str(error.reason), "message": error.message, "violations": found}


def differences(case: Case, answer: Json) -> list[str]:
    """Where an answer is not the golden one."""
    ties = [path for name, paths in TIES.items() if fnmatch(str(case), name) for path in paths]
    return [
        words
        for path, words in compared(case.answer, answer)
        if not any(fnmatch(path, tie) for tie in ties)
    ]


def compared(golden: object, found: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The paths at which two values differ by more than is allowed there, and how."""
    if isinstance(golden, dict) and isinstance(found, dict):
        for name in golden.keys() | found.keys():
            inner = f"{path}.{name}".removeprefix(".")
            if name not in golden or name not in found:
                yield inner, f"{inner}: {'new' if name in found else 'gone'}"
            else:
                yield from compared(golden[name], found[name], inner)
    elif isinstance(golden, list) and isinstance(found, list):
        if len(golden) != len(found):
            yield path, f"{path}: {len(golden)} items were wanted, not {len(found)}"
        for i, (one, other) in enumerate(zip(golden, found, strict=False)):
            yield from compared(one, other, f"{path}[{i}]")
    elif _is_number(golden) and _is_number(found):
        name = re.sub(r"(\[\d+\])+$", "", path).rpartition(".")[2]
        relative, absolute = tolerance(name)
        if not math.isclose(golden, found, rel_tol=relative, abs_tol=absolute):  # type: ignore[arg-type]
            yield path, f"{path}: {golden} was wanted, not {found}"
    elif golden != found:
        yield path, f"{path}: {golden!r} was wanted, not {found!r}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def tolerance(name: str) -> tuple[float, float]:
    """Relative and absolute, of the numbers in a member of this name."""
    found = (known for pattern, known in TOLERANCES.items() if fnmatch(name, pattern))
    return next(found, (RELATIVE, ABSOLUTE))


def rendered(value: object, indent: int = 0) -> str:
    """JSON that people read: numbers to twelve digits; one line for a series, or for what fits."""
    if isinstance(value, float):
        rounded = 0.0 if abs(value) < 10.0**-DIGITS else float(f"{value:.{DIGITS}g}")
        return str(int(rounded)) if rounded.is_integer() else repr(rounded)
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False)
    inner = indent + 2
    if isinstance(value, list):
        parts, (first, last) = [rendered(each, inner) for each in value], "[]"
    else:
        named = value.items()
        parts = [f"{json.dumps(name)}: {rendered(each, inner)}" for name, each in named]
        first, last = "{}"
    line = first + ", ".join(parts) + last
    is_series = isinstance(value, list) and not any(isinstance(its, dict | list) for its in value)
    if is_series or ("\n" not in line and len(line) + indent <= LINE):
        return line
    pad = " " * inner
    return first + "\n" + ",\n".join(pad + part for part in parts) + "\n" + " " * indent + last


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.golden", description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="KIND/NAME", help="all of them by default")
    parser.add_argument("--write", action="store_true", help="write the answers down")
    given = parser.parse_args()
    known = cases()
    if unknown := set(given.cases) - {str(case) for case in known}:
        parser.error(
            f"no case {', '.join(sorted(unknown))}; there are {', '.join(map(str, known))}"
        )
    changed = 0
    for case, answer in reference(known):
        if given.cases and str(case) not in given.cases:
            continue
        try:
            found = differences(case, answer)
        except FileNotFoundError:
            found = ["it is new"]
        changed += bool(found)
        for words in found[:5]:
            sys.stdout.write(f"{case}: {words}\n")
        if given.write:
            case.write(answer)
    return 1 if changed and not given.write else 0


if __name__ == "__main__":
    sys.exit(main())
