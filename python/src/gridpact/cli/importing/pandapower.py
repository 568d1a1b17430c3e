"""pandapower networks, in the JSON form of `pandapower.to_json`, as `power-flow` submissions.

Elements become what `pandapower.runpp` makes of them with `calculate_voltage_angles=True` and its
other defaults: T models of transformers, closed bus-bus switches that make one bus of two, lines
and transformers that hang on an open switch by their other end. What cannot be expressed is
refused by the name of the element. Formulas: pandapower's documentation, "Datastructure and
Elements" (https://pandapower.readthedocs.io).
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from gridpact.cli.importing.error import ImportFileError
from gridpact.cli.importing.network import Draft
from gridpact.cli.words import no_json

ELEMENTS = {
    *("bus", "line", "trafo", "trafo3w", "impedance", "switch", "dcline"),
    *("ext_grid", "gen", "sgen", "asymmetric_sgen"),
    *("load", "asymmetric_load", "motor", "storage", "shunt", "ward", "xward"),
}
"""What is understood; an element of another kind is refused if it is in service."""

PLACES = ("bus", "from_bus", "hv_bus", "bus_dc", "from_bus_dc", "bus_plus")
"""A table with one of these columns holds elements of the network."""

SWITCH_R_BY_X = 2.0
"""What runpp takes for the impedance of a bus-bus switch (`switch_rx_ratio`)."""

MOST_REACTIVE_MVAR = 1e6
MOST_CURRENT_KA = 9999.0
"""Limits beyond these are none."""

MOST_VOLTAGE_PU = 2.0
ANY_VOLTAGE = {"min_voltage_pu": 0.0, "max_voltage_pu": MOST_VOLTAGE_PU}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table of elements."""

    table: str
    index: int
    values: Mapping[str, Any]

    @property
    def source(self) -> str:
        name = self.values.get("name")
        shown = f" ({name})" if isinstance(name, str) and name else ""
        return f"{self.table} {self.index}{shown}"

    @property
    def name(self) -> str:
        return f"{self.table} {self.index}"

    @property
    def given(self) -> set[str]:
        """The columns in which it has a value."""
        return {column for column, value in self.values.items() if value is not None}

    def number(self, column: str, default: float | None = None) -> float:
        """A finite number; ``default`` where the column or the value is absent."""
        value = self.values.get(column)
        if value is None and default is not None:
            return default
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise self.wrong(column, f"must be a finite number; it is {_shown(value)}")
        return float(value)

    def positive(self, column: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self.number(column, default)
        if value <= 0:
            raise self.wrong(column, f"must be greater than 0; it is {value:g}")
        return value

    def limit(self, column: str, most: float) -> float | None:
        """A number that is no limit when absent, infinite or larger than ``most``."""
        value = self.values.get(column)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most:
            return float(value)
        return None

    def flag(self, column: str, *, default: bool) -> bool:
        value = self.values.get(column)
        return default if value is None else bool(value)

    def whole(self, column: str) -> int:
        return int(self.number(column))

    def text(self, column: str) -> str | None:
        value = self.values.get(column)
        return value if isinstance(value, str) and value else None

    @property
    def in_service(self) -> bool:
        return self.flag("in_service", default=True)

    def wrong(self, column: str, words: str) -> ImportFileError:
        return ImportFileError(f"{self.source}: {column} {words}")


def submission_of(text: bytes) -> tuple[dict[str, Any], list[str]]:
    """The submission that computes a network, and notes on what was read freely.

    Raises ImportFileError, which names element, column and rule.
    """
    return Import(members_of(text)).submission()


class Import:
    """One file on its way to a submission."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._tables = {
            name: list(_rows(name, member))
            for name, member in members.items()
            if _is_table(member) and not name.startswith(("res_", "_"))
        }
        self._base_mva = _setting(members, "sn_mva", 1.0)
        self._frequency_hz = _setting(members, "f_hz", 50.0)
        self._label = members.get("name")
        self._draft = Draft(self._base_mva, self._frequency_hz)
        self._one_of: dict[int, int] = {}  # bus index to the index of the bus that stands for it
        self._names: dict[int, str] = {}  # of the buses that stand for one or more
        self._nominal_kv: dict[str, float] = {}
        self._open: set[tuple[str, int, int]] = set()  # kind of switch, element, bus

    def submission(self) -> tuple[dict[str, Any], list[str]]:
        self._refuse_what_is_not_understood()
        self._add_buses()
        for switch in self._rows("switch"):
            if not switch.flag("closed", default=True):
                kind = switch.text("et") or "b"
                self._open.add((kind, switch.whole("element"), switch.whole("bus")))
        self._add_switches()
        self._add_lines()
        self._add_transformers()
        self._add_three_winding_transformers()
        self._add_impedances()
        self._add_sources()
        self._add_loads()
        self._add_shunts_and_wards()
        label = self._label if isinstance(self._label, str) else ""
        # What no source reaches is dead in pandapower too.
        submission = self._draft.submission(label=label, options={"islands": "DE_ENERGISE"})
        return submission, self._draft.notes

    def bus_names(self) -> dict[int, str | None]:
        """What each bus of the file is called in the submission; None where it is not in it."""
        standing = {row.index: self._standing_for(row.index) for row in self._rows("bus")}
        return {
            index: None if other is None else self._names[other]
            for index, other in standing.items()
        }

    def _rows(self, table: str) -> Sequence[Row]:
        return self._tables.get(table, ())

    def _refuse_what_is_not_understood(self) -> None:
        if not self._rows("bus"):
            raise ImportFileError("bus: the network has no bus")
        for table, rows in self._tables.items():
            for row in rows:
                is_element = "in_service" in row.values and any(at in row.values for at in PLACES)
                if table not in ELEMENTS and is_element and row.in_service:
                    raise ImportFileError(
                        f"{row.source}: {table} is not supported; take it out of service, "
                        "or replace it by loads and generators"
                    )
        running = [row for row in self._rows("controller") if row.in_service]
        if running:
            self._draft.notes.append(
                f"{len(running)} controllers do not act; taps and set-points are as in the file"
            )

    # -------------------------------------------------------------------------- buses, switches

    def _add_buses(self) -> None:
        buses = {row.index: row for row in self._rows("bus") if row.in_service}
        self._one_of = {index: index for index in buses}
        for switch in self._rows("switch"):
            if _joins(switch) and switch.number("z_ohm", 0.0) <= 0:
                one, other = (self._standing_for(switch.whole(end)) for end in ("bus", "element"))
                if one is not None and other is not None:
                    self._one_of[max(one, other)] = min(one, other)
        groups: dict[int, list[Row]] = {}
        for index, row in buses.items():
            groups.setdefault(cast("int", self._standing_for(index)), []).append(row)
        for index, rows in groups.items():
            row = buses[index]
            lowest = [each.number("min_vm_pu", 0.0) for each in rows if "min_vm_pu" in each.given]
            highest = [each.number("max_vm_pu", 0.0) for each in rows if "max_vm_pu" in each.given]
            name = self._draft.add(
                "buses",
                row.source,
                row.name,
                row.text("name"),
                nominal_voltage_kv=row.positive("vn_kv"),
                min_voltage_pu=max(0.0, *lowest) if lowest else None,
                max_voltage_pu=min(MOST_VOLTAGE_PU, *highest) if highest else None,
            )
            self._names[index] = name
            self._nominal_kv[name] = row.positive("vn_kv")
        if joined := len(buses) - len(groups):
            words = f"{joined} buses are one with another by closed switches, named as the first"
            self._draft.notes.append(words)

    def _standing_for(self, index: int) -> int | None:
        """The bus that this one is one with; None for a bus that is out of service."""
        if index not in self._one_of:
            if all(row.index != index for row in self._rows("bus")):
                raise ImportFileError(f"bus {index} is named by an element, but does not exist")
            return None
        while self._one_of[index] != index:
            index = self._one_of[index]
        return index

    def _bus(self, row: Row, column: str = "bus") -> str | None:
        """The name of the bus that an element is at; None where it is out of service."""
        standing = self._standing_for(row.whole(column))
        return None if standing is None else self._names[standing]

    def _kv(self, row: Row, column: str) -> float:
        """The nominal voltage of a bus, in service or not."""
        bus = self._bus(row, column)
        if bus is not None:
            return self._nominal_kv[bus]
        index = row.whole(column)
        return next(each for each in self._rows("bus") if each.index == index).positive("vn_kv")

    def _is_open(self, row: Row, column: str, kind: str) -> bool:
        return (kind, row.index, row.whole(column)) in self._open

    def _add_bus(self, row: Row, name: str, nominal_kv: float) -> str:
        """A bus that the file does not have, and nobody wants to be told of."""
        added = self._draft.add(
            "buses", row.source, f"{row.name} {name}", nominal_voltage_kv=nominal_kv, **ANY_VOLTAGE
        )
        self._nominal_kv[added] = nominal_kv
        return added

    def _ohm_of_1_pu(self, nominal_kv: float) -> float:
        return nominal_kv**2 / self._base_mva

    def _add_switches(self) -> None:
        for switch in self._rows("switch"):
            ohm = switch.number("z_ohm", 0.0)
            if not _joins(switch) or ohm <= 0:
                continue
            ends = self._bus(switch), self._bus(switch, "element")
            if ends[0] is not None and ends[1] is not None:
                angle = complex(SWITCH_R_BY_X, 1.0)
                impedance = ohm / self._ohm_of_1_pu(self._nominal_kv[ends[0]]) * angle / abs(angle)
                self._add_branch(switch, "", (ends[0], ends[1]), "LINE", Pi(impedance))

    # -------------------------------------------------------------------------- branches

    def _add_branch(
        self, row: Row, name: str, ends: tuple[str, str], kind: str, pi: Pi, **members: Any
    ) -> None:
        if ends[0] == ends[1]:
            self._add_shorted(row, name, ends[0], pi, members)
            return
        extra = pi.from_shunt - pi.to_shunt
        self._draft.add(
            "branches",
            row.source,
            f"{row.name} {name}".strip(),
            None if name else row.text("name"),
            kind=kind,
            from_bus=ends[0],
            to_bus=ends[1],
            resistance_pu=pi.impedance.real,
            reactance_pu=pi.impedance.imag,
            charging_conductance_pu=2 * pi.to_shunt.real or None,
            charging_susceptance_pu=2 * pi.to_shunt.imag or None,
            from_conductance_pu=extra.real or None,
            from_susceptance_pu=extra.imag or None,
            tap_ratio=pi.tap_ratio,
            phase_shift_deg=pi.phase_shift_deg or None,
            **members,
        )

    def _add_shorted(
        self, row: Row, name: str, bus: str, pi: Pi, members: Mapping[str, Any]
    ) -> None:
        """A branch whose ends closed switches have made one bus: only its shunts are left."""
        if pi.tap_ratio != 1.0 or pi.phase_shift_deg:
            raise row.wrong("in_service", "must be false: closed switches short it")
        shunt = (pi.from_shunt + pi.to_shunt) * self._base_mva
        self._draft.notes.append(f"{row.source} is shorted by closed switches; its shunts remain")
        if shunt:
            self._draft.add(
                "shunts",
                row.source,
                f"{row.name} {name}".strip(),
                bus=bus,
                conductance_mw=shunt.real,
                susceptance_mvar=shunt.imag,
            )

    def _add_lines(self) -> None:
        for row in self._rows("line"):
            columns = ("from_bus", "to_bus")
            # A line to a bus that is out of service is open there.
            buses = [
                None if self._is_open(row, column, "l") else self._bus(row, column)
                for column in columns
            ]
            if not row.in_service or buses == [None, None]:
                continue
            kv = self._kv(row, "from_bus")
            ends = [
                bus or self._add_bus(row, "open end", self._kv(row, column))
                for bus, column in zip(buses, columns, strict=True)
            ]
            length, parallel = row.number("length_km"), row.positive("parallel", 1.0)
            ohm = (
                complex(row.number("r_ohm_per_km"), row.number("x_ohm_per_km")) * length / parallel
            )
            farad = row.number("c_nf_per_km") * 1e-9 * length * parallel
            siemens = row.number("g_us_per_km", 0.0) * 1e-6 * length * parallel
            shunt = complex(siemens, 2 * math.pi * self._frequency_hz * farad)
            base = self._ohm_of_1_pu(kv)
            limit = row.limit("max_i_ka", MOST_CURRENT_KA)
            self._add_branch(
                row,
                "",
                (ends[0], ends[1]),
                "LINE",
                Pi(ohm / base, shunt * base / 2, shunt * base / 2),
                max_current_ka=limit * row.number("df", 1.0) * parallel if limit else None,
            )

    def _add_impedances(self) -> None:
        for row in self._rows("impedance"):
            ends = self._bus(row, "from_bus"), self._bus(row, "to_bus")
            if not row.in_service or ends[0] is None or ends[1] is None:
                continue
            for column, other in (("rtf_pu", "rft_pu"), ("xtf_pu", "xft_pu")):
                if row.number(column) != row.number(other):
                    words = f"must be that of {other}: a branch has one impedance both ways"
                    raise row.wrong(column, words)
            per_base = self._base_mva / row.positive("sn_mva")
            at_from = complex(row.number("gf_pu", 0.0), row.number("bf_pu", 0.0))
            at_to = complex(row.number("gt_pu", 0.0), row.number("bt_pu", 0.0))
            impedance = complex(row.number("rft_pu"), row.number("xft_pu")) * per_base
            pi = Pi(impedance, at_from / per_base, at_to / per_base)
            self._add_branch(row, "", (ends[0], ends[1]), "LINE", pi)

    def _add_transformers(self) -> None:
        for row in self._rows("trafo"):
            ends = self._transformer_ends(row, "t", ("hv_bus", "lv_bus"))
            if not row.in_service or ends is None:
                continue
            winding = Winding(
                rated_mva=row.positive("sn_mva"),
                hv_kv=row.positive("vn_hv_kv"),
                lv_kv=row.positive("vn_lv_kv"),
                short_circuit_percent=row.number("vk_percent"),
                short_circuit_r_percent=row.number("vkr_percent"),
                no_load_mw=row.number("pfe_kw") / 1000,
                no_load_percent=row.number("i0_percent"),
                shift_deg=row.number("shift_degree", 0.0),
                parallel=row.positive("parallel", 1.0),
                leakage_r_at_hv=row.number("leakage_resistance_ratio_hv", 0.5),
                leakage_x_at_hv=row.number("leakage_reactance_ratio_hv", 0.5),
            )
            for suffix in ("", "2"):
                if (tap := _tap_of(row, suffix)) is not None:
                    winding = winding.tapped(tap)
            self._add_winding(row, "", ends, winding, row.number("df", 1.0))

    def _add_winding(
        self, row: Row, name: str, ends: tuple[str, str], winding: Winding, derating: float
    ) -> None:
        pi = winding.pi(self._nominal_kv[ends[0]], self._nominal_kv[ends[1]], self._base_mva)
        limit = winding.rated_mva * winding.parallel * derating
        self._add_branch(row, name, ends, "TRANSFORMER", pi, max_apparent_power_mva=limit)

    def _transformer_ends(
        self, row: Row, kind: str, columns: tuple[str, str]
    ) -> tuple[str, str] | None:
        """The buses of a transformer; None where it hangs on no bus in service."""
        buses = [
            self._open_bus(row, column)
            if self._is_open(row, column, kind)
            else self._bus(row, column)
            for column in columns
        ]
        return None if buses[0] is None or buses[1] is None else (buses[0], buses[1])

    def _open_bus(self, row: Row, column: str) -> str:
        return self._add_bus(row, "open end", self._kv(row, column))

    def _add_three_winding_transformers(self) -> None:
        """Three of two windings each, from hv to a star point and from there to mv and lv."""
        for row in self._rows("trafo3w"):
            if not row.in_service:
                continue
            star = self._add_bus(row, "star point", self._kv(row, "hv_bus"))
            for side, winding in _windings_of(row).items():
                column = f"{side}_bus"
                outer = (
                    self._open_bus(row, column)
                    if self._is_open(row, column, "t3")
                    else self._bus(row, column)
                )
                if outer is not None:
                    ends = (outer, star) if side == "hv" else (star, outer)
                    self._add_winding(row, side, ends, winding, 1.0)

    # -------------------------------------------------------------------------- at a bus

    def _at_buses(self, *tables: str) -> Iterator[tuple[Row, str]]:
        """The elements in service of these tables that are at a bus in service, with its name."""
        for table in tables:
            for row in self._rows(table):
                bus = self._bus(row)
                if row.in_service and bus is not None:
                    yield row, bus

    def _add_sources(self) -> None:
        for row, bus in self._at_buses("ext_grid"):
            self._add_generator(
                row,
                bus,
                "SLACK",
                voltage_setpoint_pu=row.number("vm_pu"),
                voltage_angle_deg=row.number("va_degree", 0.0),
                **_reactive_limits(row),
            )
        for row, bus in self._at_buses("gen"):
            self._add_generator(
                row,
                bus,
                "SLACK" if row.flag("slack", default=False) else "PV",
                active_power_mw=row.number("p_mw") * row.number("scaling", 1.0),
                voltage_setpoint_pu=row.number("vm_pu"),
                **_reactive_limits(row),
            )
        for row, bus in self._at_buses("sgen"):
            power = complex(row.number("p_mw"), row.number("q_mvar", 0.0))
            self._add_fixed_source(row, bus, power * row.number("scaling", 1.0))
        for row, bus in self._at_buses("asymmetric_sgen"):
            self._add_fixed_source(row, bus, _sum_of_phases(row))
        for row in self._rows("dcline"):
            self._add_dc_line(row)

    def _add_generator(self, row: Row, bus: str, role: str, **members: Any) -> None:
        wanted = row.text("name")
        self._draft.add("generators", row.source, row.name, wanted, bus=bus, role=role, **members)

    def _add_fixed_source(self, row: Row, bus: str, power_mva: complex) -> None:
        power = {"active_power_mw": power_mva.real, "reactive_power_mvar": power_mva.imag}
        self._add_generator(row, bus, "PQ", **power)

    def _add_dc_line(self, row: Row) -> None:
        """Two generators: one takes power, the other feeds it in less the losses."""
        if not row.in_service:
            return
        sent = abs(row.number("p_mw"))
        arriving = sent * (1 - row.number("loss_percent", 0.0) / 100) - row.number("loss_mw", 0.0)
        forward = row.number("p_mw") > 0
        for end, power in (
            ("from", -sent if forward else arriving),
            ("to", arriving if forward else -sent),
        ):
            bus = self._bus(row, f"{end}_bus")
            if bus is not None:
                self._draft.add(
                    "generators",
                    row.source,
                    f"{row.name} {end}",
                    bus=bus,
                    role="PV",
                    active_power_mw=power,
                    voltage_setpoint_pu=row.number(f"vm_{end}_pu"),
                    min_reactive_power_mvar=row.limit(f"min_q_{end}_mvar", MOST_REACTIVE_MVAR),
                    max_reactive_power_mvar=row.limit(f"max_q_{end}_mvar", MOST_REACTIVE_MVAR),
                )

    def _add_loads(self) -> None:
        for row, bus in self._at_buses("load"):
            scaling = row.number("scaling", 1.0)
            power = complex(row.number("p_mw"), row.number("q_mvar", 0.0)) * scaling
            of_impedance = _impedance_part(row, power)
            self._add_load(row, bus, power - of_impedance)
            self._add_shunt(row, bus, of_impedance)
        for row, bus in self._at_buses("storage"):
            power = complex(row.number("p_mw"), row.number("q_mvar", 0.0))
            self._add_load(row, bus, power * row.number("scaling", 1.0))
        for row, bus in self._at_buses("asymmetric_load"):
            self._add_load(row, bus, _sum_of_phases(row))
        for row, bus in self._at_buses("motor"):
            share = row.number("loading_percent", 100.0) / 100 * row.number("scaling", 1.0)
            active = row.number("pn_mech_mw") / row.positive("efficiency_percent") * 100 * share
            cos_phi = row.positive("cos_phi")
            if cos_phi > 1:
                raise row.wrong("cos_phi", f"must be at most 1; it is {cos_phi:g}")
            reactive = active * math.tan(math.acos(cos_phi))
            self._add_load(row, bus, complex(active, reactive))

    def _add_load(self, row: Row, bus: str, power_mva: complex) -> None:
        if power_mva:
            self._draft.add(
                "loads",
                row.source,
                row.name,
                row.text("name"),
                bus=bus,
                active_power_mw=power_mva.real,
                reactive_power_mvar=power_mva.imag,
            )

    def _add_shunt(self, row: Row, bus: str, power_mva: complex) -> None:
        """What takes this power at 1 p.u."""
        if power_mva:
            self._draft.add(
                "shunts",
                row.source,
                row.name,
                row.text("name"),
                bus=bus,
                conductance_mw=power_mva.real,
                susceptance_mvar=-power_mva.imag,
            )

    def _add_shunts_and_wards(self) -> None:
        for row, bus in self._at_buses("shunt"):
            if row.flag("step_dependency_table", default=False):
                raise row.wrong("step_dependency_table", "must be false: it is not supported")
            kv = self._nominal_kv[bus]
            steps = row.number("step", 1.0) * (kv / row.positive("vn_kv", kv)) ** 2
            self._add_shunt(
                row, bus, complex(row.number("p_mw", 0.0), row.number("q_mvar")) * steps
            )
        for row, bus in self._at_buses("ward", "xward"):
            self._add_load(row, bus, complex(row.number("ps_mw"), row.number("qs_mvar")))
            self._add_shunt(row, bus, complex(row.number("pz_mw"), row.number("qz_mvar")))
            if row.table == "xward":
                kv = self._nominal_kv[bus]
                inner = self._add_bus(row, "inner bus", kv)
                ohm = complex(row.number("r_ohm"), row.number("x_ohm"))
                self._add_branch(row, "", (bus, inner), "LINE", Pi(ohm / self._ohm_of_1_pu(kv)))
                setpoint = row.number("vm_pu")
                self._add_generator(row, inner, "PV", voltage_setpoint_pu=setpoint)


# ------------------------------------------------------------------------------ transformers


@dataclass(frozen=True, slots=True)
class Pi:
    """A branch in per unit: series impedance between two shunts, behind an ideal transformer."""

    impedance: complex
    from_shunt: complex = 0j
    to_shunt: complex = 0j
    tap_ratio: float = 1.0
    phase_shift_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class Tap:
    """How a tap changer alters a winding: by what its rated voltage is multiplied, as a phasor."""

    side: str
    ratio: complex


@dataclass(frozen=True, slots=True)
class Winding:
    """A transformer of two windings with its rated values; those of one where several are parallel.

    The no-load values are on ``rated_mva``; ``leakage_*_at_hv`` is the part of the short-circuit
    impedance that lies before the magnetising branch.
    """

    rated_mva: float
    hv_kv: float
    lv_kv: float
    short_circuit_percent: float
    short_circuit_r_percent: float
    no_load_mw: float
    no_load_percent: float
    shift_deg: float = 0.0
    parallel: float = 1.0
    leakage_r_at_hv: float = 0.5
    leakage_x_at_hv: float = 0.5

    def tapped(self, tap: Tap) -> Winding:
        """With the tap changer where it is."""
        turn = math.degrees(cmath.phase(tap.ratio))
        if tap.side == "hv":
            hv_kv = self.hv_kv * abs(tap.ratio)
            return replace(self, hv_kv=hv_kv, shift_deg=self.shift_deg + turn)
        lv_kv = self.lv_kv * abs(tap.ratio)
        return replace(self, lv_kv=lv_kv, shift_deg=self.shift_deg - turn)

    def pi(self, hv_bus_kv: float, lv_bus_kv: float, base_mva: float) -> Pi:
        """The T model, made a pi model, in per unit of the two buses."""
        ohm_of_1_pu = lv_bus_kv**2 / base_mva
        size = self.short_circuit_percent / 100 * self.lv_kv**2 / self.rated_mva
        resistance = self.short_circuit_r_percent / 100 * self.lv_kv**2 / self.rated_mva
        reactance = math.copysign(math.sqrt(max(0.0, size**2 - resistance**2)), size)
        leakage = complex(resistance, reactance) / ohm_of_1_pu / self.parallel
        at_hv = complex(leakage.real * self.leakage_r_at_hv, leakage.imag * self.leakage_x_at_hv)
        at_lv = leakage - at_hv
        apparent_mva = self.no_load_percent / 100 * self.rated_mva
        reactive_mvar = math.sqrt(max(0.0, apparent_mva**2 - self.no_load_mw**2))
        siemens = complex(self.no_load_mw, -reactive_mvar) / self.lv_kv**2
        magnetising = siemens * ohm_of_1_pu * self.parallel
        series = at_hv + at_lv + at_hv * at_lv * magnetising
        return Pi(
            series,
            from_shunt=at_lv * magnetising / series if series else 0j,
            to_shunt=at_hv * magnetising / series if series else 0j,
            tap_ratio=self.hv_kv / self.lv_kv * lv_bus_kv / hv_bus_kv,
            phase_shift_deg=self.shift_deg,
        )


def _tap_of(row: Row, suffix: str = "") -> Tap | None:
    """What a tap changer does; None where there is none, or it stands at its neutral position."""
    if row.flag(f"tap{suffix}_dependency_table", default=False) or row.flag(
        "tap_dependent_impedance", default=False
    ):
        raise row.wrong(f"tap{suffix}_dependency_table", "must be false: it is not supported")
    changer, side = row.text(f"tap{suffix}_changer_type"), row.text(f"tap{suffix}_side")
    if f"tap{suffix}_changer_type" not in row.values:
        # pandapower before 3.0: a changer is one of ratio unless it is an ideal phase shifter.
        shifter = row.values.get(f"tap{suffix}_phase_shifter")
        changer = None if shifter is None else "Ideal" if shifter else "Ratio"
    if changer is None or side is None or row.values.get(f"tap{suffix}_pos") is None:
        return None
    steps = row.number(f"tap{suffix}_pos") - row.number(f"tap{suffix}_neutral")
    percent = row.number(f"tap{suffix}_step_percent", 0.0)
    degree = row.number(f"tap{suffix}_step_degree", 0.0)
    if side not in ("hv", "mv", "lv"):
        raise row.wrong(f"tap{suffix}_side", f"must be hv, mv or lv; it is {side}")
    if changer in ("Ratio", "Symmetrical"):
        return Tap(side, 1 + steps * percent / 100 * cmath.exp(1j * math.radians(degree)))
    if changer != "Ideal":
        raise row.wrong(
            f"tap{suffix}_changer_type", f"must be Ratio, Symmetrical or Ideal; it is {changer}"
        )
    if degree and percent:
        raise row.wrong(f"tap{suffix}_step_percent", "must be 0 beside a tap_step_degree (Ideal)")
    turn = math.radians(steps * degree) if degree else 2 * math.asin(steps * percent / 200)
    return Tap(side, cmath.exp(1j * turn))


def _windings_of(row: Row) -> dict[str, Winding]:
    """The three transformers from hv to the star point and from there to mv and lv."""
    sides = ("hv", "mv", "lv")
    rated = {side: row.positive(f"sn_{side}_mva") for side in sides}
    resistance = _star_of(row, "vkr", rated)
    reactance = _star_of(row, "vk", rated, "vkr")
    loss_side = row.text("loss_side") or "hv"
    if loss_side not in sides:
        raise row.wrong("loss_side", f"must be hv, mv or lv; it is {loss_side}")
    windings = {
        side: Winding(
            rated_mva=rated[side],
            hv_kv=row.positive("vn_hv_kv"),
            lv_kv=row.positive(f"vn_{side}_kv"),
            short_circuit_percent=math.copysign(
                math.hypot(reactance[side], resistance[side]), reactance[side]
            ),
            short_circuit_r_percent=resistance[side],
            no_load_mw=row.number("pfe_kw") / 1000 if side == loss_side else 0.0,
            no_load_percent=row.number("i0_percent") if side == loss_side else 0.0,
            shift_deg=0.0 if side == "hv" else row.number(f"shift_{side}_degree", 0.0),
        )
        for side in sides
    }
    tap = _tap_of(row)
    if tap is not None:
        at_hv = tap.side == "hv"
        if row.flag("tap_at_star_point", default=False):
            # The same change of the ratio, made at the other end of the winding.
            at_hv, ratio = not at_hv, 1 / tap.ratio
        else:
            ratio = tap.ratio
        windings[tap.side] = windings[tap.side].tapped(Tap("hv" if at_hv else "lv", ratio))
    return windings


def _star_of(
    row: Row, quantity: str, rated: Mapping[str, float], less: str | None = None
) -> dict[str, float]:
    """Percent of each winding, on its rating, from the percent between two windings each.

    The file gives them on the smaller rating of the two. With ``less`` the square of that is taken
    off, which leaves the reactance of an impedance.
    """
    pairs = (("hv", "mv"), ("mv", "lv"), ("hv", "lv"))

    def between(first: str, second: str, of: str) -> float:
        column = {("hv", "mv"): "hv", ("mv", "lv"): "mv", ("hv", "lv"): "lv"}[first, second]
        return row.number(f"{of}_{column}_percent") / min(rated[first], rated[second])

    found: dict[tuple[str, str], float] = {}
    for pair in pairs:
        value = between(*pair, quantity)
        found[pair] = math.sqrt(max(0.0, value**2 - between(*pair, less) ** 2)) if less else value
    hv_mv, mv_lv, hv_lv = (found[pair] for pair in pairs)
    return {
        "hv": rated["hv"] * (hv_mv + hv_lv - mv_lv) / 2,
        "mv": rated["mv"] * (hv_mv + mv_lv - hv_lv) / 2,
        "lv": rated["lv"] * (mv_lv + hv_lv - hv_mv) / 2,
    }


# ------------------------------------------------------------------------------ elements


def _joins(switch: Row) -> bool:
    """Whether a switch is closed between two buses."""
    return (switch.text("et") or "b") == "b" and switch.flag("closed", default=True)


def _reactive_limits(row: Row) -> dict[str, float | None]:
    return {
        "min_reactive_power_mvar": row.limit("min_q_mvar", MOST_REACTIVE_MVAR),
        "max_reactive_power_mvar": row.limit("max_q_mvar", MOST_REACTIVE_MVAR),
    }


def _sum_of_phases(row: Row) -> complex:
    active, reactive = (
        sum(row.number(f"{power}_{phase}_{unit}") for phase in "abc")
        for power, unit in (("p", "mw"), ("q", "mvar"))
    )
    return complex(active, reactive) * row.number("scaling", 1.0)


def _impedance_part(row: Row, power_mva: complex) -> complex:
    """What a load takes as a constant impedance; a part of constant current is refused."""
    for column in ("const_i_percent", "const_i_p_percent", "const_i_q_percent"):
        if row.number(column, 0.0):
            raise row.wrong(column, "must be 0: loads of constant current are not supported")
    both = row.number("const_z_percent", 0.0)
    active = row.number("const_z_p_percent", both) / 100
    reactive = row.number("const_z_q_percent", both) / 100
    return complex(power_mva.real * active, power_mva.imag * reactive)


# ------------------------------------------------------------------------------ bytes to tables


def members_of(text: bytes) -> Mapping[str, Any]:
    """The tables and settings of a file."""
    try:
        content = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ImportFileError(no_json("this", error)) from error
    members = content.get("_object") if isinstance(content, dict) else None
    if not isinstance(members, dict) or content.get("_class") != "pandapowerNet":
        raise ImportFileError("this is no network in the form of pandapower.to_json (2.0 or later)")
    return cast("dict[str, Any]", members)


def _setting(members: Mapping[str, Any], name: str, default: float) -> float:
    value = members.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ImportFileError(f"{name} must be a positive number; it is {_shown(value)}")
    return float(value)


def _is_table(member: object) -> bool:
    return isinstance(member, dict) and cast("dict[str, Any]", member).get("_class") == "DataFrame"


def _rows(table: str, member: Mapping[str, Any]) -> Iterator[Row]:
    content: Any = member.get("_object")
    if isinstance(content, str):
        try:
            content = msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise ImportFileError(f"{table}: {no_json('the table', error)}") from error
    try:
        columns, index, data = (content[part] for part in ("columns", "index", "data"))
        for its_index, values in zip(index, data, strict=True):
            # A missing value among texts may be written as a text.
            given = (None if value in ("nan", "None") else value for value in values)
            yield Row(table, int(its_index), dict(zip(columns, given, strict=True)))
    except (KeyError, TypeError, ValueError) as error:
        words = 'the table must have columns, index and data (orient "split") of one length'
        raise ImportFileError(f"{table}: {words}") from error


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)[:40]
