"""Kinds: asyncapi.yaml, TaskKind, TaskSubmission and TaskResult name the same ones."""

from __future__ import annotations

from collections.abc import Iterator

from gridpact.codegen.documents import Contracts, Json

PRIORITIES = ("urgent", "normal")
WAY_OUT = "a kind stands in all of them (docs/how-to/add-a-compute-kind.md)"


def faults(contracts: Contracts) -> Iterator[str]:
    kinds = contracts.asyncapi["x-kinds"]
    enum = contracts.document("schemas/task-kind.yaml")["enum"]
    submission = contracts.document("schemas/task-submission.yaml")
    mapping = submission["discriminator"]["mapping"]
    for file, names in (("task-kind.yaml", enum), ("task-submission.yaml", mapping)):
        for name in sorted(kinds.keys() ^ set(names)):
            yield (
                f"contracts/schemas/{file} and x-kinds of asyncapi.yaml disagree about "
                f"{name}; {WAY_OUT}"
            )
    members = {member["$ref"] for member in submission["oneOf"]}
    if members != set(mapping.values()):
        yield f"contracts/schemas/task-submission.yaml: oneOf and mapping disagree; {WAY_OUT}"
    for name, file in mapping.items():
        form = contracts.document(f"schemas/{file}")
        if form["properties"]["kind"].get("const") != name:
            yield f"contracts/schemas/{file}: kind must be the const {name}"
        given = f"schemas/{form['properties']['input']['$ref']}"
        if name in kinds and given != kinds[name]["input"]["$ref"]:
            yield f"contracts/schemas/{file}: input is {given}, x-kinds says otherwise; {WAY_OUT}"
    for name, kind in kinds.items():
        members = contracts.document(kind["input"]["$ref"])["properties"]
        if (member := kind.get("affinity")) and not _is_text(contracts, members.get(member)):
            yield f"x-kinds of asyncapi.yaml: {name} has no text {member} to be its affinity"
        if kind.get("priority", "normal") not in PRIORITIES:
            yield f"x-kinds of asyncapi.yaml: {name} has a priority other than {PRIORITIES}"
        concurrency = kind.get("concurrency", 1)
        if not isinstance(concurrency, int) or concurrency < 1:
            yield f"x-kinds of asyncapi.yaml: the concurrency of {name} must be at least 1"
    topics = contracts.asyncapi["channels"]["computeTasks"]["parameters"]["kind"]["enum"]
    if set(topics) != kinds.keys():
        yield f"contracts/asyncapi.yaml: computeTasks has topics for other kinds; {WAY_OUT}"
    results = contracts.document("schemas/task-result.yaml")["anyOf"]
    if _files(results, "schemas/") != _files([kind["result"] for kind in kinds.values()]):
        yield f"contracts/schemas/task-result.yaml and x-kinds list other results; {WAY_OUT}"
    payload = contracts.asyncapi["components"]["messages"]["computeTask"]["payload"]["oneOf"]
    if _files(payload) != _files([kind["input"] for kind in kinds.values()]):
        yield f"contracts/asyncapi.yaml: the payload of computeTask lists other inputs; {WAY_OUT}"


def _is_text(contracts: Contracts, schema: Json | None) -> bool:
    if schema is None:
        return False
    if "$ref" in schema:
        schema = contracts.document(f"schemas/{schema['$ref']}")
    return schema.get("type") == "string"


def _files(references: list[dict[str, str]], folder: str = "") -> set[str]:
    return {folder + reference["$ref"] for reference in references}
