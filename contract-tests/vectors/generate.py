"""Writes the golden vectors: bytes with the verdict that every implementation must give.

    python contract-tests/vectors/generate.py

Written with msgpack-python, which no implementation under test uses to encode. Each
``<Type>.tsv`` has one vector a line: name, verdict (``accept`` or a reason), violations
(``field:rule`` by ``;``), the bytes, and for accepted ones the bytes of the decoded message when
encoded again, ``=`` where they are the same. Bytes are hex, in runs separated by a space;
``00aa*3`` is a run that occurs three times. The files are committed; a change in them is a change
of the wire format.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

HERE = Path(__file__).parent
TASK_ID = "01981f6e-7c00-7000-8000-000000000004"
MALFORMED = "MESSAGE_MALFORMED"
INVALID = "INVALID_ARGUMENT"
YEAR = [0.25] * 35136
QUARTER = struct.pack("<d", 0.25)
LONG_RUN = re.compile(rb"(?P<byte>.)(?P=byte){999,}|(?:%b){999,}" % re.escape(QUARTER), re.DOTALL)
MOST_ITEMS = 65536
MOST_TEXT_BYTES = 8388608


class Vector(NamedTuple):
    """One line of a file; ``again`` is empty where the bytes are refused."""

    name: str
    verdict: str
    violations: str
    data: bytes
    again: bytes = b""


def series(*values: float) -> msgpack.ExtType:
    """A Float64 series as the contract's writers pack it."""
    return msgpack.ExtType(1, struct.pack(f"<{len(values)}d", *values))


def pack(value: Any) -> bytes:
    return msgpack.packb(value)


def accept(name: str, message: dict[str, Any], again: dict[str, Any] | None = None) -> Vector:
    return Vector(name, "accept", "", pack(message), pack(message if again is None else again))


def accept_bytes(name: str, data: bytes, again: dict[str, Any]) -> Vector:
    return Vector(name, "accept", "", data, pack(again))


def refuse(name: str, message: dict[str, Any], *violations: str) -> Vector:
    return Vector(name, INVALID, ";".join(violations), pack(message))


def malformed(name: str, data: bytes) -> Vector:
    return Vector(name, MALFORMED, "", data)


def entries(message: dict[str, Any]) -> bytes:
    """The packed entries of a small map, without its header byte."""
    return pack(message)[1:]


def without(message: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != key}


