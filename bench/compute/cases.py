"""The cases: who solves which input, what must agree, and which ratios follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.compute.inputs import (
    SLOTS_A_YEAR,
    House,
    write_dispatch,
    write_power_flow,
    write_power_flow_year,
    write_steps,
    write_unit_commitment,
)
from bench.compute.lane import Answer
from bench.compute.rounds import Ratio


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to solve the case's input. Its times are named CASE_NAME or CASE_NAME_MEASURE."""

    name: str
    side: str
    lane: str
    source: str
    calls: int = 1  # in a row, in one round; the fastest is the round's time
    differing: bool = False  # the calls are not alike, so their median is the round's time
    every: int = 1  # takes part in every n-th round only, because it is slow


@dataclass(frozen=True, slots=True)
class Case:
    """``entries[0]`` is ours; ``known`` is the answer to reach, else that of the first entry of
    ``reference``; ``tolerance`` is as `bench.compute.rounds.difference` measures."""

    name: str
    input: str
    entries: tuple[Entry, ...]
    rounds: int
    tolerance: float
    reference: str
    known: Answer | None = None
    ratios: tuple[Ratio, ...] = ()
    solves: int = 1  # in one call
    warm_ups: int = 2  # rounds that are not timed


@dataclass(frozen=True, slots=True)
class Setting:
    """What cases are made from: the house to plan, and a folder for their input files."""

    house: House
    folder: Path


Maker = Callable[[Setting], Case]
"""Makes the case and writes its input files. Raises Missing where it cannot."""


