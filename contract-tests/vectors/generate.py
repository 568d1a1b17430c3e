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
    """The packed entries of a map, without its header."""
    return pack(message)[len(map_header(len(message))) :]


def map_header(count: int) -> bytes:
    return bytes([0x80 + count]) if count < 16 else b"\xde" + struct.pack(">H", count)


def without(message: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != key}


def malformations(message: dict[str, Any]) -> Iterator[Vector]:
    """What no message may be, whatever its type; ``message`` is a valid one, defaults filled in."""
    count = len(message)
    body = entries(message)

    def with_entry(entry: bytes) -> bytes:
        return map_header(count + 1) + body + entry

    name = next(iter(message))
    yield malformed("empty", b"")
    yield malformed("truncated-last-byte", pack(message)[:-1])
    yield malformed("truncated-half", pack(message)[: len(pack(message)) // 2])
    yield malformed("trailing-byte", pack(message) + b"\x00")
    yield malformed("duplicate-key", with_entry(pack(name) + pack(message[name])))
    yield malformed("duplicate-unknown-key", map_header(count + 2) + body + b"\xa1z\x01\xa1z\x01")
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
        "queue": 64,
        "heartbeat_interval_ms": 5000,
        "proof": "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    }
    yield accept("valid", message)
    yield from malformations(message)
    yield accept("without-queue", without(message, "queue"), {**message, "queue": 0})
    yield refuse("queue-negative", {**message, "queue": -1}, "queue:minimum")
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
    message = {"type": "heartbeat", "sequence": 12, "busy": 2, "others": 1}
    yield accept("valid", message)
    yield from malformations(message)
    yield accept("without-busy", without(message, "busy"))
    yield accept("without-others", without(message, "others"), {**message, "others": 0})
    yield refuse("others-negative", {**message, "others": -1}, "others:minimum")
    wide = b"\x84" + entries(message).replace(
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


FLEXIBLE = ("flexible_loads", "cycles", "electric_vehicles", "heat_pumps", "generators")


def dispatch_problem() -> dict[str, Any]:
    """A battery, PV and a load; what may be left out is written as its default."""
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
        **{key: [] for key in FLEXIBLE},
        "tariff": {
            "import_price_per_kwh": series(0.3, -0.1),
            "export_price_per_kwh": series(0.08, 0.08),
            "grid_fees": [],
            "demand_charges": [],
        },
        "grid": {"max_import_power_kw": 30.0, "max_export_power_kw": 20.0},
        "groups": [],
        "on_conflict": "RELAX",
        "options": {"time_limit_s": 30.0, "relative_gap": 0.0001},
    }


def whole_dispatch_problem() -> dict[str, Any]:
    """Every member that there is."""
    problem = dispatch_problem()
    return {
        **without(without(problem, "on_conflict"), "options"),
        "flexible_loads": [
            {
                "name": "Pool pump",
                "start_slot": 0,
                "end_slot": 2,
                "energy_kwh": 0.5,
                "min_power_kw": 0.5,
                "max_power_kw": 2.0,
                "interruptible": False,
            }
        ],
        "cycles": [
            {"name": "Waschmaschine", "start_slot": 0, "end_slot": 2, "power_kw": series(2.0, 0.5)}
        ],
        "electric_vehicles": [
            {
                "name": "Van 1",
                "battery": BATTERY,
                "min_charge_power_kw": 1.4,
                "stays": [
                    {
                        "start_slot": 0,
                        "end_slot": 1,
                        "initial_energy_kwh": 4.0,
                        "required_energy_kwh": 5.0,
                    },
                    {"start_slot": 1, "end_slot": 2, "initial_energy_kwh": 3.0},
                ],
            }
        ],
        "heat_pumps": [
            {
                "name": "热泵",
                "min_power_kw": 0.5,
                "max_power_kw": 3.0,
                "cop": series(3.1, 3.0),
                "heat_demand_kw": series(4.0, 4.5),
                "tank": {
                    "min_energy_kwh": 1.0,
                    "max_energy_kwh": 12.0,
                    "initial_energy_kwh": 6.0,
                    "final_energy_kwh": 5.0,
                    "loss_per_h": 0.01,
                },
            }
        ],
        "generators": [
            {
                "name": "CHP",
                "min_power_kw": 2.0,
                "max_power_kw": 5.0,
                "cost_segments": [
                    {"up_to_power_kw": 3.0, "cost_per_kwh": 0.2},
                    {"up_to_power_kw": 5.0, "cost_per_kwh": 0.25},
                ],
                "no_load_cost_per_h": 0.1,
                "start_cost": 0.3,
                "min_up_duration_s": 1800,
                "min_down_duration_s": 900,
                "ramp_up_kw_per_h": 8.0,
                "ramp_down_kw_per_h": 12.0,
                "initially_running": True,
                "initial_duration_s": 7200,
                "initial_power_kw": 2.5,
                "co2_kg_per_kwh": 0.45,
            }
        ],
        "tariff": {
            **without(problem["tariff"], "demand_charges"),
            "grid_fees": [{"name": "Netzentgelt", "price_per_kwh": series(0.09, -0.01)}],
            "import_tiers": {
                "imported_energy_kwh": 299.0,
                "tiers": [
                    {"from_energy_kwh": 0.0, "surcharge_per_kwh": -0.01},
                    {"from_energy_kwh": 300.0, "surcharge_per_kwh": 0.05},
                ],
            },
            "demand_charges": [
                {
                    "name": "Monthly peak",
                    "price_per_kw": 11.5,
                    "billing_interval_s": 1800,
                    "peak_so_far_kw": 12.0,
                    "interval_energy_so_far_kwh": 0.5,
                    "windows": [{"start_slot": 1, "end_slot": 2}],
                }
            ],
        },
        "grid": {
            **problem["grid"],
            "import_limits_kw": series(30.0, 4.2),
            "export_limits_kw": series(0.0, 20.0),
        },
        "groups": [
            {
                "name": "Garage",
                "members": ["Van 1", "屋顶"],
                "max_import_power_kw": 11.0,
                "max_export_power_kw": 4.0,
            }
        ],
        "reserve": {
            "upward_power_kw": series(1.0, 0.0),
            "downward_power_kw": series(0.0, 1.0),
            "duration_s": 600,
        },
        "emissions": {"import_kg_per_kwh": series(0.35, 0.28), "price_per_kg": 0.1},
        "previous_plan": {
            "deviation_cost_per_kwh": 0.002,
            "assets": [{"name": "Speicher", "power_kw": series(1.5, -0.5)}],
        },
        "uncertainty": {
            "shared_slots": 2,
            "risk_weight": 0.3,
            "tail_probability": 0.2,
            "scenarios": [
                {"name": "Clear", "probability": 3.0, "loads": [], "pv": []},
                {
                    "name": "Cloudy",
                    "probability": 1.0,
                    "loads": [{"name": "House", "power_kw": series(0.5, 0.5)}],
                    "pv": [{"name": "屋顶", "power_kw": series(0.0, 0.1)}],
                    "import_price_per_kwh": series(0.4, 0.1),
                    "export_price_per_kwh": series(0.0, -0.1),
                },
            ],
        },
        "on_conflict": "FAIL",
        "options": problem["options"],
    }


def in_order(message: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
    """The members in the contract's order, which is that of ``order``."""
    return {key: message[key] for key in order if key in message}


def at(message: Any, path: str, value: Any) -> Any:
    """A copy with ``value`` at ``path``, steps apart by dots; a number is the index of a list."""
    step, _, rest = path.partition(".")
    key: Any = int(step) if isinstance(message, list) else step
    within = at(message[key], rest, value) if rest else value
    if isinstance(message, list):
        return [*message[:key], within, *message[key + 1 :]]
    return {**message, key: within}


def also(message: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy in which the last item of the list at ``path`` occurs twice."""
    found: Any = message
    for step in path.split("."):
        found = found[int(step) if isinstance(found, list) else step]
    return at(message, path, [*found, found[-1]])


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
    yield accept("initial-above-maximum", battery(initial_energy_kwh=9.6))
    yield accept("initial-below-minimum", battery(initial_energy_kwh=0.5))
    yield accept("initial-above-capacity-as-measured", battery(initial_energy_kwh=10.5))
    yield refuse(
        "initial-above-capacity",
        battery(initial_energy_kwh=10.6),
        "batteries[0].initial_energy_kwh:at-most",
    )
    yield refuse(
        "final-below-minimum",
        battery(final_energy_kwh=0.5),
        "batteries[0].final_energy_kwh:at-most",
    )
    yield refuse(
        "final-above-maximum",
        battery(final_energy_kwh=9.6),
        "batteries[0].final_energy_kwh:at-most",
    )
    yield accept("final-out-of-reach", battery(final_energy_kwh=9.0))
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
    filled = {**yearly, "pv": [], "tariff": {**message["tariff"], **yearly["tariff"]}}
    yield accept("longest-series", yearly, in_order(filled, message))
    longer = {**message, "slots": 35136, "loads": [{**load, "power_kw": series(*YEAR, 1.0)}]}
    yield refuse(
        "series-too-long",
        longer,
        "loads[0].power_kw:max-items",
    )
    yield from dispatch_defaults()
    yield from dispatch_rules()


def dispatch_defaults() -> Iterator[Vector]:
    """Each member that may be left out is left out, and stands in what is encoded again."""
    message = dispatch_problem()
    required = ("start_time", "slot_duration_s", "slots", "currency", "loads", "grid")
    minimal = {
        **{key: message[key] for key in required},
        "batteries": [],
        "tariff": {
            key: message["tariff"][key] for key in ("import_price_per_kwh", "export_price_per_kwh")
        },
    }
    filled = {**without(message, "options"), "batteries": [], "pv": []}
    yield accept("defaults-filled-in", minimal, filled)

    whole = whole_dispatch_problem()
    yield accept("whole", whole)
    cell = without(
        without(without(BATTERY, "min_energy_kwh"), "max_energy_kwh"), "wear_cost_per_kwh"
    )
    stay = {"start_slot": 0, "end_slot": 1, "initial_energy_kwh": 4.0}
    charge = {"name": "Peak", "price_per_kw": 10.0, "billing_interval_s": 900}
    tier = {"from_energy_kwh": 300.0, "surcharge_per_kwh": 0.05}
    tank = {"max_energy_kwh": 12.0, "initial_energy_kwh": 6.0}
    little = {
        **minimal,
        "pv": [{"name": "Roof", "available_power_kw": series(0.0, 1.5)}],
        "flexible_loads": [
            {"name": "Pump", "start_slot": 0, "end_slot": 2, "energy_kwh": 1.0, "max_power_kw": 2.0}
        ],
        "electric_vehicles": [{"name": "Van", "battery": cell, "stays": [stay]}],
        "heat_pumps": [
            {
                "name": "Heat pump",
                "max_power_kw": 3.0,
                "cop": series(3.1, 3.0),
                "heat_demand_kw": series(4.0, 4.5),
                "tank": tank,
            }
        ],
        "generators": [
            {
                "name": "CHP",
                "max_power_kw": 5.0,
                "cost_segments": [{"up_to_power_kw": 5.0, "cost_per_kwh": 0.2}],
            }
        ],
        "tariff": {
            **minimal["tariff"],
            "import_tiers": {"tiers": [tier]},
            "demand_charges": [charge],
        },
        "groups": [{"name": "Garage", "members": ["Van"]}],
        "reserve": {},
        "emissions": {"import_kg_per_kwh": series(0.35, 0.28)},
        "uncertainty": {
            "scenarios": [{"name": name, "probability": 1.0} for name in ("Clear", "Cloudy")]
        },
        "options": {},
    }
    generator = {
        **little["generators"][0],
        **dict.fromkeys(("min_power_kw", "no_load_cost_per_h", "start_cost"), 0.0),
        **dict.fromkeys(("initial_power_kw", "co2_kg_per_kwh"), 0.0),
        **dict.fromkeys(("min_up_duration_s", "min_down_duration_s"), 0),
        "initially_running": False,
        "initial_duration_s": 31536000,
    }
    again = {
        **filled,
        "pv": [{"name": "Roof", "curtailable": False, "available_power_kw": series(0.0, 1.5)}],
        "flexible_loads": [
            in_order(
                {**little["flexible_loads"][0], "min_power_kw": 0.0, "interruptible": True},
                whole["flexible_loads"][0],
            )
        ],
        "electric_vehicles": [
            {
                "name": "Van",
                "battery": in_order(
                    {**cell, "min_energy_kwh": 0.0, "wear_cost_per_kwh": 0.0}, BATTERY
                ),
                "min_charge_power_kw": 0.0,
                "stays": [stay],
            }
        ],
        "heat_pumps": [
            in_order(
                {
                    **little["heat_pumps"][0],
                    "min_power_kw": 0.0,
                    "tank": {"min_energy_kwh": 0.0, **tank, "loss_per_h": 0.0},
                },
                whole["heat_pumps"][0],
            )
        ],
        "generators": [in_order(generator, whole["generators"][0])],
        "tariff": {
            **minimal["tariff"],
            "grid_fees": [],
            "import_tiers": {"imported_energy_kwh": 0.0, "tiers": [tier]},
            "demand_charges": [
                {**charge, "peak_so_far_kw": 0.0, "interval_energy_so_far_kwh": 0.0, "windows": []}
            ],
        },
        "groups": little["groups"],
        "reserve": {"duration_s": 900},
        "emissions": {**little["emissions"], "price_per_kg": 0.0},
        "uncertainty": {
            "shared_slots": 1,
            "risk_weight": 0.0,
            "tail_probability": 0.1,
            "scenarios": [
                {**scenario, "loads": [], "pv": []}
                for scenario in little["uncertainty"]["scenarios"]
            ],
        },
        "options": {"time_limit_s": 60.0, "relative_gap": 0.000001},
    }
    yield accept("defaults-of-all-filled-in", little, in_order(again, whole))


def dispatch_rules() -> Iterator[Vector]:
    """Every rule of the whole problem, broken by the least that breaks it."""
    message = whole_dispatch_problem()

    def broken(name: str, path: str, value: Any, *violations: str) -> Vector:
        return refuse(name, at(message, path, value), *violations)

    short = series(1.0)
    for path in (
        "pv.0.available_power_kw",
        "heat_pumps.0.cop",
        "heat_pumps.0.heat_demand_kw",
        "tariff.import_price_per_kwh",
        "tariff.export_price_per_kwh",
        "tariff.grid_fees.0.price_per_kwh",
        "grid.import_limits_kw",
        "grid.export_limits_kw",
        "reserve.upward_power_kw",
        "reserve.downward_power_kw",
        "emissions.import_kg_per_kwh",
        "previous_plan.assets.0.power_kw",
        "uncertainty.scenarios.1.loads.0.power_kw",
        "uncertainty.scenarios.1.pv.0.power_kw",
        "uncertainty.scenarios.1.import_price_per_kwh",
        "uncertainty.scenarios.1.export_price_per_kwh",
    ):
        field = re.sub(r"\.(\d+)", r"[\1]", path)
        if path == "previous_plan.assets.0.power_kw":  # may end before the horizon does
            yield accept(f"{path}-shorter", at(message, path, short))
            long = series(1.0, 1.0, 1.0)
            yield broken(f"{path}-too-long", path, long, f"{field}:length-equals")
        else:
            yield broken(f"{path}-too-short", path, short, f"{field}:length-equals")
        nan = at(message, path, series(float("nan"), 1.0))
        yield malformed(f"{path}-with-nan", pack(nan))

    for path, place in (
        ("batteries", "batteries[1].name"),
        ("pv", "pv[1].name"),
        ("loads", "loads[1].name"),
        ("flexible_loads", "flexible_loads[1].name"),
        ("cycles", "cycles[1].name"),
        ("electric_vehicles", "electric_vehicles[1].name"),
        ("heat_pumps", "heat_pumps[1].name"),
        ("generators", "generators[1].name"),
        ("groups", "groups[1].name"),
        ("groups.0.members", "groups[0].members[2]"),
        ("tariff.grid_fees", "tariff.grid_fees[1].name"),
        ("tariff.demand_charges", "tariff.demand_charges[1].name"),
        ("previous_plan.assets", "previous_plan.assets[1].name"),
        ("uncertainty.scenarios", "uncertainty.scenarios[2].name"),
        ("uncertainty.scenarios.1.loads", "uncertainty.scenarios[1].loads[1].name"),
    ):
        yield refuse(f"{path}-named-alike", also(message, path), f"{place}:unique")
    yield broken(
        "fee-named-as-demand-charge",
        "tariff.grid_fees.0.name",
        "Monthly peak",
        "tariff.demand_charges[0].name:unique",
    )
    for path, field in (
        ("groups.0.members.1", "groups[0].members[1]"),
        ("previous_plan.assets.0.name", "previous_plan.assets[0].name"),
        ("uncertainty.scenarios.1.loads.0.name", "uncertainty.scenarios[1].loads[0].name"),
        ("uncertainty.scenarios.1.pv.0.name", "uncertainty.scenarios[1].pv[0].name"),
    ):
        yield broken(f"{path}-unknown", path, "Nobody", f"{field}:refers-to")
    yield broken(
        "previous-plan-of-a-load",
        "previous_plan.assets.0.name",
        "House",
        "previous_plan.assets[0].name:refers-to",
    )

    for path, rule in (
        ("flexible_loads.0", "before"),
        ("cycles.0", "before"),
        ("electric_vehicles.0.stays.0", "before"),
        ("tariff.demand_charges.0.windows.0", "before"),
    ):
        field = re.sub(r"\.(\d+)", r"[\1]", path)
        fits = (f"{field}.power_kw:fits",) if path == "cycles.0" else ()
        changed = at(at(message, f"{path}.start_slot", 1), f"{path}.end_slot", 1)
        yield refuse(f"{path}-without-slots", changed, f"{field}.start_slot:{rule}", *fits)
    for path in (
        "flexible_loads.0.end_slot",
        "cycles.0.end_slot",
        "electric_vehicles.0.stays.1.end_slot",
        "tariff.demand_charges.0.windows.0.end_slot",
        "uncertainty.shared_slots",
    ):
        field = re.sub(r"\.(\d+)", r"[\1]", path)
        yield broken(f"{path}-after-the-last", path, 3, f"{field}:at-most")
    yield broken(
        "cycle-longer-than-its-window",
        "cycles.0.start_slot",
        1,
        "cycles[0].power_kw:fits",
    )
    yield broken(
        "stays-overlap",
        "electric_vehicles.0.stays.0.end_slot",
        2,
        "electric_vehicles[0].stays[1].start_slot:disjoint",
    )
    yield broken(
        "stays-out-of-order",
        "electric_vehicles.0.stays",
        list(reversed(message["electric_vehicles"][0]["stays"])),
        "electric_vehicles[0].stays[1].start_slot:disjoint",
    )

    for path, most in (
        ("flexible_loads.0.min_power_kw", 2.0),
        ("electric_vehicles.0.min_charge_power_kw", 5.0),
        ("electric_vehicles.0.stays.0.required_energy_kwh", 9.5),
        ("heat_pumps.0.min_power_kw", 3.0),
        ("heat_pumps.0.tank.min_energy_kwh", 12.0),
        ("heat_pumps.0.tank.final_energy_kwh", 12.0),
        ("generators.0.initial_power_kw", 5.0),
        ("generators.0.min_power_kw", 5.0),
        ("electric_vehicles.0.stays.0.initial_energy_kwh", 10.5),
        ("heat_pumps.0.tank.initial_energy_kwh", 12.6),
    ):
        field = re.sub(r"\.(\d+)", r"[\1]", path)
        yield accept(f"{path}-at-most", at(message, path, most))
        yield broken(f"{path}-above", path, most + 0.01, f"{field}:at-most")

    segments = message["generators"][0]["cost_segments"]
    yield broken(
        "cost-curve-not-convex",
        "generators.0.cost_segments.1.cost_per_kwh",
        0.1999,
        "generators[0].cost_segments[1].cost_per_kwh:increasing",
    )
    yield accept(
        "cost-curve-with-equal-steps",
        at(message, "generators.0.cost_segments.1.cost_per_kwh", 0.2),
    )
    yield broken(
        "cost-curve-turns-back",
        "generators.0.cost_segments",
        [{**segments[0], "up_to_power_kw": 5.0}, segments[1]],
        "generators[0].cost_segments[1].up_to_power_kw:increasing",
    )
    yield broken(
        "cost-curve-too-short",
        "generators.0.cost_segments.1.up_to_power_kw",
        4.0,
        "generators[0].cost_segments[1].up_to_power_kw:last-equals",
    )
    yield broken(
        "cost-curve-empty",
        "generators.0.cost_segments",
        [],
        "generators[0].cost_segments:min-items",
    )
    yield broken(
        "tiers-not-increasing",
        "tariff.import_tiers.tiers.1.from_energy_kwh",
        0.0,
        "tariff.import_tiers.tiers[1].from_energy_kwh:increasing",
    )
    yield broken(
        "billing-interval-odd",
        "tariff.demand_charges.0.billing_interval_s",
        1000,
        "tariff.demand_charges[0].billing_interval_s:enum",
    )
    yield broken("on-conflict-unknown", "on_conflict", "RETRY", "on_conflict:enum")
    yield broken(
        "one-scenario",
        "uncertainty.scenarios",
        message["uncertainty"]["scenarios"][:1],
        "uncertainty.scenarios:min-items",
    )
    yield broken(
        "scenario-without-weight",
        "uncertainty.scenarios.0.probability",
        0.0,
        "uncertainty.scenarios[0].probability:exclusive-minimum",
    )
    yield broken(
        "tail-of-nothing",
        "uncertainty.tail_probability",
        0.0,
        "uncertainty.tail_probability:exclusive-minimum",
    )
    yield broken("cop-zero", "heat_pumps.0.cop", series(3.0, 0.0), "heat_pumps[0].cop[1]:minimum")
    yield broken("group-of-nobody", "groups.0.members", [], "groups[0].members:min-items")


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
        "bill": [],
        "violations": [],
        "batteries": [
            {
                "name": "Home battery",
                "power_kw": series(1.0, -0.5),
                "energy_kwh": series(1.95, 1.42),
                "marginal_value_per_kwh": series(0.21, 0.21),
                "reasons": ["CHARGE_FROM_GRID", "DISCHARGE_TO_LOAD"],
                "full_cycles": 0.05,
                "capacity_value_per_kwh": 0.0,
                "charge_power_value_per_kw": 0.1,
                "discharge_power_value_per_kw": 0.0,
            }
        ],
        "pv": [{"name": "Roof", "power_kw": series(0.0, -1.0), "curtailed_energy_kwh": 0.0}],
        **{key: [] for key in (*FLEXIBLE, "groups")},
        "grid_power_kw": series(1.0, -0.2),
        "grid_price_per_kwh": series(0.2, 0.08),
    }
    yield accept("valid", message)
    plan = message["batteries"][0]
    lists = [key for key, value in message.items() if value == []]
    bare = {key: value for key, value in message.items() if key not in (*lists, "batteries")} | {
        "batteries": [{key: plan[key] for key in list(plan)[:5]}]
    }
    zeros = {**dict.fromkeys(plan, 0.0), **bare["batteries"][0]}
    yield accept("defaults-filled-in", bare, {**message, "batteries": [zeros]})
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
    whole = whole_dispatch_result(message)
    yield accept("whole", whole)
    for path in (
        "batteries.0.energy_kwh",
        "pv.0.marginal_value_per_kwh",
        "pv.0.reasons",
        "flexible_loads.0.power_kw",
        "flexible_loads.0.reasons",
        "cycles.0.power_kw",
        "electric_vehicles.0.energy_kwh",
        "electric_vehicles.0.reasons",
        "heat_pumps.0.tank_energy_kwh",
        "heat_pumps.0.reasons",
        "generators.0.running",
        "generators.0.reasons",
        "groups.0.power_kw",
        "import_limit_value_per_kwh",
        "export_limit_value_per_kwh",
        "upward_reserve_price_per_kw",
        "downward_reserve_price_per_kw",
        "uncertainty.scenarios.0.grid_power_kw",
    ):
        short = ["CHEAPEST"] if path.endswith("reasons") else series(1.0)
        field = re.sub(r"\.(\d+)", r"[\1]", path)
        yield refuse(f"{path}-too-short", at(whole, path, short), f"{field}:length-equals")
    yield refuse("bill-unit", at(whole, "bill.0.unit", "kVA"), "bill[0].unit:enum")
    yield refuse(
        "violation-negative", at(whole, "violations.0.amount", -0.1), "violations[0].amount:minimum"
    )
    yield refuse(
        "self-sufficiency-above-one",
        at(whole, "self_sufficiency", 1.1),
        "self_sufficiency:maximum",
    )
    yield refuse("wear-negative", at(whole, "costs.wear", -0.1), "costs.wear:minimum")


def whole_dispatch_result(message: dict[str, Any]) -> dict[str, Any]:
    """Every member that there is, in the contract's order."""
    values, reasons = series(0.1, 0.0), ["CHEAPEST", "DEARER"]
    components = ("energy_import", "energy_export", "grid_fees", "tiers", "demand_charges")
    whole = {
        **message,
        "status": "RELAXED",
        "costs": dict.fromkeys((*components, "generation", "starts", "wear", "co2"), 0.1),
        "rule_based_cost": 0.25,
        "rule_based_savings": 0.15,
        "deviation_kwh": 0.5,
        "bill": [
            {"item": "IMPORT", "quantity": 12.5, "unit": "kWh", "amount": 3.75},
            {
                "item": "DEMAND_CHARGE",
                "name": "Monthly peak",
                "quantity": 12.0,
                "unit": "kW",
                "amount": -1.0,
            },
        ],
        "violations": [
            {
                "field": "groups[0].max_import_power_kw",
                "name": "Garage",
                "slot": 1,
                "message": "must be at least 12.5; it is 10 (slot 1)",
                "amount": 2.5,
                "unit": "kW",
                "price_per_unit": 0.4,
            }
        ],
        "peak_import_power_kw": 1.0,
        "imported_energy_kwh": 1.0,
        "exported_energy_kwh": 0.2,
        "self_sufficiency": 0.5,
        "self_consumption": 1.0,
        "co2_kg": 0.35,
        "pv": [{**message["pv"][0], "marginal_value_per_kwh": values, "reasons": reasons}],
        "flexible_loads": [
            {"name": "Pump", "power_kw": values, "marginal_cost_per_kwh": 0.1, "reasons": reasons}
        ],
        "cycles": [
            {
                "name": "Waschmaschine",
                "start_slot": 0,
                "power_kw": values,
                "energy_cost": 0.1,
                "reason": "NO_CHOICE",
            }
        ],
        "electric_vehicles": [
            {
                "name": "Van 1",
                "power_kw": values,
                "energy_kwh": values,
                "marginal_value_per_kwh": values,
                "charged_energy_kwh": 0.1,
                "reasons": ["DEPARTURE", "AWAY"],
            }
        ],
        "heat_pumps": [
            {
                "name": "热泵",
                "power_kw": values,
                "tank_energy_kwh": values,
                "marginal_value_per_kwh": values,
                "reasons": ["HEAT_DEMAND", "DEARER"],
            }
        ],
        "generators": [
            {
                "name": "CHP",
                "power_kw": series(-2.0, 0.0),
                "running": series(1.0, 0.0),
                "start_count": 1,
                "cost": 0.5,
                "marginal_value_per_kwh": values,
                "reasons": ["CHEAPER_THAN_GRID", "START_COST"],
            }
        ],
        "groups": [
            {
                "name": "Garage",
                "power_kw": values,
                "import_limit_value_per_kwh": values,
                "export_limit_value_per_kwh": values,
            }
        ],
        "import_limit_value_per_kwh": values,
        "export_limit_value_per_kwh": values,
        "upward_reserve_price_per_kw": values,
        "downward_reserve_price_per_kw": values,
        "uncertainty": {
            "scenario": "Clear",
            "shared_slots": 1,
            "expected_cost": 0.1,
            "cvar": 0.2,
            "scenarios": [
                {"name": name, "probability": 0.5, "cost": 0.1, "grid_power_kw": values}
                for name in ("Clear", "Cloudy")
            ],
        },
    }
    order = (
        *("status", "start_time", "slot_duration_s", "slots", "currency", "cost", "costs"),
        *("baseline_cost", "baseline_within_grid_limits", "savings", "rule_based_cost"),
        *("rule_based_savings", "energy_cost", "wear_cost", "relative_gap", "deviation_kwh"),
        *("bill", "violations", "peak_import_power_kw", "imported_energy_kwh"),
        *("exported_energy_kwh", "self_sufficiency", "self_consumption", "co2_kg", "batteries"),
        *("pv", "flexible_loads", "cycles", "electric_vehicles", "heat_pumps", "generators"),
        *("groups", "grid_power_kw", "grid_price_per_kwh", "import_limit_value_per_kwh"),
        *("export_limit_value_per_kwh", "upward_reserve_price_per_kw"),
        *("downward_reserve_price_per_kw", "uncertainty"),
    )
    return {key: whole[key] for key in order}


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


def plan_check_input() -> Iterator[Vector]:
    message = {
        "network": village(),
        "slots": 2,
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 900,
        "profiles": [{"name": "Household", "unit": "FACTOR", "values": series(0.5, 1.0)}],
        "schedule": [
            {"name": "Speicher", "power_kw": series(500.0, -500.0)},
            {"name": "屋顶", "power_kw": series(0.0, -1000.0)},
        ],
        "connections": [
            {"asset": "屋顶", "bus": "村", "power_factor": 0.95, "reactive_power": "SUPPLIED"},
            {
                "asset": "Speicher",
                "bus": "Substation",
                "power_factor": 1.0,
                "reactive_power": "CONSUMED",
            },
        ],
        "options": {
            "tolerance_pu": 1e-8,
            "max_iterations": 30,
            "start": "AUTO",
            "enforce_reactive_limits": False,
            "islands": "REFUSE",
            "report": "EXTREMES",
        },
    }
    yield accept("valid", message)
    yield from malformations(message)
    (battery, roof), (of_roof, of_battery) = message["schedule"], message["connections"]
    yield accept(
        "defaults-filled-in",
        {
            **message,
            "connections": [of_roof, {"asset": "Speicher", "bus": "Substation"}],
            "options": {},
        },
        message,
    )
    yield refuse("slots-missing", without(message, "slots"), "slots:required")
    yield refuse(
        "asset-not-connected",
        {**message, "connections": [of_roof]},
        "schedule[0].name:refers-to",
    )
    yield refuse(
        "connection-without-schedule",
        {**message, "schedule": [battery]},
        "connections[0].asset:refers-to",
    )
    yield refuse(
        "asset-connected-twice",
        {**message, "connections": [of_roof, of_battery, {**of_roof, "bus": "Substation"}]},
        "connections[2].asset:unique",
    )
    yield refuse(
        "asset-scheduled-twice",
        {**message, "schedule": [battery, roof, roof]},
        "schedule[2].name:unique",
    )
    yield refuse(
        "bus-unknown",
        {**message, "connections": [of_roof, {**of_battery, "bus": "Nowhere"}]},
        "connections[1].bus:refers-to",
    )
    yield refuse(
        "schedule-too-short",
        {**message, "schedule": [battery, {**roof, "power_kw": series(1.0)}]},
        "schedule[1].power_kw:length-equals",
    )
    yield refuse(
        "power-factor-zero",
        {**message, "connections": [{**of_roof, "power_factor": 0}, of_battery]},
        "connections[0].power_factor:exclusive-minimum",
    )


def plan_check_result() -> Iterator[Vector]:
    (flow,) = (vector for vector in power_flow_result() if vector.name == "valid")
    message = {
        "within_limits": False,
        "violated_slot_count": 1,
        "violated_without_plan_slot_count": 0,
        "voltage_violations": [
            {
                "slot": 0,
                "bus": "村",
                "limit": "MIN",
                "limit_pu": 0.95,
                "voltage_pu": 0.94,
                "voltage_without_plan_pu": 0.99,
                "assets": ["Speicher", "屋顶"],
                "voltage_changes_pu": series(-0.06, 0.01),
            }
        ],
        "overloads": [
            {
                "slot": 0,
                "branch": "Line",
                "loading_percent": 120.0,
                "loading_without_plan_percent": 40.0,
                "assets": ["Speicher"],
                "loading_changes_percent": series(80.0),
            }
        ],
        "power_flow": msgpack.unpackb(flow.data),
    }
    yield accept("valid", message)
    violation = message["voltage_violations"][0]
    yield refuse(
        "change-without-asset",
        {**message, "voltage_violations": [{**violation, "assets": ["Speicher"]}]},
        "voltage_violations[0].voltage_changes_pu:length-equals",
    )
    yield refuse(
        "no-assets",
        {**message, "overloads": [{**message["overloads"][0], "assets": []}]},
        "overloads[0].assets:min-items",
    )
    yield refuse("missing", without(message, "power_flow"), "power_flow:required")


def replay_input() -> Iterator[Vector]:
    site = whole_dispatch_problem()
    message = {
        "site": site,
        "schedule": [
            {"name": "Speicher", "power_kw": series(1.5, -0.5)},
            {"name": "屋顶", "power_kw": series(0.0, -1.0), "limited": series(0.0, 1.0)},
            {"name": "CHP", "power_kw": series(-2.5, 0.0), "running": series(1.0, 1.0)},
        ],
        "at_limits": "REDUCE",
        "plan_cost": -0.1,
    }
    yield accept("valid", message)
    yield from malformations(message)
    bare = {"site": dispatch_problem(), "schedule": []}
    yield accept("defaults-filled-in", bare, {**bare, "at_limits": "VIOLATE"})
    yield refuse("without-schedule", without(message, "schedule"), "schedule:required")
    yield refuse("answer-unknown", {**message, "at_limits": "SHED"}, "at_limits:enum")
    battery = message["schedule"][0]
    for name in ("Nowhere", "House"):  # a fixed load has no set-points
        yield refuse(
            f"set-points-of-{name}",
            at(message, "schedule.0.name", name),
            "schedule[0].name:refers-to",
        )
    yield refuse(
        "scheduled-twice",
        {**message, "schedule": [battery, battery]},
        "schedule[1].name:unique",
    )
    yield refuse(
        "set-points-too-few",
        at(message, "schedule.0.power_kw", series(1.5)),
        "schedule[0].power_kw:length-equals",
    )
    for member, place in (("running", 2), ("limited", 1)):
        yield refuse(
            f"{member}-too-long",
            at(message, f"schedule.{place}.{member}", series(1.0, 1.0, 1.0)),
            f"schedule[{place}].{member}:length-equals",
        )
        yield refuse(
            f"{member}-above-one",
            at(message, f"schedule.{place}.{member}", series(1.0, 2.0)),
            f"schedule[{place}].{member}[1]:maximum",
        )
    yield refuse(
        "set-point-too-great",
        at(message, "schedule.0.power_kw", series(1.5, -1000000.5)),
        "schedule[0].power_kw[1]:minimum",
    )
    yield malformed(
        "set-point-nan", pack(at(message, "schedule.0.power_kw", series(1.5, float("nan"))))
    )
    yield malformed("plan-cost-nan", pack({**message, "plan_cost": float("nan")}))
    yield refuse(
        "load-of-the-site-too-short",
        at(message, "site.loads.0.power_kw", series(0.4)),
        "site.loads[0].power_kw:length-equals",
    )


def replay_result() -> Iterator[Vector]:
    parts = ("energy_import", "energy_export", "grid_fees", "tiers", "demand_charges")
    message = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 2,
        "currency": "EUR",
        "cost": 0.42,
        "costs": dict.fromkeys((*parts, "generation", "starts", "wear", "co2"), 0.0)
        | {"energy_import": 0.42},
        "bill": [{"item": "IMPORT", "quantity": 1.4, "unit": "kWh", "amount": 0.42}],
        "plan_cost": 0.1,
        "cost_above_plan": 0.32,
        "baseline_cost": 0.54,
        "baseline_within_grid_limits": True,
        "savings": 0.12,
        "rule_based_cost": 0.5,
        "rule_based_savings": 0.08,
        "assets": [
            {
                "name": "Speicher",
                "power_kw": series(1.0, -1.8),
                "energy_kwh": series(1.95, 0.0),
                "consumed_energy_kwh": 1.0,
                "produced_energy_kwh": 1.8,
                "not_followed_kwh": 0.2,
            },
            {
                "name": "CHP",
                "power_kw": series(0.0, -2.0),
                "running": series(0.0, 1.0),
                "consumed_energy_kwh": 0.0,
                "produced_energy_kwh": 2.0,
                "not_followed_kwh": 0.0,
            },
            {
                "name": "屋顶",
                "power_kw": series(0.0, 0.0),
                "consumed_energy_kwh": 0.0,
                "produced_energy_kwh": 0.0,
                "curtailed_energy_kwh": 0.5,
                "not_followed_kwh": 0.0,
            },
        ],
        "deviations": [
            {"name": "Speicher", "reason": "EMPTY", "slot": 1, "slot_count": 1, "energy_kwh": 0.2}
        ],
        "violations": [
            {
                "field": "groups[0].max_import_power_kw",
                "name": "Garage",
                "slot": 0,
                "slot_count": 2,
                "amount": 0.5,
                "unit": "kW",
                "message": "reached 11.5 kW in slot 1; the limit is 11",
            }
        ],
        "grid_power_kw": series(1.4, 0.0),
        "shed_power_kw": series(0.0, 0.1),
        "peak_import_power_kw": 1.4,
        "imported_energy_kwh": 1.4,
        "exported_energy_kwh": 0.0,
        "self_sufficiency": 0.1,
        "self_consumption": 1.0,
        "co2_kg": 0.4,
    }
    yield accept("valid", message)
    least = ("plan_cost", "cost_above_plan", "rule_based_cost", "rule_based_savings")
    left_out = (*least, "shed_power_kw", "co2_kg")
    yield accept("least", {key: message[key] for key in message if key not in left_out})
    yield refuse(
        "reason-unknown",
        at(message, "deviations.0.reason", "TIRED"),
        "deviations[0].reason:enum",
    )
    for path in ("assets.0.power_kw", "assets.0.energy_kwh", "assets.1.running"):
        place = path.replace(".0", "[0]").replace(".1", "[1]")
        yield refuse(f"{path}-short", at(message, path, series(0.0)), f"{place}:length-equals")
    for name in ("grid_power_kw", "shed_power_kw"):
        yield refuse(f"{name}-short", {**message, name: series(0.0)}, f"{name}:length-equals")
    yield refuse("missing", without(message, "violations"), "violations:required")


def mpc_step_input() -> Iterator[Vector]:
    problem = whole_dispatch_problem()
    message = {"controller_id": "Größe 电", "problem": problem, "control_slots": 2}
    yield accept("valid", message)
    yield from malformations(message)
    bare = {"controller_id": "Home", "problem": dispatch_problem()}
    yield accept("defaults-filled-in", bare, {**bare, "control_slots": 1})
    yield refuse(
        "nobody",
        {**message, "controller_id": ""},
        "controller_id:min-length",
        "controller_id:pattern",
    )
    yield refuse("no-slot", {**message, "control_slots": 0}, "control_slots:minimum")
    yield refuse(
        "more-slots-than-planned", {**message, "control_slots": 3}, "control_slots:at-most"
    )
    yield refuse(
        "measured-energy-above-capacity",
        at(message, "problem.batteries.0.initial_energy_kwh", 10.6),
        "problem.batteries[0].initial_energy_kwh:at-most",
    )
    yield malformed(
        "measured-energy-nan",
        pack(at(message, "problem.batteries.0.initial_energy_kwh", float("nan"))),
    )


def mpc_step_result() -> Iterator[Vector]:
    (plan,) = (vector for vector in dispatch_result() if vector.name == "valid")
    message = {
        "controller_id": "Home",
        "control_slots": 1,
        "set_points": [
            {"name": "Home battery", "power_kw": series(1.0)},
            {"name": "Roof", "power_kw": series(-1.0), "limited": series(0.0)},
        ],
        "reasons": [{"name": "Home battery", "reason": "CHARGE_FROM_GRID"}],
        "cost": 0.1,
        "warm": True,
        "solve_ms": 0.6,
        "plan": msgpack.unpackb(plan.data),
    }
    yield accept("valid", message)
    yield refuse(
        "set-points-too-many",
        at(message, "set_points.0.power_kw", series(1.0, 1.0)),
        "set_points[0].power_kw:length-equals",
    )
    yield refuse(
        "reason-unknown", at(message, "reasons.0.reason", "BECAUSE"), "reasons[0].reason:enum"
    )
    yield refuse("missing", without(message, "warm"), "warm:required")


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


THERMAL_UNIT = {
    "name": "Coal",
    "must_run": False,
    "min_power_mw": 60.0,
    "max_power_mw": 150.0,
    "ramp_up_mw_per_h": 40.0,
    "startup_limit_mw": 60.0,
    "min_up_time_h": 3.0,
    "min_down_time_h": 3.0,
    "initial_power_mw": 120.0,
    "initial_duration_h": 12.0,
    "startup_categories": [
        {"min_off_time_h": 3.0, "cost": 2000.0},
        {"min_off_time_h": 8.0, "cost": 3500.0},
    ],
    "production_cost": [
        {"power_mw": 60.0, "cost_per_h": 1500.0},
        {"power_mw": 110.0, "cost_per_h": 2600.0},
        {"power_mw": 150.0, "cost_per_h": 3600.0},
    ],
}


def unit_commitment_input() -> Iterator[Vector]:
    wind = {"name": "Wind", "min_power_mw": series(0.0, 1.5), "max_power_mw": series(40.0, 30.0)}
    message = {
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 2,
        "currency": "EUR",
        "demand_mw": series(120.0, 140.0),
        "reserve_requirement_mw": series(5.0, 0.0),
        "thermal_units": [THERMAL_UNIT],
        "renewable_units": [wind],
    }

    def unit(**changes: Any) -> dict[str, Any]:
        return {**message, "thermal_units": [{**THERMAL_UNIT, **changes}]}

    at = "thermal_units[0]"
    points = THERMAL_UNIT["production_cost"]
    yield accept("valid", message)
    yield from malformations(message)
    yield accept("without-reserve", without(message, "reserve_requirement_mw"))
    no_wind = without(message, "renewable_units")
    yield accept("without-renewables", no_wind, {**no_wind, "renewable_units": []})
    yield accept(
        "off-at-first", {**message, "thermal_units": [without(THERMAL_UNIT, "initial_power_mw")]}
    )
    yield refuse("no-unit", {**message, "thermal_units": []}, "thermal_units:min-items")
    yield refuse(
        "demand-too-short", {**message, "demand_mw": series(1.0)}, "demand_mw:length-equals"
    )
    yield refuse(
        "demand-negative", {**message, "demand_mw": series(1.0, -1.0)}, "demand_mw[1]:minimum"
    )
    yield refuse(
        "least-wind-above-most",
        {**message, "renewable_units": [{**wind, "min_power_mw": series(0.0, 31.0)}]},
        "renewable_units[0].min_power_mw[1]:at-most",
    )
    yield refuse(
        "same-name",
        {**message, "renewable_units": [{**wind, "name": "Coal"}]},
        "renewable_units[0].name:unique",
    )
    yield refuse(
        "startup-limit-below-minimum", unit(startup_limit_mw=59.0), f"{at}.startup_limit_mw:at-most"
    )
    yield refuse(
        "initial-power-above-maximum",
        unit(initial_power_mw=151.0),
        f"{at}.initial_power_mw:at-most",
    )
    yield refuse(
        "initial-power-below-minimum", unit(initial_power_mw=59.0), f"{at}.initial_power_mw:at-most"
    )
    must = {
        **without(THERMAL_UNIT, "initial_power_mw"),
        "must_run": True,
        "initial_duration_h": 2.0,
    }
    yield refuse(
        "must-run-cannot-start",
        {**message, "thermal_units": [must]},
        f"{at}.must_run:must-run-can-start",
    )
    yield refuse("no-category", unit(startup_categories=[]), f"{at}.startup_categories:min-items")
    yield refuse(
        "lags-fall",
        unit(
            startup_categories=[
                {"min_off_time_h": 3.0, "cost": 1.0},
                {"min_off_time_h": 3.0, "cost": 2.0},
            ]
        ),
        f"{at}.startup_categories[1].min_off_time_h:increasing",
    )
    yield refuse(
        "colder-is-cheaper",
        unit(
            startup_categories=[
                {"min_off_time_h": 3.0, "cost": 2.0},
                {"min_off_time_h": 4.0, "cost": 1.0},
            ]
        ),
        f"{at}.startup_categories[1].cost:increasing",
    )
    yield refuse(
        "curve-ends-early",
        unit(production_cost=points[:2]),
        f"{at}.production_cost[1].power_mw:spans",
    )
    yield refuse(
        "curve-not-convex",
        unit(production_cost=[*points[:2], {"power_mw": 150.0, "cost_per_h": 3400.0}]),
        f"{at}.production_cost[2].cost_per_h:convex",
    )
    yield refuse(
        "time-limit-zero",
        {**message, "options": {"time_limit_s": 0}},
        "options.time_limit_s:exclusive-minimum",
    )


def unit_commitment_result() -> Iterator[Vector]:
    unit = {
        "name": "Gas",
        "commitment": [0, 1],
        "power_mw": series(0.0, 24.4),
        "reserve_mw": series(0.0, 55.6),
        "starts": [{"slot": 1, "category": 0, "off_time_h": 6.0, "cost": 300.0}],
        "stops": [],
        "production_cost": 220.0,
        "no_load_cost": 1200.0,
        "startup_cost": 300.0,
        "reasons": ["UNECONOMIC", "CAPACITY"],
    }
    message = {
        "status": "OPTIMAL",
        "start_time": "2026-06-01T00:00:00Z",
        "slot_duration_s": 3600,
        "slots": 2,
        "currency": "EUR",
        "cost": 1720.0,
        "bound": 1720.0,
        "relative_gap": 0.0,
        "production_cost": 220.0,
        "no_load_cost": 1200.0,
        "startup_cost": 300.0,
        "thermal_units": [unit],
        "renewable_units": [],
        "curtailed_power_mw": series(0.0, 0.0),
        "energy_price_per_mwh": series(22.0, 50.0),
        "reserve_price_per_mw_h": series(0.0, 0.0),
    }
    yield accept("valid", message)
    for wrong, rule in ((2, "maximum"), (0.5, "type"), (True, "type")):
        yield refuse(
            f"commitment-{wrong}".lower(),
            {**message, "thermal_units": [{**unit, "commitment": [0, wrong]}]},
            f"thermal_units[0].commitment[1]:{rule}",
        )
    yield refuse(
        "reason-unknown",
        {**message, "thermal_units": [{**unit, "reasons": ["UNECONOMIC", "WHIM"]}]},
        "thermal_units[0].reasons[1]:enum",
    )
    yield refuse(
        "price-too-short",
        {**message, "energy_price_per_mwh": series(1.0)},
        "energy_price_per_mwh:length-equals",
    )


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
    "PlanCheckInput": plan_check_input,
    "PlanCheckResult": plan_check_result,
    "ReplayInput": replay_input,
    "ReplayResult": replay_result,
    "MpcStepInput": mpc_step_input,
    "MpcStepResult": mpc_step_result,
    "UnitCommitmentInput": unit_commitment_input,
    "UnitCommitmentResult": unit_commitment_result,
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
