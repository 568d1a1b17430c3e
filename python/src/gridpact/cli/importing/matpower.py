"""MATPOWER case files, version 2 (MATPOWER User's Manual, appendix B), as `power-flow` submissions.

A case file is a program. What is read are its assignments of literal values to members of `mpc`; a
statement of any other kind could change them, and is refused.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gridpact.cli.importing.error import ImportFileError
from gridpact.cli.importing.network import Draft

BUS = (
    *("BUS_I", "BUS_TYPE", "PD", "QD", "GS", "BS", "BUS_AREA", "VM", "VA", "BASE_KV"),
    *("ZONE", "VMAX", "VMIN"),
)
GENERATOR = ("GEN_BUS", "PG", "QG", "QMAX", "QMIN", "VG", "MBASE", "GEN_STATUS", "PMAX", "PMIN")
BRANCH = (
    *("F_BUS", "T_BUS", "BR_R", "BR_X", "BR_B", "RATE_A", "RATE_B", "RATE_C", "TAP", "SHIFT"),
    "BR_STATUS",
)

MAY_BE_INFINITE = {"QMAX", "QMIN", "PMAX", "PMIN", "RATE_A", "RATE_B", "RATE_C"}

PQ, PV, REF, ISOLATED = 1, 2, 3, 4
ROLES = {PQ: "PQ", PV: "PV", REF: "SLACK"}

MOST_REACTIVE_POWER_MVAR = 1e6
"""A reactive limit beyond this is none."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eEdD][+-]?\d+)?|\.\d+(?:[eEdD][+-]?\d+)?|[Ii]nf|NaN)")
_ASSIGNMENT = re.compile(r"mpc\.(\w+)\s*=(?!=)\s*")
_HARMLESS = re.compile(r"(?:function\b.*|end|endfunction|return)\s*;?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a matrix, by the names of its columns."""

    line: int
    matrix: str
    number: int
    values: dict[str, float]

    def __getitem__(self, column: str) -> float:
        return self.values[column]

    @property
    def source(self) -> str:
        return f"line {self.line}, mpc.{self.matrix} row {self.number}"

    def whole(self, column: str) -> int:
        """A value that counts something."""
        value = self[column]
        if value != int(value):
            raise ImportFileError(f"{self.source}: {column} must be a whole number; it is {value}")
        return int(value)


@dataclass(frozen=True, slots=True)
class Case:
    """What a file says of the network."""

    name: str
    base_power_mva: float
    buses: list[Row]
    generators: list[Row]
    branches: list[Row]
    bus_names: list[str]
    has_dc_lines: bool


def submission_of(text: str) -> tuple[dict[str, Any], list[str]]:
    """The submission that computes a case, and notes on what was read freely.

    Raises ImportFileError, which names line, matrix, column and rule.
    """
    case = read(text)
    draft = Draft(case.base_power_mva)
    buses = _kept_buses(case, draft)
    names = _add_buses(case, buses, draft)
    _add_generators(case, buses, names, draft)
    _add_branches(case, buses, names, draft)
    if case.has_dc_lines:
        draft.notes.append("mpc.dcline is left out, as MATPOWER does by itself")
    return draft.submission(label=case.name, options={}), draft.notes


# ------------------------------------------------------------------------------ case to network


def _kept_buses(case: Case, draft: Draft) -> dict[int, Row]:
    """The buses that are not isolated, by number."""
    buses: dict[int, Row] = {}
    for row in case.buses:
        number = row.whole("BUS_I")
        if number in buses:
            words = f"BUS_I must be unique; {number} is that of line {buses[number].line} too"
            raise ImportFileError(f"{row.source}: {words}")
        if row["BUS_TYPE"] not in (*ROLES, ISOLATED):
            words = "BUS_TYPE must be 1 (PQ), 2 (PV), 3 (reference) or 4 (isolated)"
            raise ImportFileError(f"{row.source}: {words}; it is {row['BUS_TYPE']:g}")
        buses[number] = row
    isolated = [number for number, row in buses.items() if row["BUS_TYPE"] == ISOLATED]
    if isolated:
        shown = ", ".join(map(str, isolated))
        draft.notes.append(f"isolated (BUS_TYPE 4), left out with all that is at them: {shown}")
    return buses


def _add_buses(case: Case, buses: dict[int, Row], draft: Draft) -> dict[int, str]:
    """Buses, loads and shunts; returns the names of the buses that are not isolated."""
    without_kv = 0
    names: dict[int, str] = {}
    for place, (number, row) in enumerate(buses.items()):
        if row["BUS_TYPE"] == ISOLATED:
            continue
        without_kv += row["BASE_KV"] == 0
        names[number] = draft.add(
            "buses",
            row.source,
            f"Bus {number}",
            case.bus_names[place].strip() if case.bus_names else None,
            nominal_voltage_kv=row["BASE_KV"] or 1.0,
            min_voltage_pu=row["VMIN"],
            max_voltage_pu=row["VMAX"],
            initial_voltage_pu=row["VM"] if 0 < row["VM"] <= 2 else None,
            initial_angle_deg=row["VA"] if abs(row["VA"]) <= 360 else None,
        )
        if row["PD"] or row["QD"]:
            draft.add(
                "loads",
                row.source,
                f"Load {number}",
                bus=names[number],
                active_power_mw=row["PD"],
                reactive_power_mvar=row["QD"],
            )
        if row["GS"] or row["BS"]:
            draft.add(
                "shunts",
                row.source,
                f"Shunt {number}",
                bus=names[number],
                conductance_mw=row["GS"],
                susceptance_mvar=row["BS"],
            )
    if without_kv:
        draft.notes.append(
            f"{without_kv} buses have BASE_KV 0; they get 1 kV, which changes nothing in p.u."
        )
    return names


def _add_generators(case: Case, buses: dict[int, Row], names: dict[int, str], draft: Draft) -> None:
    types = {number: int(row["BUS_TYPE"]) for number, row in buses.items()}
    running = [row for row in case.generators if row["GEN_STATUS"] > 0]
    at_buses = {_bus_of(row, "GEN_BUS", buses) for row in running}
    if not any(types[number] == REF for number in at_buses):
        first = next((n for n in buses if types[n] == PV and n in at_buses), None)
        if first is None:
            words = "needs a running generator at a bus of BUS_TYPE 3 (reference), or 2 (PV)"
            raise ImportFileError(f"mpc.gen {words}")
        types[first] = REF
        draft.notes.append(f"no generator runs at a reference bus; bus {first} becomes it")
    held = {_bus_of(row, "GEN_BUS", buses): row["VG"] for row in running}  # the last one counts
    for row in case.generators:
        number = _bus_of(row, "GEN_BUS", buses)
        if number not in names:
            continue
        setpoint = held.get(number, row["VG"])
        if setpoint != row["VG"] and row["GEN_STATUS"] > 0 and types[number] != PQ:
            words = f"VG is {row['VG']:g}, but {setpoint:g} by a later row of bus {number}"
            draft.notes.append(f"{row.source}: {words}")
        draft.add(
            "generators",
            row.source,
            f"Generator {number}",
            bus=names[number],
            role=ROLES[types[number]],
            active_power_mw=row["PG"],
            reactive_power_mvar=row["QG"],
            voltage_setpoint_pu=setpoint if types[number] != PQ else None,
            voltage_angle_deg=buses[number]["VA"] if types[number] == REF else None,
            min_reactive_power_mvar=_limit(row["QMIN"]),
            max_reactive_power_mvar=_limit(row["QMAX"]),
            in_service=row["GEN_STATUS"] > 0,
        )


def _add_branches(case: Case, buses: dict[int, Row], names: dict[int, str], draft: Draft) -> None:
    for row in case.branches:
        ends = [_bus_of(row, column, buses) for column in ("F_BUS", "T_BUS")]
        if not all(number in names for number in ends):
            continue
        draft.add(
            "branches",
            row.source,
            f"{ends[0]}-{ends[1]}",
            kind="TRANSFORMER" if row["TAP"] or row["SHIFT"] else "LINE",
            from_bus=names[ends[0]],
            to_bus=names[ends[1]],
            resistance_pu=row["BR_R"],
            reactance_pu=row["BR_X"],
            charging_susceptance_pu=row["BR_B"],
            tap_ratio=row["TAP"] or None,
            phase_shift_deg=row["SHIFT"] or None,
            max_apparent_power_mva=row["RATE_A"] if 0 < row["RATE_A"] < math.inf else None,
            in_service=row["BR_STATUS"] != 0,
        )


def _bus_of(row: Row, column: str, buses: dict[int, Row]) -> int:
    number = row.whole(column)
    if number not in buses:
        raise ImportFileError(f"{row.source}: {column} must be a bus of mpc.bus; it is {number}")
    return number


def _limit(reactive_power_mvar: float) -> float | None:
    return reactive_power_mvar if abs(reactive_power_mvar) <= MOST_REACTIVE_POWER_MVAR else None


# ------------------------------------------------------------------------------ text to case


def read(text: str) -> Case:
    """The case of a file. Raises ImportFileError."""
    members = {name: (line, value) for line, name, value in _assignments(_without_comments(text))}
    line, version = members.get("version", (1, "1"))
    if version.strip("'\"") != "2":
        raise ImportFileError(f"line {line}: mpc.version must be '2'; it is {version}")
    line, base = _member(members, "baseMVA")
    if not _NUMBER.fullmatch(base):
        raise ImportFileError(f"line {line}: mpc.baseMVA must be a number; it is {base}")
    buses = _rows(members, "bus", BUS)
    function = re.search(r"^\s*function\s+\w+\s*=\s*(\w+)", text, re.MULTILINE)
    names = re.findall(r"'((?:[^']|'')*)'", members.get("bus_name", (0, ""))[1])
    return Case(
        name=function[1] if function else "",
        base_power_mva=_float(base),
        buses=buses,
        generators=_rows(members, "gen", GENERATOR),
        branches=_rows(members, "branch", BRANCH),
        bus_names=[name.replace("''", "'") for name in names] if len(names) == len(buses) else [],
        has_dc_lines="dcline" in members,
    )


def _member(members: dict[str, tuple[int, str]], name: str) -> tuple[int, str]:
    if name not in members:
        raise ImportFileError(f"mpc.{name} is missing; this is no MATPOWER case of version 2")
    return members[name]


def _rows(members: dict[str, tuple[int, str]], name: str, columns: Sequence[str]) -> list[Row]:
    first_line, value = _member(members, name)
    if not (value.startswith("[") and value.endswith("]")):
        raise ImportFileError(f"line {first_line}: mpc.{name} must be a matrix in [ ]")
    rows: list[Row] = []
    line = first_line
    for text in re.split(r"([\n;])", value[1:-1]):
        blank = len(text) - len(text.lstrip())
        if text.strip(";\n\v\t "):
            at = line + _lines_in(text[:blank])
            rows.append(_row(at, name, len(rows) + 1, text, columns))
        line += _lines_in(text)
    return rows


def _row(line: int, matrix: str, number: int, text: str, columns: Sequence[str]) -> Row:
    row = Row(line, matrix, number, {})
    cells = re.split(r"[\s,]+", text.strip().strip(","))
    if len(cells) < len(columns):
        words = f"must have at least {len(columns)} columns; it has {len(cells)}"
        raise ImportFileError(f"{row.source}: {words}")
    for column, cell in zip(columns, cells, strict=False):
        value = _float(cell) if _NUMBER.fullmatch(cell) else None
        if value is None or math.isnan(value):
            raise ImportFileError(f"{row.source}: {column} must be a number; it is {cell}")
        if math.isinf(value) and column not in MAY_BE_INFINITE:
            raise ImportFileError(f"{row.source}: {column} must be finite; it is {cell}")
        row.values[column] = value
    return row


def _float(text: str) -> float:
    return float(text.replace("D", "e").replace("d", "e"))


def _without_comments(text: str) -> str:
    """The same lines without comments; one that goes on after `...` ends with a vertical tab."""
    lines: list[str] = []
    depth = 0
    for line in text.replace("\r\n", "\n").split("\n"):
        mark = line.strip()
        if mark in ("%{", "#{"):
            depth += 1
        kept = "" if depth else re.sub(r"^((?:[^%#']|'[^'\n]*')*)[%#].*", r"\1", line)
        if mark in ("%}", "#}") and depth:
            depth -= 1
        lines.append(kept)
    return re.sub(r"\.\.\.[^\n]*\n", "\v", "\n".join(lines))


def _lines_in(text: str) -> int:
    return text.count("\n") + text.count("\v")


def _assignments(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, member and value of each assignment to `mpc`; refuses statements of another kind."""
    seen: Counter[str] = Counter()
    for line, statement, start in _statements(text):
        assignment = _ASSIGNMENT.match(statement)
        if assignment is None:
            if _HARMLESS.fullmatch(statement):
                continue
            shown = " ".join(statement.split())[:80]
            words = "only values that are assigned to mpc are understood; save the case by savecase"
            raise ImportFileError(f"line {line}: {words}: {shown}")
        name = assignment[1]
        seen[name] += 1
        if seen[name] > 1:
            raise ImportFileError(f"line {line}: mpc.{name} is assigned a second time")
        value_start = start + assignment.end()
        yield (
            _lines_in(text[:value_start]) + 1,
            name,
            statement[assignment.end() :].strip().rstrip(";").strip(),
        )


def _statements(text: str) -> Iterator[tuple[int, str, int]]:
    """Line, text and position of each statement; brackets hold one together, quotes too."""
    start, depth, quoted = 0, 0, False
    for place, character in enumerate(text + "\n"):
        if quoted:
            quoted = character not in "'\n"
        elif character == "'" and (
            place == 0 or not (text[place - 1].isalnum() or text[place - 1] in ")]}'")
        ):
            quoted = True
        elif character in "[{(":
            depth += 1
        elif character in ")}]":
            depth -= 1
        elif character in ";\n" and depth == 0:
            statement = text[start:place]
            if statement.strip():
                first = start + len(statement) - len(statement.lstrip())
                yield _lines_in(text[:first]) + 1, statement.strip(), first
            start = place + 1
    if depth or quoted:
        line = _lines_in(text[:start]) + 1
        raise ImportFileError(f"line {line}: a bracket or quote that opens here is not closed")