def dispatch(slots: int, rounds: int) -> Maker:
    def make(setting: Setting) -> Case:
        name = f"dispatch_{slots}"
        files = write_dispatch(setting.folder, name, setting.house.dispatch(slots))
        ours, json = str(files["msgpack"]), str(files["json"])
        optimum = setting.house.optimum(slots)
        calls = max(3, 960 // slots)
        highs = (f"{name}_highs", f"{name}_highs_no_presolve")
        return Case(
            name=name,
            input=f"{setting.house.words}, {slots} slots",
            entries=(
                Entry("gridpact", "julia", "dispatch", ours, calls),
                Entry("gridpact_python", "python", "dispatch", ours, calls),
                Entry("highs", "highs", "dispatch", json, calls),
                Entry("highs_no_presolve", "highs", "dispatch_no_presolve", json, calls),
                Entry("pypsa", "pypsa", "dispatch", json, every=5),
            ),
            rounds=rounds,
            tolerance=1e-6,
            reference="highs",
            known=None if optimum is None else {"cost": optimum},
            ratios=(
                Ratio(f"{name}_vs_highs", f"{name}_gridpact", highs),
                Ratio(f"{name}_vs_highs_default", f"{name}_gridpact", highs[:1]),
                Ratio(f"{name}_task_vs_highs", f"{name}_gridpact_task", highs),
                Ratio(f"{name}_python_task_vs_highs", f"{name}_gridpact_python_task", highs),
                Ratio(f"{name}_task_vs_pypsa", f"{name}_gridpact_task", (f"{name}_pypsa",)),
            ),
        )

    return make


def mpc_step(slots: int, rounds: int) -> Maker:
    def make(setting: Setting) -> Case:
        name, step_count = f"mpc_step_{slots}", 10
        files = write_steps(setting.folder, setting.house.dispatch(672), slots, 240)
        ours, json = str(files["msgpack"]), str(files["json"])
        warm = (f"{name}_highs_warm",)

        def entry(who: str, side: str, lane: str, source: str) -> Entry:
            return Entry(who, side, lane, source, step_count, differing=True)

        return Case(
            name=name,
            input=f"{setting.house.words}, rolling horizon of {slots} slots, measured with errors",
            entries=(
                entry("gridpact", "julia", "mpc_step", ours),
                entry("gridpact_python", "python", "mpc_step", ours),
                entry("highs_warm", "highs", "mpc_step_warm", json),
                entry("highs_cold", "highs", "mpc_step_cold", json),
            ),
            rounds=rounds,
            tolerance=1e-6,
            reference="highs_cold",
            ratios=(
                Ratio(f"{name}_vs_highs_warm", f"{name}_gridpact", warm),
                Ratio(f"{name}_task_vs_highs_warm", f"{name}_gridpact_task", warm),
                Ratio(f"{name}_vs_highs_cold", f"{name}_gridpact", (f"{name}_highs_cold",)),
            ),
        )

    return make


def power_flow(buses: int, net: str, rounds: int, calls: int) -> Maker:
    def make(setting: Setting) -> Case:
        name = f"power_flow_{buses}"
        ours = str(write_power_flow(setting.folder, net))
        gridpact, lightsim, pandapower = (
            f"{name}_{who}" for who in ("gridpact", "lightsim2grid", "pandapower")
        )
        return Case(
            name=name,
            input=f"pandapower.networks.{net}, flat start, 1e-8 p.u.",
            entries=(
                Entry("gridpact", "julia", "power_flow", ours, calls),
                Entry("gridpact_python", "python", "power_flow", ours, every=5),
                Entry("lightsim2grid", "lightsim2grid", "power_flow", net, calls),
                Entry("pandapower", "pandapower", "power_flow", net, calls=2),
                Entry(
                    "pandapower_with_lightsim2grid",
                    "pandapower",
                    "power_flow_lightsim2grid",
                    net,
                    every=3,
                ),
            ),
            rounds=rounds,
            tolerance=1e-8,
            reference="pandapower",
            ratios=(
                Ratio(f"{name}_vs_lightsim2grid", f"{gridpact}_solve", (lightsim,)),
                Ratio(
                    f"{name}_repeat_vs_lightsim2grid", f"{gridpact}_repeat", (f"{lightsim}_repeat",)
                ),
                Ratio(f"{name}_vs_pandapower", f"{gridpact}_solve", (pandapower,)),
                Ratio(f"{name}_solve_vs_pandapower", f"{gridpact}_solve", (f"{pandapower}_solve",)),
                Ratio(f"{name}_result_vs_pandapower", gridpact, (pandapower,)),
                Ratio(
                    f"{name}_result_vs_pandapower_with_lightsim2grid",
                    gridpact,
                    (f"{pandapower}_with_lightsim2grid",),
                ),
                Ratio(f"{name}_task_vs_pandapower", f"{gridpact}_task", (pandapower,)),
            ),
        )

    return make


def power_flow_year(setting: Setting) -> Case:
    name, net = "power_flow_year_118", "case118"
    files = write_power_flow_year(setting.folder, net)
    gridpact, lightsim = f"{name}_gridpact", f"{name}_lightsim2grid"
    return Case(
        name=name,
        input=f"pandapower.networks.{net}, {SLOTS_A_YEAR} quarter hours of seeded factors",
        entries=(
            Entry("gridpact", "julia", "power_flow_year", str(files["msgpack"])),
            Entry("lightsim2grid", "lightsim2grid", "power_flow_year", f"{net} {files['npz']}"),
        ),
        rounds=5,
        tolerance=1e-8,
        reference="lightsim2grid",
        ratios=(
            Ratio(f"{name}_vs_lightsim2grid", gridpact, (lightsim,)),
            Ratio(f"{name}_solve_vs_lightsim2grid", f"{gridpact}_solve", (f"{lightsim}_solve",)),
        ),
        solves=SLOTS_A_YEAR,
    )


def unit_commitment(setting: Setting) -> Case:
    name = "unit_commitment_rts_gmlc"
    source = str(write_unit_commitment(setting.folder))
    return Case(
        name=name,
        input="PGLib-UC RTS-GMLC 2020-01-27, until the gap is 0.5 %, at most 240 s",
        entries=(
            Entry("gridpact", "julia", "unit_commitment", source),
            Entry("gridpact_python", "python", "unit_commitment", source),
        ),
        rounds=1,
        tolerance=0.005,
        reference="",
        known={"cost": 1_227_027.0},
        warm_ups=0,
    )


DEFAULT: dict[str, Maker] = {
    "dispatch_96": dispatch(96, rounds=25),
    "dispatch_672": dispatch(672, rounds=25),
    "mpc_step_96": mpc_step(96, rounds=25),
    "power_flow_118": power_flow(118, "case118", rounds=15, calls=20),
    "power_flow_1354": power_flow(1354, "case1354pegase", rounds=15, calls=5),
    "power_flow_2869": power_flow(2869, "case2869pegase", rounds=15, calls=4),
    "power_flow_year_118": power_flow_year,
}

OPTIONAL: dict[str, Maker] = {
    "power_flow_9241": power_flow(9241, "case9241pegase", rounds=6, calls=2),
    "unit_commitment_rts_gmlc": unit_commitment,
}


def chosen(words: str) -> Iterator[tuple[str, Maker]]:
    """The cases named, separated by commas or blanks; ``default`` and ``all`` name several."""
    known = {**DEFAULT, **OPTIONAL}
    for word in words.replace(",", " ").split():
        if word in ("default", "all"):
            yield from (DEFAULT if word == "default" else known).items()
        elif word in known:
            yield word, known[word]
        else:
            raise KeyError(f"no case {word}; there are {', '.join(known)}")
