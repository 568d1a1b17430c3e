"""MsgPack messages for Julia: ``julia/src/contracts/{shapes,messages,codecs,channels}.jl``."""

from __future__ import annotations

from pathlib import PurePosixPath

from gridpact.codegen.documents import ContractFault, Contracts, Json
from gridpact.codegen.emit.julia_rules import resolved, rule_check, ruled_when_large
from gridpact.codegen.emit.messages import (
    PROVIDED,
    RULES,
    Channels,
    message_definitions,
)
from gridpact.codegen.emit.output import JULIA, constant_name, header, remark
from gridpact.codegen.emit.shapes import alias_shape, julia_literal, record_of
from gridpact.codegen.model import (
    ABSENT,
    Alias,
    Definition,
    Flag,
    Items,
    Member,
    Model,
    Named,
    Numeric,
    Object,
    Series,
    Text,
    Type,
    constant,
)
from gridpact.kit.shapes import Binary

SOURCE = "asyncapi.yaml and contracts/schemas/"


def emit(contracts: Contracts, model: Model) -> dict[PurePosixPath, bytes]:
    definitions = message_definitions(contracts, model)
    return {
        JULIA / "shapes.jl": _shapes(definitions).encode(),
        JULIA / "messages.jl": _messages(definitions, model).encode(),
        JULIA / "codecs.jl": _codecs(definitions, model).encode(),
        JULIA / "channels.jl": _channels(contracts, model).encode(),
    }


def _shapes(definitions: list[Definition]) -> str:
    lines = [
        header(SOURCE),
        '"What each message and each value in it must be: see wire/shapes.jl."',
        "module ContractShapes",
        "",
        "using ..Shapes: Binary, Field, Flag, ListOf, Numeric, Record, Series, Text",
        "",
    ]
    for definition in definitions:
        name = constant_name(definition.title)
        if isinstance(definition, Alias):
            lines.append(f"const {name} = {alias_shape(definition, julia_literal)}")
        elif isinstance(definition, Object):
            members = record_of(definition, julia_literal, ",\n    ")
            lines += [f"const {name} = Record([", f"    {members},", "])"]
    return "\n".join([*lines, "", "end", ""])


def _messages(definitions: list[Definition], model: Model) -> str:
    lines = [header(SOURCE)]
    for definition in definitions:
        if isinstance(definition, Object):
            if definition.title not in PROVIDED:
                lines += _struct(definition, model)
            lines += _methods(definition)
    return "\n".join(lines)


def _codecs(definitions: list[Definition], model: Model) -> str:
    objects = [definition for definition in definitions if isinstance(definition, Object)]
    large = ruled_when_large(definitions, model)
    lines = [
        header(SOURCE),
        '"Messages from and to their bytes: see wire/reading.jl and wire/writing.jl."',
        "module Codecs",
        "",
        "# Most of a large message is read here, and the compiler takes little longer for it.",
        "Base.Experimental.@optlevel 2",
        "",
        "import ..ContractShapes, ..NameTables, ..Reading, ..Rules, ..Writing",
        "import ..keeps_rules, ..rules_of",
        *(f"import ..{definition.title}" for definition in objects),
        "",
    ]
    for definition in objects:
        lines += [*_reader(definition, model), "", *_writer(definition), ""]
        if definition.title in large:
            lines += [*rule_check(definition, model), ""]
    return "\n".join([*lines, "end", ""])


def _struct(definition: Object, model: Model) -> list[str]:
    lines = ['"""', f"    {definition.title}", ""]
    lines += [line[1:] for line in remark(_escaped(definition.description), comment="")]
    lines += ['"""', f"Base.@kwdef struct {definition.title} <: Message"]
    for member in _stored(definition):
        lines += remark(member.description, "    ")
        lines.append(f"    {member.name}::{_member_type(member, model)}{_default(member)}")
    return [*(line.rstrip() for line in lines), "end", ""]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("$", "\\$")


