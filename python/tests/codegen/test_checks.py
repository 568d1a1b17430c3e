"""Each check finds its fault: the contracts are broken in one place, and the fault names it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from gridpact.codegen import check
from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.model import Model


class Breakage(NamedTuple):
    file: str
    before: str
    after: str
    fault: str  # words of the fault, the file among them


BREAKAGES = {
    "example of a schema": Breakage(
        "schemas/battery.yaml",
        "min_energy_kwh: 1, max",
        "min_energy_kwh: -1, max",
        "contracts/schemas/battery.yaml example 1: the example breaks its schema",
    ),
    "example beyond the bounds of a series": Breakage(
        "schemas/dispatch-load.yaml",
        "power_kw: [0.4, 0.3]",
        "power_kw: [0.4, -0.3]",
        "contracts/schemas/dispatch-load.yaml example 1",
    ),
    "example against an x-rule": Breakage(
        "schemas/dispatch-input.yaml",
        "slots: 4",
        "slots: 5",
        "breaks length-equals at loads[0].power_kw: must have 5 values (slots); it has 4",
    ),
    "example of a message": Breakage(
        "asyncapi.yaml",
        "fraction: 0.5, stage",
        "fraction: 1.5, stage",
        "contracts/asyncapi.yaml#/components/messages/progress example 1",
    ),
    "example of a parameter": Breakage(
        "openapi.yaml",
        "example: 6f1c9f2e-plan-2026-06-01",
        "example: 6f1c 9f2e",
        "contracts/openapi.yaml#/paths/~1v1~1tasks/post/parameters/0 example 1",
    ),
    "domain object spelled out in a message": Breakage(
        "asyncapi.yaml",
        "      x-same-as: {schema: schemas/task-progress.yaml, reason: The wire form is flat "
        "so that a worker packs one map a report.}\n",
        "",
        "Progress shares bound, fraction, objective, relative_gap, stage with "
        "contracts/schemas/task-progress.yaml",
    ),
    "domain object spelled out in two schemas": Breakage(
        "schemas/pv.yaml",
        "properties:\n",
        "properties:\n"
        "  max_import_power_kw: {type: number, minimum: 0, maximum: 1000000}\n"
        "  max_export_power_kw: {type: number, minimum: 0, maximum: 1000000}\n"
        "  name: {$ref: name.yaml}\n"
        "  time_zone: {$ref: time-zone.yaml}\n"
        "  currency: {$ref: currency.yaml}\n"
        "  latitude: {type: number, minimum: -90, maximum: 90}\n"
        "  longitude: {type: number, minimum: -180, maximum: 180}\n",
        "contracts/schemas/pv.yaml spells out every member of contracts/schemas/site-details.yaml",
    ),
    "object spelled out in openapi.yaml": Breakage(
        "openapi.yaml",
        "{schema: {$ref: schemas/health.yaml}}",
        "{schema: {type: object, properties: {status: {type: string}}}}",
        "spells an object out; give it a file in schemas/",
    ),
    "kind that TaskKind does not know": Breakage(
        "schemas/task-kind.yaml",
        "enum: [dispatch, ",
        "enum: [dispatch, horoscope, ",
        "task-kind.yaml and x-kinds of asyncapi.yaml disagree about horoscope",
    ),
    "kind that cannot be submitted": Breakage(
        "schemas/task-submission.yaml",
        "{dispatch: dispatch-submission.yaml, ",
        "{",
        "task-submission.yaml and x-kinds of asyncapi.yaml disagree about dispatch",
    ),
    "member that protobuf does not know": Breakage(
        "schemas/task-progress.yaml",
        "  stage:",
        "  eta_s: {type: number, minimum: 0}\n  stage:",
        "contracts/proto/gridpact/tasks/v1/tasks.proto and contracts/schemas/ disagree about eta_s",
    ),
    "word that the schema does not know": Breakage(
        "proto/gridpact/tasks/v1/tasks.proto",
        "TASK_STATE_CANCELLED = 5;",
        "TASK_STATE_CANCELLED = 5;\n  TASK_STATE_PAUSED = 6;",
        "disagree about paused of TaskState",
    ),
    "affinity that is no text of the input": Breakage(
        "asyncapi.yaml",
        "  probe:\n    type: DIAGNOSE\n",
        "  probe:\n    type: DIAGNOSE\n    affinity: hold_ms\n",
        "probe has no text hold_ms to be its affinity",
    ),
    "kind without a topic": Breakage(
        "asyncapi.yaml",
        "enum: [dispatch, power-flow, unit-commitment, ",
        "enum: [dispatch, unit-commitment, ",
        "computeTasks has topics for other kinds",
    ),
    "priority that no bridge knows": Breakage(
        "asyncapi.yaml",
        "    priority: urgent\n",
        "    priority: highest\n",
        "mpc-step has a priority other than",
    ),
    "concurrency of nothing": Breakage(
        "asyncapi.yaml",
        "    concurrency: 256\n",
        "    concurrency: 0\n",
        "the concurrency of probe must be at least 1",
    ),
    "keyword cut from a description": Breakage(
        "schemas/solver-options.yaml",
        "description: 'Accepted gap of a mixed-integer plan, relative to its cost.'",
        "description: Accepted gap of a mixed-integer plan, relative to its cost.",
        "keyword 'relative to its cost.' is unknown",
    ),
    "pattern that means something else elsewhere": Breakage(
        "schemas/currency.yaml",
        "^[A-Z]{3}$",
        r"^\w{3}$",
        "is not portable",
    ),
    "operation without x-gateway": Breakage(
        "openapi.yaml",
        "      x-gateway: {access: token, role: viewer, rate: {count: 600, window_s: 60}, "
        "timeout_s: 10}\n      responses:\n        '200':\n          description: The user",
        "      responses:\n        '200':\n          description: The user",
        "GET /v1/users/me has no x-gateway",
    ),
    "public operation that wants a token": Breakage(
        "openapi.yaml",
        "      security: []\n      x-gateway: {access: public, rate: {count: 20,",
        "      x-gateway: {access: public, rate: {count: 20,",
        "POST /v1/sessions: access is public, security says otherwise",
    ),
}


def test_contracts_have_no_fault(contracts: Contracts, model: Model) -> None:
    assert list(check.faults(contracts, model)) == []


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_finds(breakage: Breakage, copied: Path) -> None:
    path = copied / breakage.file
    text = path.read_text("utf-8")
    assert breakage.before in text
    path.write_text(text.replace(breakage.before, breakage.after, 1), "utf-8")
    contracts = Contracts(copied)
    found = list(check.faults(contracts, Model(contracts)))
    assert any(breakage.fault in fault for fault in found), found


def test_reference_to_nothing_names_the_file(copied: Path) -> None:
    (copied / "schemas" / "currency.yaml").unlink()
    with pytest.raises(ContractFault, match=r"contracts/schemas/currency\.yaml does not exist"):
        Model(Contracts(copied))


def test_two_schemas_of_one_title_are_refused(copied: Path) -> None:
    (copied / "schemas" / "money.yaml").write_text("title: Currency\ntype: string\n", "utf-8")
    with pytest.raises(ContractFault, match="the title Currency is taken"):
        Model(Contracts(copied))
