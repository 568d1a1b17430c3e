"""No domain object is spelled out in two places.

Two objects are the same thing when one has at least three members and the other has them all, with
the same types; an object within openapi.yaml or asyncapi.yaml already when it shares three members
with a schema of schemas/. ``x-same-as: {schema, reason}`` says why it must be so.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from gridpact.codegen.documents import Contracts, walk
from gridpact.codegen.model import Model, Named, Object, Type

ENOUGH = 3
WAY_OUT = "$ref one of them, use allOf, or say under x-same-as why both must stand"


def faults(contracts: Contracts, model: Model) -> Iterator[str]:
    origins = {schema["title"]: name for name, schema in contracts.schemas.items()}
    for at, node in walk({key: contracts.openapi.get(key) for key in ("paths", "components")}):
        if "properties" in node and node.get("type") == "object":
            yield (
                f"contracts/openapi.yaml#{at} spells an object out; give it a file in schemas/ "
                "and $ref it"
            )
    objects = {
        title: _members(definition, model)
        for title, definition in model.definitions.items()
        if isinstance(definition, Object)
    }
    shared = [title for title in objects if title in origins]
    for one, other in combinations(shared, 2):
        small, large = sorted((one, other), key=lambda title: len(objects[title]))
        within = objects[small].items() <= objects[large].items()
        if len(objects[small]) < ENOUGH or not within:
            continue
        excused = any(
            _excused(contracts.document(origins[one]), origins[other])
            for one, other in ((small, large), (large, small))
        )
        if not excused and not _built_on(contracts, origins[large], origins[small]):
            yield (
                f"contracts/{origins[large]} spells out every member of "
                f"contracts/{origins[small]}; {WAY_OUT}"
            )
    for name, schema in contracts.asyncapi["components"]["schemas"].items():
        own = objects.get(schema["title"], {})
        for title in shared:
            same = sorted(member for member, _ in own.items() & objects[title].items())
            if len(same) >= ENOUGH and not _excused(schema, origins[title]):
                yield (
                    f"contracts/asyncapi.yaml#/components/schemas/{name} shares "
                    f"{', '.join(same)} with contracts/{origins[title]}; {WAY_OUT}"
                )


def _members(definition: Object, model: Model) -> dict[str, Type]:
    return {member.name: _resolved(member.type, model) for member in definition.members}


def _resolved(kind: Type, model: Model) -> Type:
    """A type without the names of scalars, so that spelling out Name counts as Name."""
    if isinstance(kind, Named):
        target = model.definitions[kind.title]
        return kind if isinstance(target, Object) else getattr(target, "type", kind)
    return kind


def _built_on(contracts: Contracts, large: str, small: str) -> bool:
    """Whether one takes the other in by allOf, or both take in the same third."""
    return bool(_bases(contracts, large) & (_bases(contracts, small) | {small}))


def _bases(contracts: Contracts, origin: str) -> set[str]:
    return {f"schemas/{base['$ref']}" for base in contracts.document(origin).get("allOf", ())}


def _excused(schema: dict[str, object], origin: str) -> bool:
    excuse = schema.get("x-same-as")
    return (
        isinstance(excuse, dict) and excuse.get("schema") == origin and bool(excuse.get("reason"))
    )
