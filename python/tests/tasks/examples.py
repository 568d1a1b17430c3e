"""Tasks, policies and submissions to test with."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from gridpact.kit.identifiers import new_identifier
from gridpact.tasks.contract import GeneratedContract
from gridpact.tasks.domain import (
    AttemptEnd,
    Body,
    Encoding,
    Outcome,
    Policy,
    Succeeded,
    Task,
)
from gridpact.tasks.ports import Request, Submission

START = datetime(2026, 6, 1, tzinfo=UTC)

POLICY = Policy(
    lease_duration=timedelta(seconds=10),
    max_attempts=3,
    reclaim_delay=timedelta(seconds=30),
    republish_delay=timedelta(seconds=30),
    republish_delay_max=timedelta(seconds=300),
)

PROBE_INPUT = msgspec.msgpack.encode({"hold_ms": 10})
PROBE_RESULT = Body(Encoding.IDENTITY, msgspec.msgpack.encode({"held_ms": 10.5, "padding": "xx"}))


def queued_task() -> Task:
    return Task(
        task_id=new_identifier(),
        organisation_id=new_identifier(),
        kind="probe",
        engine_choice="auto",
        submitted_time=START,
        timeout_time=START + timedelta(hours=1),
        queued_time=START,
    )


def running_task() -> Task:
    task, refusal = queued_task().open_attempt(START, POLICY, "bridge-1")
    assert refusal is None
    return task


def end(outcome: Outcome | None = None) -> AttemptEnd:
    outcome = outcome or Succeeded(PROBE_RESULT)
    content = msgspec.msgpack.encode((type(outcome).__name__, outcome))
    return AttemptEnd(
        outcome=outcome,
        digest=hashlib.sha256(content).hexdigest(),
        engine="python",
        engine_version="1",
        solve_ms=1.5,
    )


def submission(
    *,
    organisation_id: str | None = None,
    key: str | None = None,
    timeout_s: float = 3600,
    engine_choice: str = "auto",
    payload: Body | None = None,
    affinity_key: str | None = None,
    traceparent: str | None = None,
) -> Submission:
    task_id, timeout = new_identifier(), timedelta(seconds=timeout_s)
    payload = payload or Body(Encoding.IDENTITY, PROBE_INPUT)
    return Submission(
        task_id=task_id,
        organisation_id=organisation_id or new_identifier(),
        idempotency_key=key or new_identifier(),
        fingerprint=hashlib.sha256(b"request").digest(),
        kind="probe",
        engine_choice=engine_choice,
        site_id=None,
        label="Rehearsal",
        timeout=timeout,
        payload=payload,
        message=GeneratedContract().first_message(
            task_id,
            "probe",
            engine_choice,
            payload,
            affinity_key=affinity_key,
            traceparent=traceparent,
            timeout_time=START + timeout,
        ),
        affinity_key=affinity_key,
    )


def request(key: str = "key-1", **changes: object) -> Request:
    members: dict[str, object] = {
        "idempotency_key": key,
        "kind": "probe",
        "input": Body(Encoding.IDENTITY, PROBE_INPUT),
        "engine_choice": "auto",
        "site_id": None,
        "label": None,
        "timeout_s": 3600.0,
    }
    given = members | changes
    if isinstance(given["input"], bytes):
        given["input"] = Body(Encoding.IDENTITY, given["input"])
    return Request(**given)  # pyright: ignore[reportArgumentType]
