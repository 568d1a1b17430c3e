"""MsgPack messages for Python: ``contracts/{shapes,messages,channels}.py``."""

from __future__ import annotations

from typing import Any

from gridpact.codegen.documents import ContractFault, Contracts
from gridpact.codegen.emit.output import (
    PYTHON,
    Files,
    constant_name,
    docstring,
    header,
    remark,
)
from gridpact.codegen.emit.shapes import alias_shape, python_literal, record_of
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
    Number,
    Object,
    Series,
    Text,
    Type,
    Union,
)
from gridpact.kit.shapes import Binary

SOURCE = "asyncapi.yaml and contracts/schemas/"

# Written by hand in gridpact.kit, because the checks themselves need them.
PROVIDED = {"Violation": "gridpact.kit.violation", "Float64Series": "gridpact.kit.series"}

RULES = {
    "at-most": "AtMost",
    "length-equals": "LengthEquals",
    "unique": "Unique",
    "reachable-energy": "ReachableEnergy",
}


def message_definitions(contracts: Contracts, model: Model) -> list[Definition]:
    """Every definition that messages need, in the order of their dependence."""
    own = [schema["title"] for schema in contracts.asyncapi["components"]["schemas"].values()]
    kinds = [
        contracts.title_of(kind[part]["$ref"], "asyncapi.yaml")
        for kind in contracts.asyncapi["x-kinds"].values()
        for part in ("input", "result")
    ]
    return model.needed_by([*kinds, *own])


def emit(contracts: Contracts, model: Model) -> dict[Any, bytes]:
    definitions = message_definitions(contracts, model)
    return {
        PYTHON / "shapes.py": _shapes(definitions).encode(),
        PYTHON / "messages.py": _messages(definitions).encode(),
        PYTHON / "channels.py": _channels(contracts).encode(),
    }


def _shapes(definitions: list[Definition]) -> str:
    lines = [
        header(SOURCE),
        '"""What each message and each value in it must be: see gridpact.kit.shapes."""',
        "",
        "from gridpact.kit.shapes import "
        "Binary, Field, Flag, ListOf, Number, Record, Series, Text",
        "",
    ]
    for definition in definitions:
        name = constant_name(definition.title)
        match definition:
            case Alias():
                lines.append(f"{name} = {alias_shape(definition, python_literal)}")
            case Object():
                members = record_of(definition, python_literal, ", ")
                lines.append(f"{name} = Record(fields=({members},))")
            case Union():
                raise ContractFault(f"{definition.title}: a message cannot hold a oneOf")
    return "\n".join(lines)


def _messages(definitions: list[Definition]) -> str:
    lines = [
        header(SOURCE),
        '"""The messages and task inputs and results that MsgPack carries."""',
        "",
        "from typing import ClassVar, Literal, TypeAlias",
        "",
        "from msgspec import UNSET, UnsetType",
        "",
        "from gridpact.contracts import shapes",
        f"from gridpact.kit.rules import {', '.join(sorted(RULES.values()))}, Rule",
        *(f"from {module} import {name}" for name, module in PROVIDED.items()),
        "from gridpact.kit.shapes import Record",
        "from gridpact.kit.wire import Message",
        "",
    ]
    for definition in definitions:
        if definition.title in PROVIDED:
            continue
        if isinstance(definition, Alias):
            lines += [
                *remark(definition.description),
                f"{definition.title}: TypeAlias = {annotation(definition.type)}",
                "",
            ]
        elif isinstance(definition, Object):
            lines += _message(definition)
    return "\n".join(lines)


def _message(definition: Object) -> list[str]:
    tag = definition.tag
    options = f', tag_field="{tag.name}", tag="{tag.type.choices[0]}"' if _is_tag(tag) else ""
    lines = [f"class {definition.title}(Message, frozen=True, kw_only=True{options}):"]
    lines += [*docstring(definition.description, "    "), ""]
    for member in definition.members:
        if member == tag:
            continue
        lines += remark(member.description, "    ")
        lines.append(f"    {member.name}: {_member_annotation(member)}")
    lines += ["", f"    __shape__: ClassVar[Record] = shapes.{constant_name(definition.title)}"]
    if definition.rules:
        rules = "".join(f"{rule_call(rule, definition.title)}, " for rule in definition.rules)
        lines.append(f"    __rules__: ClassVar[tuple[Rule, ...]] = ({rules})")
    return [*lines, ""]


def _is_tag(tag: Member | None) -> bool:
    return tag is not None


def _member_annotation(member: Member) -> str:
    kind = annotation(member.type)
    if member.required:
        return kind
    if member.default is ABSENT:
        return f"{kind} | UnsetType = UNSET"
    return f"{kind} = {default_of(member)}"