def _stored(definition: Object) -> list[Member]:
    """The members that a struct holds: all but the constant that tells its type."""
    return [member for member in definition.members if constant(member) is None]


def _member_type(member: Member, model: Model) -> str:
    kind = _julia_type(member.type, model)
    absent = not member.required and member.default is ABSENT
    return f"Union{{Nothing,{kind}}}" if absent else kind


def _default(member: Member) -> str:
    if member.required:
        return ""
    return " = nothing" if member.default is ABSENT else f" = {_value(member)}"


def _value(member: Member) -> str:
    """The default as Julia source, of the member's own type."""
    match member.type, member.default:
        case Numeric(whole=False), int() | float() as number:
            return repr(float(number))
        case Items(item=Named(title=title)), []:
            return f"{title}[]"
        case Items(), default:
            raise ContractFault(f"{member.name}: no Julia form for the default {default}")
        case _, default:
            return julia_literal(default)


def _julia_type(kind: Type, model: Model) -> str:
    match kind:
        case Named():
            target = model.definitions[kind.title]
            return _julia_type(target.type, model) if isinstance(target, Alias) else kind.title
        case Items():
            return f"Vector{{{_julia_type(kind.item, model)}}}"
        case Text():
            return "String"
        case Numeric():
            return "Int" if kind.whole else "Float64"
        case Flag():
            return "Bool"
        case Binary():
            return "Vector{UInt8}"
        case Series():
            return "Vector{Float64}"
        case _:
            raise ContractFault(f"messages cannot carry {kind}")


def _methods(definition: Object) -> list[str]:
    title = definition.title
    lines = [f"shape_of(::Type{{{title}}}) = ContractShapes.{constant_name(title)}"]
    if definition.tag is not None:
        if definition.tag.name != "type":
            raise ContractFault(f"{title}: the constant that tells a message is its `type`")
        lines.append(f'tag_of(::Type{{{title}}}) = "{constant(definition.tag)}"')
    if definition.rules:
        rules = f"RULES_OF_{constant_name(title)}"
        lines.append(f"const {rules} = Rules.Rule[")
        lines += [f"    {_rule(rule)}," for rule in definition.rules]
        lines += ["]", f"rules_of(::Type{{{title}}}) = {rules}"]
    return [*lines, ""]


# The bits of the members that a map has had are kept in one Int.
_MOST_MEMBERS = 62


def _reader(definition: Object, model: Model) -> list[str]:
    """The method of ``Reading.read_map``: see julia/src/wire/reading.jl."""
    title, members = definition.title, definition.members
    if len(members) > _MOST_MEMBERS:
        raise ContractFault(f"{title} has {len(members)} members, at most {_MOST_MEMBERS} are read")
    lines = [
        f"function Reading.read_map(its::Reading.Reader, ::Type{{{title}}})",
        f"    record, seen, at = ContractShapes.{constant_name(title)}, 0, 0",
    ]
    lines += [f"    {member.name} = {_initial(member, model)}" for member in _stored(definition)]
    lines += [
        "    opened, count = Reading.open_map!(its)",
        "    for _ in 1:count",
        "        at = Reading.key!(its, record, at, seen, opened)",
        "        seen |= 1 << at",
    ]
    for number, member in enumerate(members, 1):
        word = "if" if number == 1 else "elseif"
        read = _read(member.type, number, model)
        target = "" if constant(member) else f"{member.name} = "
        lines += [f"        {word} at == {number}", f"            {target}{read}"]
    required = sum(1 << number for number, member in enumerate(members, 1) if member.required)
    arguments = ", ".join(_argument(member, model) for member in _stored(definition))
    return [
        *lines,
        "        end",
        "    end",
        f"    Reading.close_map!(its, seen, {required})",
        f"    return {title}({arguments})",
        "end",
    ]


