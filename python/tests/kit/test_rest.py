from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gridpact.contracts.rest import Site, Tariff, TaskSubmission
from gridpact.kit.rest import violations_from
from gridpact.kit.violation import Violation

SUBMISSION: TypeAdapter[Any] = TypeAdapter(TaskSubmission)


def violations(adapter: TypeAdapter[Any], value: object) -> list[Violation]:
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(value)
    return violations_from(refused.value.errors())


@pytest.mark.parametrize(
    ("value", "field", "rule"),
    [
        ({"kind": "probe", "input": {"hold_ms": -1}}, "input.hold_ms", "minimum"),
        ({"kind": "probe", "input": {"hold_ms": 1.5}}, "input.hold_ms", "type"),
        ({"kind": "probe", "input": {"hold_ms": True}}, "input.hold_ms", "type"),
        ({"kind": "probe", "input": {"hold": 1}}, "input.hold", "unknown-field"),
        ({"kind": "probe", "input": {}, "label": None}, "label", "type"),
        ({"kind": "probe", "input": {}, "label": "a "}, "label", "pattern"),
        ({"kind": "probe", "input": {}, "engine": "rust"}, "engine", "enum"),
        ({"kind": "probe", "input": {}, "timeout_s": float("nan")}, "timeout_s", "type"),
        ({"kind": "probe", "input": {}, "timeout_s": 0}, "timeout_s", "exclusive-minimum"),
        ({"kind": "probe", "input": {}, "<probe>": 0}, "<probe>", "unknown-field"),
        ({"kind": "probe"}, "input", "required"),
        ({"kind": "none", "input": {}}, "kind", "discriminator"),
        ({}, "kind", "discriminator"),
        ([], "", "discriminator"),
    ],
)
def test_violation_names_field_and_rule(value: object, field: str, rule: str) -> None:
    (found,) = violations(SUBMISSION, value)
    assert (found.field, found.rule) == (field, rule)


def test_whole_number_may_be_written_as_a_float() -> None:
    assert (
        SUBMISSION.validate_python({"kind": "probe", "input": {"hold_ms": 51.0}}).input.hold_ms
        == 51
    )


def test_bound_says_both_numbers() -> None:
    (found,) = violations(SUBMISSION, {"kind": "probe", "input": {"hold_ms": -1}})
    assert found.message == "must be at least 0; it is -1"


def test_exactly_one_member_of_a_price() -> None:
    both = {"fixed_per_kwh": 1, "series_id": "01981f6e-7c00-7000-8000-000000000001"}
    found = violations(TypeAdapter(Tariff), {"import_price": {}, "export_price": both})
    assert [(violation.field, violation.rule) for violation in found] == [
        ("import_price", "min-properties"),
        ("export_price", "max-properties"),
    ]


def test_part_of_the_request_is_left_out_of_the_field() -> None:
    error = {"loc": ("query", "page_size"), "type": "missing", "msg": "Field required"}
    assert violations_from([error]) == [Violation("page_size", "required", "is required")]


def test_answer_leaves_absent_members_out() -> None:
    site = Site(
        site_id="01981f6e-7c00-7000-8000-000000000001",
        created_time="2026-06-01T00:00:00Z",
        name="Farm",
        time_zone="Europe/Berlin",
        currency="EUR",
        latitude=None,
    )
    assert b"latitude" not in site.to_json()
