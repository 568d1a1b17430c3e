"""Shapes as constructor calls, which Python and Julia write alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields

from gridpact.codegen.documents import ContractFault
from gridpact.codegen.emit.output import constant_name
from gridpact.codegen.model import Alias, Items, Leaf, Mapping, Named, Nullable, Object, Type

Literal = Callable[[object], str]


def shape_of(kind: Type, literal: Literal) -> str:
    """The expression that makes the shape of a type."""
    match kind:
        case Named():
            return constant_name(kind.title)
        case Items():
            return _call(
                "ListOf",
                [shape_of(kind.item, literal)],
                {"min_items": kind.min_items or None, "max_items": kind.max_items},
                literal,
            )
        case Mapping() | Nullable():
            raise ContractFault(f"messages cannot carry {kind}; use an object with named members")
        case _:
            return _leaf(kind, literal)


def record_of(definition: Object, literal: Literal, separator: str) -> str:
    """The expression that makes the record of an object."""
    if definition.least_members or definition.most_members is not None:
        raise ContractFault(f"{definition.title}: messages do not know minProperties")
    lines = [
        _call(
            "Field",
            [literal(member.name), shape_of(member.type, literal)],
            {} if member.required else {"required": False},
            literal,
        )
        for member in definition.members
    ]
    return separator.join(lines)


def alias_shape(definition: Alias, literal: Literal) -> str:
    return shape_of(definition.type, literal)


def _leaf(kind: Leaf, literal: Literal) -> str:
    given = {
        field.name: getattr(kind, field.name)
        for field in fields(kind)
        if getattr(kind, field.name) != field.default
    }
    return _call(type(kind).__name__, [], given, literal)


def _call(name: str, positional: list[str], given: dict[str, object], literal: Literal) -> str:
    named = [f"{key}={literal(value)}" for key, value in given.items() if value is not None]
    return f"{name}({', '.join([*positional, *named])})"


def python_literal(value: object) -> str:
    return repr(value)


def julia_literal(value: object) -> str:
    """A value as Julia source."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("$", "\\$")
        case tuple() | list():
            return f"[{', '.join(map(julia_literal, value))}]"
        case _:
            return repr(value)
