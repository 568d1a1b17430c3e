"""pandapower's own power flow is the oracle: the network that is imported has the same voltages."""

from __future__ import annotations

import cmath
import itertools
import json
import math
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gridpact.cli.importing import pandapower as importing
from gridpact.cli.importing.error import ImportFileError
from gridpact.compute.power_flow import power_flow
from gridpact.contracts.messages import PowerFlowInput, PowerFlowResult
from gridpact.kit.wire import build
from tests.compute.test_dispatch_plan import silent

Net = Any

SAME_PU = 1e-8


@pytest.fixture(scope="module")
def pp() -> Iterator[Any]:
    """The module pandapower; what it warns of is not our matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandapower
        import pandapower.networks

        yield pandapower


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


pytestmark = pytest.mark.usefixtures("quiet")


class Imported:
    """A network on its way from pandapower to a result."""

    def __init__(self, pp: Any, net: Net, *, reactive_limits: bool = False) -> None:
        self.steps = importing.Import(importing.members_of(pp.to_json(net).encode()))
        submission, self.notes = self.steps.submission()
        self.given = submission["input"]
        self.given["options"]["enforce_reactive_limits"] = reactive_limits
        self.result: PowerFlowResult = power_flow(build(PowerFlowInput, self.given), silent)

    def phasors(self) -> dict[int, complex | None]:
        """Of each bus of the file; None for one that is dead or out of service."""
        state = self.result.states[0]
        found = {
            name: cmath.rect(size, math.radians(angle))
            for name, size, angle in zip(
                self.result.bus_names, state.voltage_pu, state.angle_deg, strict=True
            )
        }
        names = self.steps.bus_names()
        return {index: name and (found[name] or None) for index, name in names.items()}


def solve_there(
    pp: Any, net: Net, *, reactive_limits: bool = False, tolerance_mva: float = 1e-9
) -> None:
    pp.runpp(
        net,
        numba=False,
        calculate_voltage_angles=True,
        init="dc",
        max_iteration=50,
        tolerance_mva=tolerance_mva,
        enforce_q_lims=reactive_limits,
    )


def assert_same_voltages(net: Net, imported: Imported) -> None:
    here = imported.phasors()
    for index, size, angle in zip(
        net.bus.index, net.res_bus.vm_pu, net.res_bus.va_degree, strict=True
    ):
        there = None if math.isnan(size) else cmath.rect(size, math.radians(angle))
        if there is None:
            assert here[index] is None, index
        else:
            assert here[index] == pytest.approx(there, abs=SAME_PU), index


CASES = {"case14": 13.3933, "case118": 133.1697, "case300": 424.8866, "case1354pegase": 1663.4675}


@pytest.mark.parametrize("name", CASES)
def test_ieee_and_pegase_cases_are_solved_alike(pp: Any, name: str) -> None:
    net = getattr(pp.networks, name)()
    solve_there(pp, net)
    imported = Imported(pp, net)
    assert_same_voltages(net, imported)
    assert imported.result.by_slot.losses_mw[0] == pytest.approx(CASES[name], abs=5e-5)


@pytest.mark.parametrize(
    "name",
    [
        "iceland",
        "example_simple",
        "example_multivoltage",
        "create_cigre_network_hv",
        "mv_oberrhein",
    ],
)
def test_example_networks_are_solved_alike(pp: Any, name: str) -> None:
    net = getattr(pp.networks, name)()
    solve_there(pp, net)
    assert_same_voltages(net, Imported(pp, net))


def test_cases_within_reactive_limits_are_solved_alike(pp: Any) -> None:
    net = pp.networks.case118()
    solve_there(pp, net, reactive_limits=True)
    imported = Imported(pp, net, reactive_limits=True)
    assert imported.result.reactive_limits
    assert_same_voltages(net, imported)


# ------------------------------------------------------------------------------ every element


def random_net(pp: Any, seed: int) -> Net:
    """A 110/20/10 kV network with every element that is understood, in and out of service."""
    any_of = random.Random(seed)
    net = pp.create_empty_network(sn_mva=any_of.choice([1.0, 100.0]), f_hz=any_of.choice([50, 60]))
    hv = [pp.create_bus(net, 110.0, name=f"HV {i}") for i in range(3)]
    mv = [pp.create_bus(net, 20.0) for _ in range(8)]
    lv = [pp.create_bus(net, 10.0) for _ in range(3)]
    pp.create_ext_grid(net, hv[0], vm_pu=any_of.uniform(0.98, 1.04), va_degree=20.0)
    for one, other in ((hv[0], hv[1]), (hv[1], hv[2]), (hv[2], hv[0])):
        line(pp, net, any_of, one, other)
    for bus in (mv[0], mv[0], mv[1]):
        transformer(pp, net, any_of, hv[any_of.randrange(2)], bus)
    three_windings(pp, net, any_of, hv[2], mv[1], lv[0])
    for one, other in itertools.pairwise(mv[1:]):
        line(pp, net, any_of, one, other)
    line(pp, net, any_of, lv[0], lv[1])
    pp.create_switch(net, lv[1], lv[2], et="b", closed=True, z_ohm=any_of.choice([0.0, 0.5]))
    pp.create_switch(net, mv[0], mv[1], et="b", closed=any_of.random() < 0.5)
    pp.create_switch(net, mv[6], mv[7], et="b", closed=True)
    open_switches(pp, net, any_of)
    at_buses(pp, net, any_of, hv + mv + lv)
    pp.create_impedance(
        net, mv[3], mv[5], 0.01, 0.02, 10.0, gf_pu=0.001, bf_pu=0.01, gt_pu=0.002, bt_pu=0.02
    )
    pp.create_dcline(net, hv[1], mv[4], any_of.choice([2.0, -2.0]), 1.5, 0.1, 1.01, 1.0)
    net.bus.loc[any_of.choice(mv[2:]), "in_service"] = any_of.random() < 0.7
    return net


def line(pp: Any, net: Net, any_of: random.Random, one: int, other: int) -> None:
    pp.create_line_from_parameters(
        net,
        one,
        other,
        length_km=any_of.uniform(0.5, 4),
        r_ohm_per_km=any_of.uniform(0.05, 0.3),
        x_ohm_per_km=any_of.uniform(0.1, 0.4),
        c_nf_per_km=any_of.uniform(5, 200),
        g_us_per_km=any_of.choice([0.0, 2.0]),
        max_i_ka=0.4,
        parallel=any_of.choice([1, 2]),
        df=any_of.choice([1.0, 0.8]),
    )


def transformer(pp: Any, net: Net, any_of: random.Random, hv: int, mv: int) -> None:
    pp.create_transformer_from_parameters(
        net,
        hv,
        mv,
        sn_mva=any_of.uniform(20, 40),
        vn_hv_kv=any_of.choice([110.0, 115.0]),
        vn_lv_kv=any_of.choice([20.0, 21.0]),
        vk_percent=any_of.uniform(8, 16),
        vkr_percent=any_of.uniform(0.2, 1),
        pfe_kw=any_of.choice([0.0, 25.0]),
        i0_percent=any_of.choice([0.0, 0.1, 0.5]),
        shift_degree=150,
        parallel=any_of.choice([1, 2]),
        tap_changer_type=any_of.choice(["Ratio", "Symmetrical", "Ideal", None]),
        tap_side=any_of.choice(["hv", "lv"]),
        tap_neutral=0,
        tap_pos=any_of.randint(-3, 3),
        **any_of.choice([{"tap_step_percent": 1.5}, {"tap_step_degree": 1.0}]),
        leakage_resistance_ratio_hv=any_of.choice([0.5, 0.3]),
        leakage_reactance_ratio_hv=any_of.choice([0.5, 0.6]),
    )


def three_windings(pp: Any, net: Net, any_of: random.Random, hv: int, mv: int, lv: int) -> None:
    pp.create_transformer3w_from_parameters(
        net,
        hv,
        mv,
        lv,
        vn_hv_kv=110.0,
        vn_mv_kv=any_of.choice([20.0, 20.5]),
        vn_lv_kv=10.0,
        sn_hv_mva=40,
        sn_mv_mva=any_of.choice([30, 40]),
        sn_lv_mva=any_of.choice([10, 20]),
        vk_hv_percent=10.0,
        vk_mv_percent=11.0,
        vk_lv_percent=12.0,
        vkr_hv_percent=0.3,
        vkr_mv_percent=0.31,
        vkr_lv_percent=0.32,
        pfe_kw=30.0,
        i0_percent=0.1,
        shift_mv_degree=150,
        shift_lv_degree=any_of.choice([0, 150]),
        tap_side=any_of.choice(["hv", "mv", "lv"]),
        tap_changer_type=any_of.choice(["Ratio", None]),
        tap_neutral=0,
        tap_pos=any_of.randint(-4, 4),
        tap_step_percent=1.2,
        tap_step_degree=any_of.choice([0.0, 60.0]),
        tap_at_star_point=any_of.random() < 0.5,
    )


def open_switches(pp: Any, net: Net, any_of: random.Random) -> None:
    for index in any_of.sample(list(net.line.index), 2):
        bus = net.line.loc[index, any_of.choice(["from_bus", "to_bus"])]
        pp.create_switch(net, bus, index, et="l", closed=any_of.random() < 0.5)
    index = any_of.choice(list(net.trafo.index))
    bus = net.trafo.loc[index, any_of.choice(["hv_bus", "lv_bus"])]
    pp.create_switch(net, bus, index, et="t", closed=any_of.random() < 0.5)
    bus = net.trafo3w.loc[0, any_of.choice(["hv_bus", "mv_bus", "lv_bus"])]
    pp.create_switch(net, bus, 0, et="t3", closed=any_of.random() < 0.5)


def at_buses(pp: Any, net: Net, any_of: random.Random, buses: list[int]) -> None:
    def bus() -> int:
        return any_of.choice(buses[1:])

    def mw(most: float = 2.0) -> float:
        return any_of.uniform(0.1, most)

    for _ in range(5):
        running = any_of.random() < 0.8
        pp.create_load(net, bus(), mw(), mw(0.5), scaling=0.9, in_service=running)
    # At a bus of its own: pandapower would apply its parts to whatever else is at the bus.
    alone = pp.create_bus(net, 10.0)
    line(pp, net, any_of, buses[-1], alone)
    pp.create_load(net, alone, 1.0, 0.3, const_z_p_percent=40, const_z_q_percent=20)
    pp.create_sgen(net, bus(), mw(), mw(0.2), scaling=0.7)
    pp.create_storage(net, bus(), mw(1.0), 1.0, q_mvar=0.1)
    pp.create_motor(net, bus(), 0.8, 0.9, efficiency_percent=95, loading_percent=80, scaling=0.9)
    pp.create_asymmetric_load(
        net, bus(), p_a_mw=0.1, p_b_mw=0.2, p_c_mw=0.05, q_a_mvar=0.02, scaling=0.5
    )
    pp.create_asymmetric_sgen(net, bus(), p_a_mw=0.1, p_b_mw=0.0, p_c_mw=0.05, q_c_mvar=0.01)
    pp.create_shunt(net, bus(), q_mvar=-0.5, p_mw=0.02, step=2, vn_kv=any_of.choice([19.0, 20.0]))
    pp.create_ward(net, bus(), 0.3, 0.1, 0.2, 0.05)
    pp.create_xward(net, bus(), 0.3, 0.1, 0.2, 0.05, r_ohm=0.5, x_ohm=3.0, vm_pu=1.0)
    pp.create_gen(net, buses[1], p_mw=mw(), vm_pu=1.01, scaling=0.8, slack=any_of.random() < 0.2)


@pytest.mark.parametrize("seed", range(12))
def test_networks_of_every_element_are_solved_alike(pp: Any, seed: int) -> None:
    net = random_net(pp, seed)
    solve_there(pp, net, tolerance_mva=1e-10)  # with loads of impedance it converges slowly
    imported = Imported(pp, net)
    assert_same_voltages(net, imported)


def test_line_loading_is_that_of_pandapower(pp: Any) -> None:
    net = pp.networks.mv_oberrhein()
    solve_there(pp, net)
    result = Imported(pp, net).result
    loading = dict(zip(result.branch_names, result.states[0].loading_percent, strict=True))
    lines = net.line.assign(loading=net.res_line.loading_percent)
    compared = [
        (loading[row.name], row.loading)
        for row in lines.itertuples()
        if row.name in loading and not math.isnan(row.loading)
    ]
    assert len(compared) > 100
    np.testing.assert_allclose(*zip(*compared, strict=True), atol=1e-6)


# ------------------------------------------------------------------------------ refusals


def refused(pp: Any, change: Callable[[Net], object]) -> str:
    """What is said of a small network that has been changed for the worse."""
    net = pp.networks.example_simple()
    change(net)
    with pytest.raises(ImportFileError) as raised:
        importing.submission_of(pp.to_json(net).encode())
    return str(raised.value)


def test_an_element_that_is_not_understood_is_named(pp: Any) -> None:
    def add(net: Net) -> None:
        pp.create_svc(net, 5, 1.0, -10.0, 1.0, 144.0, name="Compensator")

    assert refused(pp, add).startswith("svc 0 (Compensator): svc is not supported")


def test_one_out_of_service_does_no_harm(pp: Any) -> None:
    net = pp.networks.example_simple()
    pp.create_svc(net, 5, 1.0, -10.0, 1.0, 144.0, in_service=False)
    assert importing.submission_of(pp.to_json(net).encode())


@pytest.mark.parametrize(
    ("table", "column", "value", "words"),
    [
        ("line", "r_ohm_per_km", float("nan"), "line 0 (Line 1): r_ohm_per_km must be a finite"),
        ("line", "from_bus", 99, "bus 99 is named by an element, but does not exist"),
        ("load", "const_i_p_percent", 10.0, "load 0 (load): const_i_p_percent must be 0"),
        ("bus", "vn_kv", 0.0, "bus 0 (HV Busbar): vn_kv must be greater than 0"),
        ("trafo", "tap_changer_type", "Tabular", "tap_changer_type must be Ratio, Symmetrical"),
        ("trafo", "tap_dependency_table", True, "tap_dependency_table must be false"),
        ("gen", "vm_pu", 3.0, "voltage_setpoint_pu must be at most 2"),
    ],
)
def test_refusals_name_element_column_and_rule(
    pp: Any, table: str, column: str, value: Any, words: str
) -> None:
    def spoil(net: Net) -> None:
        net[table][column] = net[table][column].astype(object)
        net[table].loc[net[table].index[0], column] = value

    assert words in refused(pp, spoil)


def test_asymmetric_impedances_are_refused(pp: Any) -> None:
    def add(net: Net) -> None:
        pp.create_impedance(net, 3, 4, 0.01, 0.02, 10.0, rtf_pu=0.03, name="Odd")

    assert "impedance 0 (Odd): rtf_pu must be that of rft_pu" in refused(pp, add)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"gibberish", "no JSON"),
        (b"[]", "pandapower.to_json"),
        (b'{"_class": "pandapowerNet", "_object": {}}', "no bus"),
        (b'{"_class": "pandapowerNet", "_object": {"sn_mva": 0}}', "sn_mva must be a positive"),
        (
            json.dumps(
                {
                    "_class": "pandapowerNet",
                    "_object": {"bus": {"_class": "DataFrame", "_object": '{"columns": ["x"]}'}},
                }
            ).encode(),
            "bus: the table must have columns, index and data",
        ),
    ],
)
def test_what_is_no_network_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(ImportFileError, match=words):
        importing.submission_of(text)


def test_files_written_before_pandapower_3_have_their_taps(pp: Any) -> None:
    """There a tap changer is one of ratio unless `tap_phase_shifter` says otherwise."""
    net = pp.networks.example_simple()
    net.trafo["tap_pos"] = 3
    new = importing.submission_of(pp.to_json(net).encode())[0]
    ideal = net.trafo.tap_changer_type == "Ideal"
    net.trafo = net.trafo.drop(columns="tap_changer_type").assign(tap_phase_shifter=ideal)
    old = importing.submission_of(pp.to_json(net).encode())[0]
    assert new == old
    assert any(branch["tap_ratio"] != 1 for branch in new["input"]["network"]["branches"])
