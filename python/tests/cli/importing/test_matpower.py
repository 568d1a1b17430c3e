"""MATPOWER cases become networks that pandapower solves alike, and errors name the line."""

from __future__ import annotations

import cmath
import math
import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpact.cli.importing.error import ImportFileError
from gridpact.cli.importing.matpower import read, submission_of
from gridpact.compute.power_flow import power_flow
from gridpact.contracts.messages import PowerFlowInput, PowerFlowResult
from gridpact.kit.wire import build
from tests.compute.networks import check
from tests.compute.test_dispatch_plan import silent

DATA = Path(os.environ.get("GRIDPACT_DATA", Path(__file__).parents[5] / "shared" / "data"))

CASE = """\
function mpc = small
%SMALL  Made for this test; its 'quotes' and [brackets] in comments mean nothing.
mpc.version = '2';
mpc.baseMVA = 100;

%% bus data
%	bus_i	type	Pd	Qd	Gs	Bs	area	Vm	Va	baseKV	zone	Vmax	Vmin
mpc.bus = [
	1	3	0	0	0	0	1	1.02	5	110	1	1.1	0.9;
	20	2	50	10	0	0	1	1	0	110	1	1.1	0.9; % with generators
	3	1	60	20	2	15	1	1	0	...
		110	1	1.05	0.95;
	4	4	10	0	0	0	1	1	0	110	1	1.1	0.9;
];
mpc.gen = [
	1	0	0	300	-300	1.02	100	1	250	10;
	20	40	0	Inf	-Inf	1.00	100	1	250	10
	20	30	5	20	-20	1.01	100	1	250	10
	20	70	5	20	-20	1.03	100	0	250	10
	3	5, 2, 3, 0, 1, 100, 1, 10, 0
	4	5	0	1	-1	1	100	1	10	0;
];
mpc.branch = [
	1	20	0.01	0.1	0.02	0	0	0	0	0	1	-360	360;
	1	20	0.01	0.1	0.02	80	0	0	0	0	0	-360	360;
	20	3	0.02	0.2	0.0	90	0	0	0.98	-3	1	-360	360;
	1	3	1e-2	1.0E-1	.04	0	0	0	0	0	1	-360	360;
	3	4	0.01	0.1	0	0	0	0	0	0	1	-360	360;
];
mpc.gencost = [2 0 0 3 0.01 40 0];
mpc.bus_name = {'North'; 'O''Hara'; 'South'; 'Nowhere'};
"""


def solved(text: str) -> tuple[dict[str, Any], list[str], PowerFlowResult]:
    submission, notes = submission_of(text)
    given = submission["input"]
    given["options"] = {"tolerance_pu": 1e-11}
    return submission, notes, power_flow(build(PowerFlowInput, given), silent)


def test_a_case_becomes_the_network_that_it_describes() -> None:
    submission, notes, result = solved(CASE)
    network = submission["input"]["network"]
    assert submission["label"] == "small"
    assert network["base_power_mva"] == 100
    assert result.bus_names == ["North", "O'Hara", "South"]
    assert notes == [
        "isolated (BUS_TYPE 4), left out with all that is at them: 4",
        "line 17, mpc.gen row 2: VG is 1, but 1.01 by a later row of bus 20",
    ]
    generators = {each.pop("name"): each for each in network["generators"]}
    assert list(generators) == [
        "Generator 1",
        "Generator 20",
        "Generator 20 #2",
        "Generator 20 #3",
        "Generator 3",
    ]
    assert generators["Generator 1"] == {
        "bus": "North",
        "role": "SLACK",
        "active_power_mw": 0,
        "reactive_power_mvar": 0,
        "voltage_setpoint_pu": 1.02,
        "voltage_angle_deg": 5,
        "min_reactive_power_mvar": -300,
        "max_reactive_power_mvar": 300,
        "in_service": True,
    }
    assert generators["Generator 20"]["voltage_setpoint_pu"] == 1.01
    assert "max_reactive_power_mvar" not in generators["Generator 20"]
    assert not generators["Generator 20 #3"]["in_service"]
    assert generators["Generator 3"]["role"] == "PQ"
    assert [branch["name"] for branch in network["branches"]] == ["1-20", "1-20 #2", "20-3", "1-3"]
    transformer = network["branches"][2]
    assert (transformer["kind"], transformer["tap_ratio"]) == ("TRANSFORMER", 0.98)
    assert transformer["phase_shift_deg"] == -3
    assert transformer["max_apparent_power_mva"] == 90
    assert network["branches"][3]["reactance_pu"] == 0.1
    assert network["shunts"][0]["susceptance_mvar"] == 15
    assert network["buses"][2]["min_voltage_pu"] == 0.95


def test_its_power_flow_obeys_the_laws_of_circuits() -> None:
    submission, _, result = solved(CASE)
    given = submission["input"] | {"slots": 1, "profiles": []}
    given["options"] |= {"enforce_reactive_limits": False}
    for item in given["network"]["generators"]:
        item.setdefault("voltage_setpoint_pu", 1.0)
    for item in given["network"]["loads"] + given["network"]["shunts"]:
        item["in_service"] = True
    check(given, result, nominal_kv=110.0)


