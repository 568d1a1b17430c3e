"""REST for Python: pydantic models, the table of operations, and both specifications as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from gridpact.codegen.documents import Contracts, Json, walk
from gridpact.codegen.emit.messages import RULES, default_of, rule_call
from gridpact.codegen.emit.output import PYTHON, docstring, header, remark
from gridpact.codegen.model import (
    ABSENT,
    Alias,
    Definition,
    Flag,
    Items,
    Mapping,
    Member,
    Model,
    Named,
    Nullable,
    Numeric,
    Object,
    Series,
    Text,
    Type,
    Union,
)
from gridpact.kit.shapes import Binary

METHODS = ("get", "put", "post", "patch", "delete")


def operations(contracts: Contracts) -> Iterator[tuple[str, str, Json]]:
    """Every operation: path, method, and what the document says of it."""
    for path, item in contracts.openapi["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def emit(contracts: Contracts, model: Model) -> dict[PurePosixPath, bytes]:
    return {
        PYTHON / "rest.py": _models(contracts, model).encode(),
        PYTHON / "operations.py": _operations(contracts).encode(),
        PYTHON / "openapi.json": _json(contracts.bundle("openapi.yaml")),
        PYTHON / "asyncapi.json": _json(contracts.bundle("asyncapi.yaml")),
    }


def _json(document: Json) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode()


def _models(contracts: Contracts, model: Model) -> str:
    used = list(dict.fromkeys(_titles(contracts, contracts.openapi)))
    sent = {definition.title for definition in model.needed_by(list(_sent(contracts)))}
    lines = [
        header("openapi.yaml and contracts/schemas/"),
        '"""The bodies of the REST API."""',
        "",
        "from typing import Annotated, ClassVar, Literal, TypeAlias",
        "",
        "from pydantic import Discriminator, Field, Tag",
        "",
        f"from gridpact.kit.rules import {', '.join(sorted(RULES.values()))}, MemberCount, Rule",
        "from gridpact.kit.rest import (",
        "    AnswerModel, ExistingTime, StrictModel, WholeNumber, one_of, tag_by",
        ")",
        "",
    ]
    for definition in model.needed_by(used):
        lines += _definition(definition, sent, model)
    return "\n".join(lines)


def _titles(contracts: Contracts, node: Any) -> Iterator[str]:
    for _, mapping in walk(node):
        reference = mapping.get("$ref")
        if isinstance(reference, str) and reference.startswith("schemas/"):
            yield contracts.title_of(reference, "openapi.yaml")


def _sent(contracts: Contracts) -> Iterator[str]:
    """The titles of the request bodies."""
    for _, _, operation in operations(contracts):
        yield from _titles(contracts, operation.get("requestBody", {}))


def _definition(definition: Definition, sent: set[str], model: Model) -> list[str]:
    match definition:
        case Alias():
            return [
                *remark(definition.description),
                f"{definition.title}: TypeAlias = {annotation(definition.type)}",
                "",
            ]
        case Union():
            return [*remark(definition.description), _union(definition, model), ""]
        case Object():
            return _class(definition, definition.title in sent)


def _union(definition: Union, model: Model) -> str:
    if definition.tag is None:
        return f"{definition.title}: TypeAlias = {' | '.join(definition.members)}"
    tags = {title: model.tag_of(title) for title in definition.members}
    members = [f'Annotated[{title}, Tag("<{tag}>")]' for title, tag in tags.items()]
    return (
        f"{definition.title}: TypeAlias = Annotated[{' | '.join(members)}, "
        f"Discriminator(tag_by({definition.tag!r}))]"
    )


def _class(definition: Object, sent: bool) -> list[str]:
    base = "StrictModel" if sent else "AnswerModel"
    lines = [f"class {definition.title}({base}):"]
    lines += [*docstring(definition.description, "    "), ""]
    for member in definition.members:
        lines += remark(member.description, "    ")
        lines.append(f"    {member.name}: {_member(member)}")
    rules = [rule_call(rule, definition.title) for rule in definition.rules] if sent else []
    if sent and (definition.least_members or definition.most_members is not None):
        names = tuple(member.name for member in definition.members)
        rules.append(
            f"MemberCount({names!r}, {definition.least_members}, {definition.most_members})"
        )
    if rules:
        lines += ["", f"    __rules__: ClassVar[tuple[Rule, ...]] = ({', '.join(rules)},)"]
    return [*lines, ""]


def _member(member: Member) -> str:
    kind = annotation(member.type)
    if member.required:
        return kind
    if member.default is ABSENT:
        return f"{kind} | None = None"
    return f"{kind} = {default_of(member)}"


def annotation(kind: Type) -> str:
    """The annotation that holds every bound of a type."""
    match kind:
        case Named():
            return kind.title
        case Items():
            bounds = _field(min_length=kind.min_items or None, max_length=kind.max_items)
            return _annotated(f"list[{annotation(kind.item)}]", bounds)
        case Mapping():
            bounds = _field(max_length=kind.max_members)
            return _annotated(f"dict[str, {annotation(kind.value)}]", bounds)
        case Nullable():
            return f"{annotation(kind.inner)} | None"
        case Text(choices=tuple() as choices):
            return f"Literal[{', '.join(map(repr, choices))}]"
        case Text():
            bounds = _field(
                min_length=kind.min_length or None,
                max_length=kind.max_length,
                pattern=kind.pattern,
            )
            extra = ["ExistingTime"] if kind.format == "date-time" else []
            return _annotated("str", bounds + extra)
        case Numeric():
            bounds = _field(ge=kind.minimum, gt=kind.above, le=kind.maximum, lt=kind.below)
            choices = [f"one_of{kind.choices!r}"] if kind.choices else []
            return _annotated("WholeNumber" if kind.whole else "float", bounds + choices)
        case Flag():
            return "bool"
        case Series():
            item = _annotated("float", _field(ge=kind.minimum, le=kind.maximum))
            bounds = _field(min_length=kind.min_items or None, max_length=kind.max_items)
            return _annotated(f"list[{item}]", bounds)
        case Binary():
            raise NotImplementedError("JSON carries no bytes")


def _field(**bounds: object) -> list[str]:
    given = [f"{name}={value!r}" for name, value in bounds.items() if value is not None]
    return [f"Field({', '.join(given)})"] if given else []


def _annotated(kind: str, notes: list[str]) -> str:
    return f"Annotated[{', '.join([kind, *notes])}]" if notes else kind


def _operations(contracts: Contracts) -> str:
    lines = [
        header("openapi.yaml"),
        '"""Every REST operation, and what `x-gateway` says of it."""',
        "",
        "from collections.abc import Mapping",
        "from dataclasses import dataclass",
        "from types import MappingProxyType",
        "from typing import Literal",
        "",
        "from gridpact.contracts.rest import Role",
        "",
        f"BODY_BYTES = {contracts.openapi['x-limits']['body_bytes']:_}",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class Operation:",
        '    """One operation; `role` is the least that its caller needs, None when public."""',
        "",
        "    operation_id: str",
        "    method: str",
        "    path: str",
        "    role: Role | None",
        "    # Requests per `rate_window_s` seconds and caller.",
        "    rate_count: int",
        "    rate_window_s: int",
        "    timeout_s: int",
        "    streaming: bool",
        "",
        "OPERATIONS: Mapping[str, Operation] = MappingProxyType({",
        "    operation.operation_id: operation for operation in (",
    ]
    for path, method, operation in operations(contracts):
        gateway = operation["x-gateway"]
        lines.append(
            f"Operation({operation['operationId']!r}, {method.upper()!r}, {path!r}, "
            f"{gateway.get('role')!r}, {gateway['rate']['count']}, {gateway['rate']['window_s']}, "
            f"{gateway['timeout_s']}, {gateway.get('streaming', False)}),"
        )
    return "\n".join([*lines, ")})"])