def malformations(message: dict[str, Any]) -> Iterator[Vector]:
    """What no message may be, whatever its type; ``message`` is a valid one of < 15 members."""
    count = len(message)
    body = entries(message)

    def with_entry(entry: bytes) -> bytes:
        return bytes([0x80 + count + 1]) + body + entry

    name = next(iter(message))
    yield malformed("empty", b"")
    yield malformed("truncated-last-byte", pack(message)[:-1])
    yield malformed("truncated-half", pack(message)[: len(pack(message)) // 2])
    yield malformed("trailing-byte", pack(message) + b"\x00")
    yield malformed("duplicate-key", with_entry(pack(name) + pack(message[name])))
    yield malformed(
        "duplicate-unknown-key", bytes([0x80 + count + 2]) + body + b"\xa1z\x01\xa1z\x01"
    )
    yield malformed("key-not-text", with_entry(b"\x01\x01"))
    yield malformed("invalid-utf8-key", with_entry(b"\xa1\xff\x01"))
    yield malformed("invalid-utf8-value", with_entry(b"\xa1z\xa1\xff"))
    yield malformed("surrogate-utf8", with_entry(b"\xa1z\xa3\xed\xa0\x80"))
    yield malformed("reserved-byte-c1", with_entry(b"\xa1z\xc1"))
    yield malformed("unknown-extension", with_entry(b"\xa1z\xd4\x07\x00"))
    yield malformed("timestamp-extension", with_entry(b"\xa1z\xd6\xff\x00\x00\x00\x00"))
    yield malformed("unknown-key-nan", with_entry(b"\xa1z" + pack(float("nan"))))
    yield malformed("unknown-key-infinity", with_entry(b"\xa1z" + pack(float("-inf"))))
    yield malformed("series-not-multiple-of-8", with_entry(b"\xa1z\xc7\x07\x01" + bytes(7)))
    yield malformed("series-with-nan", with_entry(b"\xa1z" + pack(series(1.0, float("nan")))))
    yield malformed("depth-33", with_entry(b"\xa1z" + b"\x91" * 32 + b"\x01"))
    yield malformed("array-length-lie", with_entry(b"\xa1z\xdd\xff\xff\xff\xff\x01"))
    yield malformed("map-length-lie", with_entry(b"\xa1z\xdf\xff\xff\xff\xff\x01"))
    yield malformed("text-length-lie", with_entry(b"\xa1z\xdb\xff\xff\xff\xff\x01"))
    yield malformed("bin-length-lie", with_entry(b"\xa1z\xc6\xff\xff\xff\xff\x01"))
    yield accept("unknown-key", {**message, "zz_new": [1, {"a": None}]}, message)
    yield accept("unknown-key-non-ascii", {**message, "größe_电": "☀"}, message)
    yield Vector(
        "depth-32", "accept", "", with_entry(b"\xa1z" + b"\x91" * 31 + b"\x01"), pack(message)
    )
    yield Vector("not-a-map", INVALID, ":type", pack([1, 2]))
    wide = b"\xdf" + struct.pack(">I", count) + body
    yield accept_bytes("map32-header", wide, message)


def hello() -> Iterator[Vector]:
    message = {
        "type": "hello",
        "contract_version": 1,
        "bridge_id": "brücke-1 ☀",
        "nonce": "00112233445566778899aabbccddeeff",
    }
    yield accept("valid", message)
    yield from malformations(message)
    # Once, not for every message: these are long.
    more = b"\x85" + entries(message) + b"\xa1z"
    for kind, header, unit, most in (
        ("array", b"\xdd", b"\xc0", MOST_ITEMS),
        ("text", b"\xdb", b"a", MOST_TEXT_BYTES),
    ):
        longest = more + header + struct.pack(">I", most) + unit * most
        yield accept_bytes(f"unknown-key-longest-{kind}", longest, message)
        too_long = more + header + struct.pack(">I", most + 1) + unit * (most + 1)
        yield malformed(f"unknown-key-{kind}-too-long", too_long)
    yield refuse("missing", without(message, "nonce"), "nonce:required")
    yield refuse("nil", {**message, "nonce": None}, "nonce:type")
    yield refuse("pattern", {**message, "nonce": "0" * 31 + "G"}, "nonce:pattern")
    yield refuse("pattern-newline", {**message, "nonce": "0" * 31 + "\n"}, "nonce:pattern")
    yield refuse("future-version", {**message, "contract_version": 2}, "contract_version:maximum")
    yield refuse("bool-for-integer", {**message, "contract_version": True}, "contract_version:type")
    yield refuse("empty-text", {**message, "bridge_id": ""}, "bridge_id:min-length")
    yield accept("longest-text-in-code-points", {**message, "bridge_id": "é" * 128})
    yield refuse("text-too-long", {**message, "bridge_id": "é" * 129}, "bridge_id:max-length")
    yield refuse(
        "two-violations",
        {**message, "bridge_id": "", "nonce": 5},
        "bridge_id:min-length",
        "nonce:type",
    )


def welcome() -> Iterator[Vector]:
    message = {
        "type": "welcome",
        "contract_version": 1,
        "node_id": "node-1",
        "engine": "julia",
        "engine_version": "0.1.0",
        "kinds": ["dispatch", "probe"],
        "capacity": 2,
        "heartbeat_interval_ms": 5000,
        "proof": "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    }
    yield accept("valid", message)
    yield from malformations(message)
    yield accept("kind-of-the-future", {**message, "kinds": ["quantum-dispatch"]})
    yield refuse("engine-unknown", {**message, "engine": "fortran"}, "engine:enum")
    yield refuse("no-kinds", {**message, "kinds": []}, "kinds:min-items")
    yield refuse("kind-not-text", {**message, "kinds": ["probe", 1]}, "kinds[1]:type")
    yield refuse("capacity-zero", {**message, "capacity": 0}, "capacity:minimum")
    yield refuse("capacity-fraction", {**message, "capacity": 1.5}, "capacity:type")
    yield accept("capacity-whole-float", {**message, "capacity": 2.0}, message)


def task() -> Iterator[Vector]:
    message = {
        "type": "task",
        "task_id": TASK_ID,
        "kind": "probe",
        "attempt": 1,
        "fencing_token": 7,
        "remaining_ms": 3600000,
        "encoding": "identity",
        "body": pack({"hold_ms": 10}),
    }
    yield accept("valid", message)
    yield from malformations(message)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    yield accept("with-trace", {**message, "traceparent": trace})
    yield accept("with-affinity", {**message, "affinity_key": "site:0a-B_7."})
    yield refuse("affinity-not-ascii", {**message, "affinity_key": "größe"}, "affinity_key:pattern")
    yield refuse("nil-for-optional", {**message, "traceparent": None}, "traceparent:type")
    yield accept("token-at-limit", {**message, "fencing_token": 2**53 - 1})
    yield refuse("token-above-limit", {**message, "fencing_token": 2**53}, "fencing_token:maximum")
    yield refuse("int64-limit", {**message, "fencing_token": 2**63 - 1}, "fencing_token:maximum")
    yield refuse("uint64-limit", {**message, "fencing_token": 2**64 - 1}, "fencing_token:maximum")
    yield refuse("int64-lowest", {**message, "fencing_token": -(2**63)}, "fencing_token:minimum")
    yield refuse("body-as-text", {**message, "body": "abc"}, "body:type")
    yield accept("empty-body", {**message, "body": b""})
    yield refuse(
        "identifier-upper-case", {**message, "task_id": TASK_ID.upper()}, "task_id:pattern"
    )
    yield refuse("encoding-unknown", {**message, "encoding": "gzip"}, "encoding:enum")


def about_task(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "task_id": TASK_ID, "fencing_token": 7, **more}


def accepted() -> Iterator[Vector]:
    message = about_task("accepted")
    yield accept("valid", message)
    yield from malformations(message)
    yield refuse("missing-token", without(message, "fencing_token"), "fencing_token:required")


def progress() -> Iterator[Vector]:
    message = about_task(
        "progress", fraction=0.5, stage="solve", objective=-12.5, bound=-12.75, relative_gap=0.02
    )
    yield accept("valid", message)
    yield from malformations(message)
    yield accept(
        "without-optional",
        {k: v for k, v in message.items() if k not in ("objective", "bound", "relative_gap")},
    )
    yield accept("whole-number-for-float", {**message, "fraction": 1}, {**message, "fraction": 1.0})
    small = b"\x88" + entries({**message, "fraction": 0}).replace(
        b"\xa8fraction\x00", b"\xa8fraction\xca" + bytes(4)
    )
    yield accept_bytes("float32", small, {**message, "fraction": 0.0})
    yield refuse("fraction-above-one", {**message, "fraction": 1.0000001}, "fraction:maximum")
    yield refuse("fraction-as-text", {**message, "fraction": "0.5"}, "fraction:type")
    yield malformed("fraction-nan", pack({**message, "fraction": float("nan")}))
    yield malformed("objective-infinite", pack({**message, "objective": float("inf")}))
    yield accept("negative-zero", {**message, "objective": -0.0})
    yield accept("smallest-denormal", {**message, "objective": 5e-324})


def result() -> Iterator[Vector]:
    body = pack({"held_ms": 10.2, "padding": ""})
    message = about_task("result", encoding="identity", solve_ms=4.2, body=body)
    yield accept("valid", message)
    yield from malformations(message)
    yield refuse("negative-time", {**message, "solve_ms": -0.1}, "solve_ms:minimum")


def error() -> Iterator[Vector]:
    violation = {"field": "grid", "rule": "feasible", "message": "muss ≥ 4,2 sein"}
    message = about_task(
        "error", reason="INFEASIBLE", message="no plan", retryable=False, violations=[violation]
    )
    yield accept("valid", message)
    yield from malformations(message)
    connection = {
        "type": "error",
        "reason": "PROTOCOL_VIOLATION",
        "message": "",
        "retryable": False,
    }
    yield accept("about-the-connection", connection, {**connection, "violations": []})
    yield accept("reason-of-the-future", {**message, "reason": "NEW_REASON"})
    yield refuse("reason-lower-case", {**message, "reason": "infeasible"}, "reason:pattern")
    yield refuse("retryable-as-number", {**message, "retryable": 0}, "retryable:type")
    yield refuse(
        "violation-incomplete",
        {**message, "violations": [violation, without(violation, "rule")]},
        "violations[1].rule:required",
    )


def cancel() -> Iterator[Vector]:
    message = about_task("cancel")
    yield accept("valid", message)
    yield from malformations(message)


def heartbeat() -> Iterator[Vector]:
    message = {"type": "heartbeat", "sequence": 12, "busy": 1}
    yield accept("valid", message)
    yield from malformations(message)
    yield accept("without-busy", without(message, "busy"))
    wide = b"\x83" + entries(message).replace(
        b"\xa8sequence\x0c", b"\xa8sequence\xd3" + struct.pack(">q", 12)
    )
    yield accept_bytes("integer-in-eight-bytes", wide, message)
    yield refuse("sequence-negative", {**message, "sequence": -1}, "sequence:minimum")


BATTERY = {
    "capacity_kwh": 10.0,
    "min_energy_kwh": 1.0,
    "max_energy_kwh": 9.5,
    "max_charge_power_kw": 5.0,
    "max_discharge_power_kw": 5.0,
    "charge_efficiency": 0.95,
    "discharge_efficiency": 0.95,
    "wear_cost_per_kwh": 0.01,
}


def dispatch_problem() -> dict[str, Any]:
    return {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "slots": 2,
        "currency": "EUR",
        "batteries": [
            {
                "name": "Speicher",
                "battery": BATTERY,
                "initial_energy_kwh": 5.0,
                "final_energy_kwh": 5.0,
            }
        ],
        "pv": [{"name": "屋顶", "curtailable": True, "available_power_kw": series(0.0, 1.5)}],
        "loads": [{"name": "House", "power_kw": series(0.4, 0.5)}],
        "tariff": {
            "import_price_per_kwh": series(0.3, -0.1),
            "export_price_per_kwh": series(0.08, 0.08),
        },
        "grid": {"max_import_power_kw": 30.0, "max_export_power_kw": 20.0},
        "options": {"time_limit_s": 30.0, "relative_gap": 0.0001},
    }


def dispatch_input() -> Iterator[Vector]:
    message = dispatch_problem()

    def battery(**changes: Any) -> dict[str, Any]:
        item = {
            **message["batteries"][0],
            "battery": {**BATTERY, **changes.pop("battery", {})},
            **changes,
        }
        return {**message, "batteries": [item]}

    yield accept("valid", message)
    yield from malformations(message)
    load = message["loads"][0]
    yield accept(
        "series-as-array", {**message, "loads": [{**load, "power_kw": [0.4, 0.5]}]}, message
    )
    binary = struct.pack("<2d", 0.4, 0.5)
    yield accept("series-as-bin", {**message, "loads": [{**load, "power_kw": binary}]}, message)
    whole = {**message, "loads": [{**load, "power_kw": [1, 0]}]}
    yield accept(
        "series-of-whole-numbers",
        whole,
        {**message, "loads": [{**load, "power_kw": series(1.0, 0.0)}]},
    )
    yield refuse(
        "series-empty",
        {**message, "loads": [{**load, "power_kw": series()}]},
        "loads[0].power_kw:min-items",
    )
    yield refuse(
        "series-too-short",
        {**message, "loads": [{**load, "power_kw": series(0.4)}]},
        "loads[0].power_kw:length-equals",
    )
    yield refuse(
        "series-with-text",
        {**message, "loads": [{**load, "power_kw": [0.4, "x"]}]},
        "loads[0].power_kw[1]:type",
    )
    yield refuse(
        "series-with-nil",
        {**message, "loads": [{**load, "power_kw": [None, 0.4]}]},
        "loads[0].power_kw[0]:type",
    )
    yield refuse(
        "series-below-minimum",
        {**message, "loads": [{**load, "power_kw": series(0.4, -1.0)}]},
        "loads[0].power_kw[1]:minimum",
    )
    yield refuse(
        "negative-capacity",
        battery(battery={"capacity_kwh": -10.0}),
        "batteries[0].battery.capacity_kwh:exclusive-minimum",
    )
    yield refuse("no-loads", {**message, "loads": []}, "loads:min-items")
    yield refuse(
        "initial-above-maximum",
        battery(initial_energy_kwh=9.6, final_energy_kwh=9.5),
        "batteries[0].initial_energy_kwh:at-most",
    )
    yield refuse(
        "initial-below-minimum",
        battery(initial_energy_kwh=0.5, final_energy_kwh=1.0),
        "batteries[0].initial_energy_kwh:at-most",
    )
    yield refuse(
        "final-out-of-reach",
        battery(final_energy_kwh=9.0),
        "batteries[0].final_energy_kwh:reachable-energy",
    )
    yield accept("final-just-in-reach", battery(final_energy_kwh=7.375))
    yield refuse(
        "names-not-unique",
        {**message, "pv": [{**message["pv"][0], "name": "House"}]},
        "loads[0].name:unique",
    )
    yield refuse(
        "instant-with-offset",
        {**message, "start_time": "2026-06-01T00:00:00+02:00"},
        "start_time:pattern",
    )
    yield refuse(
        "instant-that-is-none",
        {**message, "start_time": "2026-02-30T00:00:00Z"},
        "start_time:format",
    )
    yield refuse("slot-duration-odd", {**message, "slot_duration_s": 901}, "slot_duration_s:enum")
    yearly = {
        **without(message, "pv"),
        "slots": 35136,
        "loads": [{**load, "power_kw": series(*YEAR)}],
        "tariff": {"import_price_per_kwh": series(*YEAR), "export_price_per_kwh": series(*YEAR)},
    }
    again = {key: ([] if key == "pv" else yearly[key]) for key in message}
    yield accept("longest-series", yearly, again)
    longer = {**message, "slots": 35136, "loads": [{**load, "power_kw": series(*YEAR, 1.0)}]}
    yield refuse(
        "series-too-long",
        longer,
        "loads[0].power_kw:max-items",
    )
    minimal = {key: message[key] for key in message if key not in ("pv", "options")}
    minimal["batteries"] = []
    yield accept(
        "defaults-filled-in",
        minimal,
        {key: {**minimal, "pv": []}[key] for key in message if key != "options"},
    )


def dispatch_result() -> Iterator[Vector]:
    message = {
        "status": "OPTIMAL",
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 2,
        "currency": "EUR",
        "cost": 0.1,
        "baseline_cost": 0.3,
        "baseline_within_grid_limits": True,
        "savings": 0.2,
        "energy_cost": 0.1,
        "wear_cost": 0.0,
        "relative_gap": 0.0,
        "batteries": [
            {
                "name": "Home battery",
                "power_kw": series(1.0, -0.5),
                "energy_kwh": series(1.95, 1.42),
                "marginal_value_per_kwh": series(0.21, 0.21),
                "reasons": ["CHARGE_FROM_GRID", "DISCHARGE_TO_LOAD"],
            }
        ],
        "pv": [{"name": "Roof", "power_kw": series(0.0, -1.0), "curtailed_energy_kwh": 0.0}],
        "grid_power_kw": series(1.0, -0.2),
        "grid_price_per_kwh": series(0.2, 0.08),
    }
    yield accept("valid", message)
    plan = message["batteries"][0]
    yield refuse(
        "reason-unknown",
        {**message, "batteries": [{**plan, "reasons": ["HOLD_FULL", "BECAUSE"]}]},
        "batteries[0].reasons[1]:enum",
    )
    yield refuse(
        "one-reason-short",
        {**message, "batteries": [{**plan, "reasons": ["HOLD_FULL"]}]},
        "batteries[0].reasons:length-equals",
    )
    yield refuse("status-unknown", {**message, "status": "OK"}, "status:enum")
    yield refuse("missing", without(message, "savings"), "savings:required")


def village() -> dict[str, Any]:
    """A network of two buses with every member that may be left out."""
    line = {
        "name": "Line",
        "kind": "LINE",
        "from_bus": "Substation",
        "to_bus": "村",
        "resistance_pu": 0.02,
        "reactance_pu": 0.03,
        "charging_conductance_pu": 0.0,
        "charging_susceptance_pu": 0.001,
        "from_conductance_pu": 0.0,
        "from_susceptance_pu": 0.0,
        "tap_ratio": 1.0,
        "phase_shift_deg": 0.0,
        "max_apparent_power_mva": 9.0,
        "max_current_ka": 0.25,
        "in_service": True,
    }
    limits = {"nominal_voltage_kv": 20.0, "min_voltage_pu": 0.95, "max_voltage_pu": 1.05}
    return {
        "base_power_mva": 10.0,
        "frequency_hz": 60.0,
        "buses": [
            {"name": "Substation", **limits},
            {
                "name": "村",
                **limits,
                "zone": "North",
                "initial_voltage_pu": 1.01,
                "initial_angle_deg": -0.5,
            },
        ],
        "branches": [line],
        "generators": [
            {
                "name": "Grid",
                "bus": "Substation",
                "role": "SLACK",
                "active_power_mw": 0.0,
                "reactive_power_mvar": 0.0,
                "voltage_setpoint_pu": 1.02,
                "voltage_angle_deg": 0.0,
                "min_reactive_power_mvar": -5.0,
                "max_reactive_power_mvar": 5.0,
                "in_service": True,
            }
        ],
        "loads": [
            {
                "name": "Houses",
                "bus": "村",
                "active_power_mw": 4.0,
                "reactive_power_mvar": 1.0,
                "profile": "Household",
                "reactive_profile": "Household",
                "in_service": True,
            }
        ],
        "shunts": [
            {
                "name": "Capacitor",
                "bus": "村",
                "conductance_mw": 0.0,
                "susceptance_mvar": 0.5,
                "in_service": True,
            }
        ],
    }


def power_flow_input() -> Iterator[Vector]:
    network = village()
    message = {
        "network": network,
        "slots": 2,
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "profiles": [{"name": "Household", "unit": "FACTOR", "values": series(0.5, 1.0)}],
        "options": {
            "tolerance_pu": 1e-9,
            "max_iterations": 20,
            "start": "GIVEN",
            "enforce_reactive_limits": True,
            "islands": "DE_ENERGISE",
            "report": "ALL",
        },
    }

    def changed(part: str, **changes: Any) -> dict[str, Any]:
        """The message with other members in the last of the network's ``part``."""
        items = network[part]
        return {
            **message,
            "network": {**network, part: [*items[:-1], {**items[-1], **changes}]},
        }

    def again(part: str) -> dict[str, Any]:
        """The message with the last of the network's ``part`` twice."""
        return {**message, "network": {**network, part: [*network[part], network[part][-1]]}}

    yield accept("valid", message)
    yield from malformations(message)
    few = {
        "base_power_mva": 10.0,
        "buses": [
            {key: bus[key] for key in ("name", "nominal_voltage_kv")} for bus in network["buses"]
        ],
        "branches": [
            {
                key: network["branches"][0][key]
                for key in ("name", "kind", "from_bus", "to_bus", "resistance_pu", "reactance_pu")
            }
        ],
        "generators": [{"name": "Grid", "bus": "Substation", "role": "SLACK"}],
    }
    filled = {
        "base_power_mva": 10.0,
        "frequency_hz": 50.0,
        "buses": [{**bus, "min_voltage_pu": 0.9, "max_voltage_pu": 1.1} for bus in few["buses"]],
        "branches": [
            {
                **few["branches"][0],
                **dict.fromkeys(
                    (
                        "charging_conductance_pu",
                        "charging_susceptance_pu",
                        "from_conductance_pu",
                        "from_susceptance_pu",
                    ),
                    0.0,
                ),
                "tap_ratio": 1.0,
                "phase_shift_deg": 0.0,
                "in_service": True,
            }
        ],
        "generators": [
            {
                **few["generators"][0],
                "active_power_mw": 0.0,
                "reactive_power_mvar": 0.0,
                "voltage_setpoint_pu": 1.0,
                "voltage_angle_deg": 0.0,
                "in_service": True,
            }
        ],
        "loads": [],
        "shunts": [],
    }
    yield accept(
        "defaults-filled-in", {"network": few}, {"network": filled, "slots": 1, "profiles": []}
    )
    for part, place in (
        ("buses", "buses[2]"),
        ("branches", "branches[1]"),
        ("generators", "generators[1]"),
        ("loads", "loads[1]"),
        ("shunts", "shunts[1]"),
    ):
        yield refuse(f"{part}-named-alike", again(part), f"network.{place}.name:unique")
    for part, member in (
        ("branches", "from_bus"),
        ("branches", "to_bus"),
        ("generators", "bus"),
        ("loads", "bus"),
        ("shunts", "bus"),
    ):
        yield refuse(
            f"{part}-{member}-unknown",
            changed(part, **{member: "Nowhere"}),
            f"network.{part}[0].{member}:refers-to",
        )
    yield refuse(
        "no-buses", {**message, "network": {**network, "buses": []}}, "network.buses:min-items"
    )
    yield refuse(
        "no-branches",
        {**message, "network": {**network, "branches": []}},
        "network.branches:min-items",
    )
    yield refuse("no-slack", changed("generators", role="PV"), "network.generators:contains")
    yield refuse(
        "base-zero",
        {**message, "network": {**network, "base_power_mva": 0}},
        "network.base_power_mva:exclusive-minimum",
    )
    yield refuse(
        "branch-from-a-bus-to-itself",
        changed("branches", from_bus="村"),
        "network.branches[0].to_bus:unique",
    )
    yield refuse(
        "branch-without-impedance",
        changed("branches", resistance_pu=0.0, reactance_pu=-1e-9),
        "network.branches[0].resistance_pu:not-all-zero",
    )
    yield accept("series-capacitor", changed("branches", resistance_pu=0.0, reactance_pu=-1.1e-9))
    yield refuse(
        "tap-zero",
        changed("branches", tap_ratio=0.0),
        "network.branches[0].tap_ratio:exclusive-minimum",
    )
    yield refuse(
        "voltage-limits-crossed",
        changed("buses", min_voltage_pu=1.06),
        "network.buses[1].min_voltage_pu:at-most",
    )
    yield refuse(
        "reactive-limits-crossed",
        changed("generators", min_reactive_power_mvar=5.1),
        "network.generators[0].min_reactive_power_mvar:at-most",
    )
    yield refuse(
        "profile-unknown",
        changed("loads", profile="Industry"),
        "network.loads[0].profile:refers-to",
    )
    yield refuse(
        "generator-profile-unknown",
        changed("generators", reactive_profile="Sun"),
        "network.generators[0].reactive_profile:refers-to",
    )
    profile = message["profiles"][0]
    yield refuse(
        "profile-too-short",
        {**message, "profiles": [{**profile, "values": series(0.5)}]},
        "profiles[0].values:length-equals",
    )
    yield refuse(
        "profiles-named-alike",
        {**message, "profiles": [profile, profile]},
        "profiles[1].name:unique",
    )
    yield malformed(
        "profile-with-nan",
        pack({**message, "profiles": [{**profile, "values": series(0.5, float("nan"))}]}),
    )
    yield malformed("resistance-nan", pack(changed("branches", resistance_pu=float("nan"))))
    yield refuse(
        "role-unknown", changed("generators", role="REF"), "network.generators[0].role:enum"
    )
    yield refuse("start-unknown", {**message, "options": {"start": "WARM"}}, "options.start:enum")
    yield refuse(
        "tolerance-zero",
        {**message, "options": {"tolerance_pu": 0}},
        "options.tolerance_pu:minimum",
    )


def power_flow_result() -> Iterator[Vector]:
    one, two = series(0.25), series(1.02, 1.009)
    message = {
        "slots": 1,
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "bus_names": ["Substation", "村"],
        "branch_names": ["Line"],
        "generator_names": ["Grid"],
        "islands": [
            {"energised": True, "slack_generators": ["Grid"], "buses": ["Substation"]},
            {"energised": False, "slack_generators": [], "buses": ["村"]},
        ],
        "by_slot": dict.fromkeys(
            (
                "iterations",
                "losses_mw",
                "slack_power_mw",
                "slack_reactive_power_mvar",
                "lowest_voltage_pu",
                "highest_voltage_pu",
                "highest_loading_percent",
                "violations",
            ),
            one,
        ),
        "extremes": {
            **dict.fromkeys(
                (
                    "lowest_voltage_pu",
                    "lowest_voltage_slot",
                    "highest_voltage_pu",
                    "highest_voltage_slot",
                ),
                two,
            ),
            **dict.fromkeys(("highest_loading_percent", "highest_loading_slot"), one),
        },
        "states": [
            {
                "slot": 0,
                **dict.fromkeys(("voltage_pu", "angle_deg"), two),
                **dict.fromkeys(
                    (
                        "from_active_power_mw",
                        "from_reactive_power_mvar",
                        "to_active_power_mw",
                        "to_reactive_power_mvar",
                        "loading_percent",
                        "generator_active_power_mw",
                        "generator_reactive_power_mvar",
                    ),
                    one,
                ),
            }
        ],
        "voltage_violations": [
            {
                "bus": "村",
                "limit": "MIN",
                "limit_pu": 0.95,
                "worst_voltage_pu": 0.9,
                "worst_slot": 0,
                "first_slot": 0,
                "slot_count": 1,
            }
        ],
        "overloads": [
            {
                "branch": "Line",
                "worst_loading_percent": 120.5,
                "worst_slot": 0,
                "first_slot": 0,
                "slot_count": 1,
            }
        ],
        "reactive_limits": [
            {
                "generator": "Grid",
                "limit": "MAX",
                "limit_mvar": 5.0,
                "worst_reactive_power_mvar": 5.5,
                "worst_slot": 0,
                "first_slot": 0,
                "slot_count": 1,
            }
        ],
        "divergences": [
            {
                "slot": 0,
                "iterations": 30,
                "bus": "村",
                "largest_mismatch_pu": 1e300,
                "convergent_factor": 0.5,
            }
        ],
    }
    yield accept("valid", message)
    yield refuse(
        "column-too-long",
        {**message, "states": [{**message["states"][0], "loading_percent": two}]},
        "states[0].loading_percent:length-equals",
    )
    yield refuse(
        "extreme-too-short",
        {**message, "extremes": {**message["extremes"], "lowest_voltage_pu": one}},
        "extremes.lowest_voltage_pu:length-equals",
    )
    yield refuse(
        "slots-too-many",
        {**message, "by_slot": {**message["by_slot"], "losses_mw": two}},
        "by_slot.losses_mw:length-equals",
    )
    yield refuse("missing", without(message, "islands"), "islands:required")


def probe_input() -> Iterator[Vector]:
    message = {"hold_ms": 10, "result_bytes": 16}
    yield accept("valid", message)
    yield from malformations(message)
    yield accept("defaults-filled-in", {}, {"hold_ms": 0, "result_bytes": 0})
    yield refuse("hold-too-long", {"hold_ms": 600001}, "hold_ms:maximum")


def probe_result() -> Iterator[Vector]:
    message = {"held_ms": 10.2, "padding": "x" * 300}
    yield accept("valid", message)
    yield from malformations(message)


VECTORS = {
    "Hello": hello,
    "Welcome": welcome,
    "TaskMessage": task,
    "Accepted": accepted,
    "Progress": progress,
    "Result": result,
    "Error": error,
    "Cancel": cancel,
    "Heartbeat": heartbeat,
    "DispatchInput": dispatch_input,
    "DispatchResult": dispatch_result,
    "PowerFlowInput": power_flow_input,
    "PowerFlowResult": power_flow_result,
    "ProbeInput": probe_input,
    "ProbeResult": probe_result,
}


def as_text(data: bytes) -> str:
    """Hex, with a long run of one byte, or of one quarter-valued series, as a repetition."""
    texts, end = [], 0
    for run in LONG_RUN.finditer(data):
        unit = run["byte"] or QUARTER
        texts += [data[end : run.start()].hex(), f"{unit.hex()}*{len(run[0]) // len(unit)}"]
        end = run.end()
    return " ".join(filter(None, [*texts, data[end:].hex()]))


def render(vectors: Iterator[Vector]) -> str:
    """The text of one file; names are unique within it."""
    lines: dict[str, str] = {}
    for vector in vectors:
        if vector.name in lines:
            raise ValueError(f"two vectors are called {vector.name}")
        lines[vector.name] = "\t".join(
            (
                vector.name,
                vector.verdict,
                vector.violations,
                as_text(vector.data),
                "=" if vector.again == vector.data else as_text(vector.again),
            )
        )
    return "\n".join(lines.values()) + "\n"


def main() -> None:
    for name, vectors in VECTORS.items():
        (HERE / f"{name}.tsv").write_text(render(vectors()), encoding="utf-8")


if __name__ == "__main__":
    main()