@pytest.mark.parametrize(
    "name", ["case14_ieee", "case30_ieee", "case57_ieee", "case118_ieee", "case1354_pegase"]
)
def test_pglib_cases_are_solved_as_by_pandapower(name: str) -> None:
    file = DATA / "pglib-opf" / f"pglib_opf_{name}.m"
    if not file.is_file():
        pytest.skip("the PGLib-OPF cases (../shared/data) are not here")
    text = file.read_text(encoding="utf-8")
    _, notes, result = solved(text)
    assert notes == []
    here = {
        int(bus.removeprefix("Bus ")): cmath.rect(size, math.radians(angle))
        for bus, size, angle in zip(
            result.bus_names, result.states[0].voltage_pu, result.states[0].angle_deg, strict=True
        )
    }
    for number, phasor in solved_by_pandapower(text).items():
        assert here[number] == pytest.approx(phasor, abs=1e-8)


def solved_by_pandapower(text: str) -> dict[int, complex]:
    """The voltages of a case by bus number; the matrices are read by numpy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandapower as pp
        from pandapower.converter.pypower import from_ppc

        def matrix(name: str) -> np.ndarray[Any, Any]:
            rows = re.search(rf"mpc\.{name} = \[\n(.*?)\n\];", text, re.DOTALL)
            assert rows
            return np.array(
                [row.partition(";")[0].split() for row in rows[1].split("\n")], dtype=float
            )

        case = {name: matrix(name) for name in ("bus", "gen", "branch")}
        net = from_ppc({"baseMVA": 100.0, "version": 2, **case}, f_hz=60, validate_conversion=False)
        pp.runpp(net, numba=False, calculate_voltage_angles=True, init="dc", tolerance_mva=1e-9)
        return {
            int(number): cmath.rect(size, math.radians(angle))
            for number, size, angle in zip(
                net.bus.index, net.res_bus.vm_pu, net.res_bus.va_degree, strict=True
            )
        }


# ------------------------------------------------------------------------------ refusals


def without_line(start: str) -> str:
    lines = [line for line in CASE.split("\n") if not line.startswith(start)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mpc.version = '2'", "mpc.version = '1'", "line 3: mpc.version must be '2'; it is '1'"),
        ("mpc.baseMVA = 100;", "", "mpc.baseMVA is missing"),
        ("mpc.baseMVA = 100;", "mpc.baseMVA = 50*2;", "line 4: mpc.baseMVA must be a number"),
        ("\t1\t3\t0\t0\t0", "\t1\t5\t0\t0\t0", "line 9, mpc.bus row 1: BUS_TYPE must be 1 (PQ)"),
        ("\t20\t2\t50", "\t1\t2\t50", "line 10, mpc.bus row 2: BUS_I must be unique; 1 is"),
        ("\t20\t2\t50", "\t20\t2\tNaN", "line 10, mpc.bus row 2: PD must be a number; it is NaN"),
        ("\t20\t2\t50", "\t20\t2\tInf", "line 10, mpc.bus row 2: PD must be finite; it is Inf"),
        ("\t20\t2\t50", "\t20.5\t2\t50", "BUS_I must be a whole number; it is 20.5"),
        ("1.05\t0.95", "1.05\t1.06", "line 11, mpc.bus row 3: min_voltage_pu must be at most"),
        ("1.05\t0.95", "", "line 11, mpc.bus row 3: must have at least 13 columns; it has 11"),
        ("\t110\t1\t1.05", "\t1/9\t1\t1.05", "BASE_KV must be a number; it is 1/9"),
        ("\t3\t5, 2", "\t7\t5, 2", "line 20, mpc.gen row 5: GEN_BUS must be a bus of mpc.bus"),
        ("300\t-300", "-300\t300", "line 16, mpc.gen row 1: min_reactive_power_mvar must be"),
        ("\t1\t3\t1e-2\t1.0E-1", "\t1\t3\t0\t0", "line 27, mpc.branch row 4: resistance_pu must"),
        ("\t1\t3\t1e-2", "\t1\t1\t1e-2", "line 27, mpc.branch row 4: to_bus must differ"),
        ("mpc.gencost", "mpc.branch(1, 4) = 2;\nmpc.gencost", "line 30: only values that are"),
        ("mpc.gencost", "mpc.baseMVA = 5;\nmpc.gencost", "line 30: mpc.baseMVA is assigned a"),
        ("];\nmpc.gencost", "\nmpc.gencost", "line 23: a bracket or quote that opens here"),
        ("\t1\t3\t0\t0", "\t1\t1\t0\t0", ""),
    ],
)
def test_errors_name_line_row_column_and_rule(old: str, new: str, words: str) -> None:
    assert CASE.count(old) == 1
    text = CASE.replace(old, new)
    if not words:  # no reference bus: MATPOWER takes the first PV bus
        assert "no generator runs at a reference bus; bus 20 becomes it" in submission_of(text)[1]
        return
    with pytest.raises(ImportFileError) as raised:
        submission_of(text)
    assert words in str(raised.value)


def test_a_case_without_any_source_is_refused() -> None:
    text = CASE.replace("\t1\t3\t0\t0", "\t1\t1\t0\t0").replace("\t20\t2\t50", "\t20\t1\t50")
    with pytest.raises(ImportFileError, match=r"mpc\.gen needs a running generator"):
        submission_of(text)


def test_block_comments_and_dc_lines_are_left_out() -> None:
    text = CASE.replace(
        "mpc.gencost", "%{\nmpc.bus = broken(\n%}\nmpc.dcline = [1 2];\nmpc.gencost"
    )
    assert read(text).has_dc_lines
    assert "mpc.dcline is left out, as MATPOWER does by itself" in submission_of(text)[1]