def _initial(member: Member, model: Model) -> str:
    """What a member is until it is read; of its own type where that costs nothing."""
    match resolved(member.type, model):
        case Text() | Numeric() | Flag() as leaf:
            if not member.required:
                return "nothing" if member.default is ABSENT else _value(member)
            if isinstance(leaf, Text):
                return '""'
            return "false" if isinstance(leaf, Flag) else "0" if leaf.whole else "0.0"
        case _:
            return "nothing"


def _argument(member: Member, model: Model) -> str:
    """What the constructor gets: the member as read, or its default."""
    leaf = resolved(member.type, model)
    if isinstance(leaf, Text | Numeric | Flag):
        return member.name
    if member.required:
        return f"{member.name}::{_julia_type(member.type, model)}"
    if member.default is ABSENT:
        return member.name
    return f"{member.name} === nothing ? {_value(member)} : {member.name}"


def _read(kind: Type, number: int, model: Model) -> str:
    """The expression that reads member ``number`` of a record."""
    match resolved(kind, model):
        case Named(title=title):
            return f"Reading.read_map(its, {title})"
        case Items(item=item):
            return f"Reading.list!(its, {_julia_type(item, model)}, record, {number})"
        case Text():
            return f"Reading.text!(its, record, {number})"
        case Numeric(whole=whole):
            return f"Reading.{'whole' if whole else 'number'}!(its, record, {number})"
        case Flag():
            return f"Reading.flag!(its, record, {number})"
        case Binary():
            return f"Reading.binary!(its, record, {number})"
        case Series():
            return f"Reading.series!(its, record, {number})"
        case other:
            raise ContractFault(f"messages cannot carry {other}")


def _writer(definition: Object) -> list[str]:
    """The method of ``Writing.write_map``: see julia/src/wire/writing.jl."""
    title = definition.title
    absent = [m for m in definition.members if not m.required and m.default is ABSENT]
    others = "".join(f" + (its.{member.name} !== nothing)" for member in absent)
    lines = [
        f"function Writing.write_map(out::Writing.Writer, its::{title})",
        f"    record = ContractShapes.{constant_name(title)}",
        f"    Writing.open_map!(out, {len(definition.members) - len(absent)}{others})",
    ]
    for number, member in enumerate(definition.members, 1):
        if constant(member):
            lines.append(f"    Writing.tag!(out, record, {number})")
        else:
            lines.append(f"    Writing.member!(out, record, {number}, its.{member.name})")
    return [*lines, "    return nothing", "end"]


def _rule(rule: Json) -> str:
    given = [f"{key} = {julia_literal(value)}" for key, value in rule.items() if key != "rule"]
    return f"Rules.{RULES[rule['rule']]}(; {', '.join(given)})"


def _channels(contracts: Contracts, model: Model) -> str:
    channels = Channels(contracts, model)
    limits = channels.limits
    lines = [
        header("asyncapi.yaml"),
        f"const CONTRACT_VERSION = {channels.version}",
        "",
        "# What a reader accepts.",
        "const LIMITS = MsgPack.Limits(",
        f"    max_bytes = {limits['decoded_bytes']}, max_depth = {limits['depth']},",
        f"    max_text_bytes = {limits['string_bytes']}, max_items = {limits['container_items']},",
        f"    max_values = {limits['values']},",
        ")",
        *(f"const {name.upper()} = {value}" for name, value in limits.items()),
        "",
        *remark(channels.compute["description"]),
        f'const COMPUTE_ADDRESS = "{channels.compute["address"]}"',
        "",
    ]
    for operation in channels.operations:
        lines += [
            *remark(operation.summary),
            f"const {operation.constant} = (",
            *(f'    "{tag}" => {title},' for tag, title in operation.messages),
            ")",
            "",
        ]
    lines += ["# The input and the result of each kind of task.", "const KINDS = ("]
    lines += [
        f'    "{kind.name}" => (input = {kind.input}, result = {kind.result}),'
        for kind in channels.kinds
    ]
    return "\n".join([*lines, ")", ""])