def default_of(member: Member) -> str:
    """The default as Python source: a float field has a float default."""
    if isinstance(member.type, Number) and not member.type.whole:
        assert isinstance(member.default, int | float)
        return repr(float(member.default))
    return repr(member.default)


def rule_call(rule: dict[str, Any], title: str) -> str:
    """The expression that makes a rule of ``x-rules``."""
    name = RULES.get(rule["rule"])
    if name is None:
        raise ContractFault(
            f"{title}: rule {rule['rule']} is unknown; the vocabulary is {', '.join(RULES)}"
        )
    given = {key: tuple(v) if isinstance(v, list) else v for key, v in rule.items()}
    del given["rule"]
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def annotation(kind: Type) -> str:
    """The Python annotation of a type."""
    match kind:
        case Named():
            return kind.title
        case Items():
            return f"list[{annotation(kind.item)}]"
        case Mapping():
            return f"dict[str, {annotation(kind.value)}]"
        case Nullable():
            return f"{annotation(kind.inner)} | None"
        case Text(choices=tuple() as choices):
            return f"Literal[{', '.join(map(repr, choices))}]"
        case Text():
            return "str"
        case Number():
            return "int" if kind.whole else "float"
        case Flag():
            return "bool"
        case Binary():
            return "bytes"
        case Series():
            return "Float64Series"


def _channels(contracts: Contracts) -> str:
    document = contracts.asyncapi
    limits = dict(document["x-limits"])
    codec = {name: limits.pop(name) for name in CODEC_LIMITS}
    operations = {
        operation: [
            contracts.asyncapi["components"]["messages"][name]["payload"]
            for name in _message_names(node)
        ]
        for operation, node in document["operations"].items()
        if node["channel"]["$ref"] == "#/channels/compute"
    }
    kinds = {
        name: (
            kind["type"],
            contracts.title_of(kind["input"]["$ref"], "asyncapi.yaml"),
            contracts.title_of(kind["result"]["$ref"], "asyncapi.yaml"),
        )
        for name, kind in document["x-kinds"].items()
    }
    sets = {
        operation: [contracts.title_of(payload["$ref"], "asyncapi.yaml") for payload in payloads]
        for operation, payloads in operations.items()
    }
    names = {title for titles in sets.values() for title in titles}
    names |= {title for _, *pair in kinds.values() for title in pair}
    queue = document["channels"]["computeTasks"]
    lines = [
        header("asyncapi.yaml"),
        '"""Channels, kinds and limits of the compute messages."""',
        "",
        "from collections.abc import Mapping",
        "from dataclasses import dataclass",
        "from types import MappingProxyType",
        "from typing import Literal",
        "",
        f"from gridpact.contracts.messages import {', '.join(sorted(names))}, TaskKind",
        "from gridpact.kit.wire import Limits, Message, MessageSet",
        "",
        f"CONTRACT_VERSION = {document['info']['version'].split('.')[0]}",
        "",
        "# What a reader accepts.",
        f"LIMITS = Limits({', '.join(f'{name}={value:_}' for name, value in codec.items())})",
        *(f"{name.upper()} = {value:_}" for name, value in limits.items()),
        "",
        *remark(queue["description"]),
        f"QUEUE_ADDRESS = {queue['address']!r}",
        f"QUEUE_ENGINES = {tuple(queue['parameters']['engine']['enum'])!r}",
        *(f"QUEUE_{key.upper()} = {value!r}" for key, value in queue["x-queue"].items()),
        "",
        *remark(document["channels"]["compute"]["description"]),
        f"COMPUTE_ADDRESS = {document['channels']['compute']['address']!r}",
        "",
    ]
    for operation, titles in sets.items():
        summary = document["operations"][operation]["summary"]
        lines += [
            *remark(summary),
            f"{constant_name(operation[0].upper() + operation[1:])}: "
            f"MessageSet[{' | '.join(titles)}] = MessageSet({', '.join(titles)})",
            "",
        ]
    lines += [
        "@dataclass(frozen=True, slots=True)",
        "class Kind:",
        '    """What a task computes, and the types of its input and its result."""',
        "",
        "    name: TaskKind",
        f"    type: Literal[{', '.join(sorted({repr(kind) for kind, *_ in kinds.values()}))}]",
        "    input: type[Message]",
        "    result: type[Message]",
        "",
        "KINDS: Mapping[str, Kind] = MappingProxyType({",
        *(
            f"    {name!r}: Kind({name!r}, {kind!r}, {given}, {result}),"
            for name, (kind, given, result) in kinds.items()
        ),
        "})",
    ]
    return "\n".join(lines)


CODEC_LIMITS = ("message_bytes", "decoded_bytes", "depth", "string_bytes", "container_items")


def _message_names(operation: dict[str, Any]) -> list[str]:
    return [message["$ref"].rpartition("/")[2] for message in operation["messages"]]


__all__ = ["Files", "annotation", "emit", "message_definitions", "rule_call"]
