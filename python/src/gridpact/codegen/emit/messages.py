"""MsgPack messages for Python: ``contracts/{shapes,messages,channels}.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from gridpact.codegen.documents import ContractFault, Contracts, Json
from gridpact.codegen.emit.output import (
    PYTHON,
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
    Numeric,
    Object,
    Series,
    Text,
    Type,
    Union,
    constant,
)
from gridpact.kit.shapes import Binary

SOURCE = "asyncapi.yaml and contracts/schemas/"

# Written by hand in gridpact.kit, because the checks themselves need them.
PROVIDED = {"Violation": "gridpact.kit.violation", "Float64Series": "gridpact.kit.series"}

RULES = {
    "at-most": "AtMost",
    "before": "Before",
    "contains": "Contains",
    "convex": "Convex",
    "disjoint": "Disjoint",
    "fits": "Fits",
    "increasing": "Increasing",
    "last-equals": "LastEquals",
    "length-equals": "LengthEquals",
    "not-all-zero": "NotAllZero",
    "must-run-can-start": "MustRunCanStart",
    "refers-to": "RefersTo",
    "spans": "Spans",
    "unique": "Unique",
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


def emit(contracts: Contracts, model: Model) -> dict[PurePosixPath, bytes]:
    definitions = message_definitions(contracts, model)
    return {
        PYTHON / "shapes.py": _shapes(definitions).encode(),
        PYTHON / "messages.py": _messages(definitions).encode(),
        PYTHON / "channels.py": _channels(contracts, model).encode(),
    }


def _shapes(definitions: list[Definition]) -> str:
    lines = [
        header(SOURCE),
        '"""What each message and each value in it must be: see gridpact.kit.shapes."""',
        "",
        "from gridpact.kit.shapes import (",
        "    Binary, Field, Flag, ListOf, Numeric, Record, Series, Text",
        ")",
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
    options = f', tag_field="{tag.name}", tag="{constant(tag)}"' if tag else ""
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


def _member_annotation(member: Member) -> str:
    kind = annotation(member.type)
    if member.required:
        return kind
    if member.default is ABSENT:
        return f"{kind} | UnsetType = UNSET"
    return f"{kind} = {default_of(member)}"


def default_of(member: Member) -> str:
    """The default as Python source: a float field has a float default."""
    if isinstance(member.type, Numeric) and not member.type.whole:
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
        case Numeric():
            return "int" if kind.whole else "float"
        case Flag():
            return "bool"
        case Binary():
            return "bytes"
        case Series():
            return "Float64Series"


@dataclass(frozen=True)
class Operation:
    """What one side sends the other over the compute channel."""

    constant: str
    summary: str
    messages: tuple[tuple[str, str], ...]  # tag and type of each


@dataclass(frozen=True)
class TaskKind:
    """A kind of task, and the types of its input and its result."""

    name: str
    type: str
    summary: str
    input: str
    result: str
    affinity: str | None
    priority: str
    concurrency: int | None


class Channels:
    """What asyncapi.yaml says beyond the message types."""

    def __init__(self, contracts: Contracts, model: Model) -> None:
        document = contracts.asyncapi
        self.version = document["info"]["version"].split(".")[0]
        self.limits: dict[str, int] = document["x-limits"]
        self.queue: Json = document["channels"]["computeTasks"]
        self.compute: Json = document["channels"]["compute"]
        self.kinds = [
            TaskKind(
                name,
                kind["type"],
                kind["summary"],
                contracts.title_of(kind["input"]["$ref"], "asyncapi.yaml"),
                contracts.title_of(kind["result"]["$ref"], "asyncapi.yaml"),
                kind.get("affinity"),
                kind.get("priority", "normal"),
                kind.get("concurrency"),
            )
            for name, kind in document["x-kinds"].items()
        ]
        self.operations: list[Operation] = []
        for name, node in document["operations"].items():
            if node["channel"]["$ref"] != "#/channels/compute":
                continue
            messages = document["components"]["messages"]
            names = [message["$ref"].rpartition("/")[2] for message in node["messages"]]
            titles = [
                contracts.title_of(messages[key]["payload"]["$ref"], "asyncapi.yaml")
                for key in names
            ]
            constant = constant_name(name[0].upper() + name[1:])
            tagged = tuple((model.tag_of(title), title) for title in titles)
            self.operations.append(Operation(constant, node["summary"], tagged))


def _channels(contracts: Contracts, model: Model) -> str:
    channels = Channels(contracts, model)
    codec = {name: channels.limits[name] for name in CODEC_LIMITS}
    other = {name: value for name, value in channels.limits.items() if name not in codec}
    names = {title for operation in channels.operations for _, title in operation.messages}
    names |= {title for kind in channels.kinds for title in (kind.input, kind.result)}
    types = sorted({repr(kind.type) for kind in channels.kinds})
    queue = channels.queue
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
        f"CONTRACT_VERSION = {channels.version}",
        "",
        "# What a reader accepts.",
        f"LIMITS = Limits({', '.join(f'{name}={value:_}' for name, value in codec.items())})",
        *(f"{name.upper()} = {value:_}" for name, value in other.items()),
        "",
        *remark(queue["description"]),
        f"QUEUE_ADDRESS = {queue['address']!r}",
        f"QUEUE_ENGINES = {tuple(queue['parameters']['engine']['enum'])!r}",
        *(f"QUEUE_{key.upper()} = {value!r}" for key, value in queue["x-queue"].items()),
        "",
        *remark(channels.compute["description"]),
        f"COMPUTE_ADDRESS = {channels.compute['address']!r}",
        "",
    ]
    for operation in channels.operations:
        titles = [title for _, title in operation.messages]
        lines += [
            *remark(operation.summary),
            f"{operation.constant}: MessageSet[{' | '.join(titles)}] = (",
            f"    MessageSet({', '.join(titles)})",
            ")",
            "",
        ]
    lines += [
        "@dataclass(frozen=True, slots=True)",
        "class Kind:",
        '    """What a task computes, and the types of its input and its result.',
        "",
        "    ``affinity`` is the member of the input that says which tasks share a model,",
        "    ``concurrency`` how many a bridge has at work at once (None: as many as workers).",
        '    """',
        "",
        "    name: TaskKind",
        f"    type: Literal[{', '.join(types)}]",
        "    input: type[Message]",
        "    result: type[Message]",
        "    affinity: str | None = None",
        '    priority: Literal["urgent", "normal"] = "normal"',
        "    concurrency: int | None = None",
        "",
        "KINDS: Mapping[str, Kind] = MappingProxyType({",
        *(
            f"    {kind.name!r}: Kind({kind.name!r}, {kind.type!r}, {kind.input}, {kind.result}"
            + (f", affinity={kind.affinity!r}" if kind.affinity else "")
            + (f", priority={kind.priority!r}" if kind.priority != "normal" else "")
            + (f", concurrency={kind.concurrency}" if kind.concurrency else "")
            + "),"
            for kind in channels.kinds
        ),
        "})",
    ]
    return "\n".join(lines)


CODEC_LIMITS = (
    "message_bytes",
    "decoded_bytes",
    "depth",
    "string_bytes",
    "container_items",
    "values",
)
