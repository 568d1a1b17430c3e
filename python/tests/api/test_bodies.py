from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gridpact.api import bodies
from gridpact.api.bodies import parsed
from gridpact.contracts import rest
from gridpact.contracts.errors import Reason
from gridpact.contracts.messages import DispatchInput
from gridpact.kit import wire
from gridpact.kit.errors import GridpactError
from gridpact.kit.wire import Limits
from tests.api.examples import DISPATCH, EXAMPLES
from tests.api.fakes import FakeServices

LIMIT = 16 * 1024 * 1024
LIMITS = Limits(LIMIT, LIMIT, 32, LIMIT, 65536, LIMIT)
SUBMISSION: TypeAdapter[Any] = TypeAdapter(rest.TaskSubmission)
HEADERS = {"Content-Type": "application/json", "Idempotency-Key": "one"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=20,
)


def refusal(body: bytes) -> GridpactError:
    with pytest.raises(GridpactError) as raised:
        parsed(SUBMISSION, body)
    return raised.value


def changed(path: str, value: object) -> bytes:
    """The example with one value replaced; NaN is written as a literal."""
    whole = copy.deepcopy(DISPATCH)
    at: Any = whole
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        at = at[step]
    at[last] = value
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("path", "value", "field", "rule"),
    [
        ("input.loads.0.power_kw.1", float("nan"), "input.loads[0].power_kw[1]", "type"),
        ("input.loads.0.power_kw.1", -1, "input.loads[0].power_kw[1]", "minimum"),
        ("input.loads.0.power_kw", [1], "input.loads[0].power_kw", "length-equals"),
        ("input.loads.0.power_kw", "x", "input.loads[0].power_kw", "type"),
        ("input.slots", 2.5, "input.slots", "type"),
        ("input.slots", True, "input.slots", "type"),
        ("input.slot_duration_s", 7, "input.slot_duration_s", "enum"),
        ("input.colour", "red", "input.colour", "unknown-field"),
        ("input.start_time", "2026-02-30T00:00:00Z", "input.start_time", "format"),
        ("input.start_time", "2026-06-01", "input.start_time", "pattern"),
        ("input.pv", None, "input.pv", "type"),
        (
            "input.batteries.0.battery.capacity_kwh",
            -1,
            "input.batteries[0].battery.capacity_kwh",
            "exclusive-minimum",
        ),
        (
            "input.batteries.0.initial_energy_kwh",
            11,
            "input.batteries[0].initial_energy_kwh",
            "at-most",
        ),
        (
            "input.batteries.0.final_energy_kwh",
            10.1,
            "input.batteries[0].final_energy_kwh",
            "at-most",
        ),
        ("kind", "nothing", "kind", "discriminator"),
        ("timeout_s", 0, "timeout_s", "exclusive-minimum"),
        ("input.slots", 10**18, "input.slots", "maximum"),
        ("engine", "rust", "engine", "enum"),
    ],
)
def test_a_broken_rule_names_its_field(path: str, value: object, field: str, rule: str) -> None:
    error = refusal(changed(path, value))
    assert error.reason is Reason.INVALID_ARGUMENT
    assert field in {violation.field for violation in error.violations}, error.violations
    assert rule in {violation.rule for violation in error.violations if violation.field == field}, (
        error.violations
    )


def test_what_is_right_passes_and_51_0_is_a_whole_number() -> None:
    assert parsed(SUBMISSION, changed("input.slots", 2.0)).input.slots == 2


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"", 0),
        (b'{"a": 1,}', 8),
        (b'{"a":\n 1 2}', 9),
        (b"\xff", 0),
        (b'{"a": "\\ud800"}', None),
        (b"[" * 100_000, None),
    ],
)
def test_broken_json_is_malformed_and_says_where(body: bytes, offset: int | None) -> None:
    error = refusal(body)
    assert error.reason is Reason.BODY_MALFORMED
    if offset is not None:
        assert abs(int(error.meta["offset"]) - offset) <= 1


@pytest.mark.parametrize("digits", [16, 20, 309, 400, 4000, 100_000])
def test_no_whole_number_is_too_long_to_refuse(digits: int) -> None:
    body = b'{"kind": "probe", "timeout_s": %s, "input": {"hold_ms": %s}}'
    error = refusal(body % (b"9" * digits, b"9" * digits))
    assert error.reason in (Reason.INVALID_ARGUMENT, Reason.BODY_MALFORMED)


@given(st.integers(1, len(json.dumps(DISPATCH)) - 1))
def test_a_body_cut_short_is_malformed(length: int) -> None:
    assert refusal(json.dumps(DISPATCH).encode()[:length]).reason is Reason.BODY_MALFORMED


@given(JSON)
def test_any_json_is_taken_or_refused_by_field(value: object) -> None:
    error = refusal(json.dumps(value).encode())
    assert error.reason is Reason.INVALID_ARGUMENT
    assert error.violations


@given(st.sampled_from(sorted(DISPATCH["input"])), JSON)  # type: ignore[arg-type]
def test_any_value_in_any_member_is_taken_or_refused(member: str, value: object) -> None:
    try:
        parsed(SUBMISSION, changed(f"input.{member}", value))
    except GridpactError as error:
        refused = error
    else:
        return
    assert refused.reason is Reason.INVALID_ARGUMENT
    assert 1 <= len(refused.violations) <= 100
    assert all(len(violation.field) <= 256 for violation in refused.violations)


def test_at_most_a_hundred_violations_are_listed() -> None:
    error = refusal(changed("input.loads.0.power_kw", ["x"] * 500))
    assert len(error.violations) == 100
    assert "500" in error.message


def test_more_errors_than_anybody_reads_are_not_listed() -> None:
    error = refusal(changed("input.loads.0.power_kw", ["x"] * 20_000))
    assert len(error.violations) == 1


class TestSize:
    @pytest.mark.parametrize("stated", [True, False], ids=["stated", "chunked"])
    @pytest.mark.parametrize(("size", "status"), [(LIMIT, 400), (LIMIT + 1, 413)])
    async def test_the_limit_is_exact(
        self, client: httpx.AsyncClient, size: int, status: int, stated: bool
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(size // 4096):
                yield b" " * 4096
            yield b" " * (size % 4096)

        content = b" " * size if stated else chunks()
        response = await client.post("/v1/tasks", headers=HEADERS, content=content)
        assert response.status_code == status
        if status == 413:
            assert response.json()["meta"] == {"limit_bytes": str(LIMIT)}

    async def test_nothing_is_read_beyond_it(self, client: httpx.AsyncClient) -> None:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 65536
                yield b" " * 65536

        response = await client.post("/v1/tasks", headers=HEADERS, content=endless())
        assert response.status_code == 413
        assert read <= LIMIT + 2 * 65536


class TestSlow:
    async def test_a_body_that_does_not_end_is_given_up(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "BODY_S", 0.05)

        async def slow() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        response = await client.post("/v1/tasks", headers=HEADERS, content=slow())
        assert response.json()["reason"] == "DEADLINE_EXCEEDED"
        assert response.headers["connection"] == "close"

    async def test_large_ones_leave_room_for_small_ones(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bodies, "LARGE_BODIES_BYTES", LIMIT)
        held, finish = asyncio.Event(), asyncio.Event()

        async def large(size: int) -> AsyncIterator[bytes]:
            yield b" " * size
            held.set()
            await finish.wait()

        async def status(content: AsyncIterator[bytes] | bytes) -> int:
            return (await client.post("/v1/tasks", headers=HEADERS, content=content)).status_code

        async with asyncio.TaskGroup() as group:
            first = group.create_task(status(large(LIMIT - 1)))
            await held.wait()
            assert await status(b" " * LIMIT) == 503
            assert await status(b" " * 65_536) == 400
            finish.set()
        assert first.result() == 400
        assert await status(b" " * LIMIT) == 400


async def test_a_submission_becomes_the_message_of_its_kind(
    client: httpx.AsyncClient, fakes: FakeServices
) -> None:
    example = EXAMPLES["submitTask"]
    fakes.tasks.answers["submit_task"] = example.answer
    body = copy.deepcopy(DISPATCH) | {"label": "night", "engine": "python", "timeout_s": 5}
    await client.post("/v1/tasks", headers=example.headers, json=body)
    [(_, request)] = fakes.asked
    assert (request.idempotency_key, request.kind, request.engine_choice) == (
        "one",
        "dispatch",
        "python",
    )
    assert (request.label, request.site_id, request.timeout_s) == ("night", "", 5)
    message = wire.decode(DispatchInput, request.input, LIMITS)
    assert message.loads[0].power_kw.tolist() == [0.4, 0.5]
    assert message == wire.build(DispatchInput, DISPATCH["input"])


async def test_the_same_body_always_gives_the_same_bytes(
    client: httpx.AsyncClient, fakes: FakeServices
) -> None:
    example = EXAMPLES["submitTask"]
    fakes.tasks.answers["submit_task"] = example.answer
    turned = dict(reversed(DISPATCH["input"].items()))  # type: ignore[attr-defined]
    for body in (DISPATCH, DISPATCH | {"input": turned}):
        await client.post("/v1/tasks", headers=example.headers, json=body)
    first, second = (request.input for _, request in fakes.asked)
    assert first == second
