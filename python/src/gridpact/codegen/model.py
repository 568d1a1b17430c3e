"""The contracts as types: what every emitter reads.

A :class:`Definition` is a titled schema. References stay names, so that each language can write
them in its own way; leaves are the shapes of ``gridpact.kit.shapes`` themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gridpact.codegen.documents import ContractFault, Contracts, Json
from gridpact.kit.shapes import Binary, Flag, Numeric, Series, Text

Leaf = Text | Numeric | Flag | Binary | Series


class Absent:
    """The default of a member that has none."""


ABSENT = Absent()


@dataclass(frozen=True)
class Named:
    """A reference to a definition."""

    title: str


@dataclass(frozen=True)
class Items:
    """A list."""

    item: Type
    min_items: int
    max_items: int | None


@dataclass(frozen=True)
class Mapping:
    """An object with any keys and values of one type."""

    value: Type
    max_members: int | None


@dataclass(frozen=True)
class Nullable:
    """A value or null."""

    inner: Type


Type = Leaf | Named | Items | Mapping | Nullable


@dataclass(frozen=True)
class Member:
    """A property of an object."""

    name: str
    type: Type
    required: bool
    default: object = ABSENT
    description: str = ""


@dataclass(frozen=True)
class Alias:
    """A titled scalar, such as Name or Instant."""

    title: str
    description: str
    type: Type


@dataclass(frozen=True)
class Object:
    """A titled object; ``tag`` is its member with a constant value, if it has one."""

    title: str
    description: str
    members: tuple[Member, ...]
    rules: tuple[Json, ...]
    least_members: int
    most_members: int | None

    @property
    def tag(self) -> Member | None:
        return next((member for member in self.members if constant(member) is not None), None)


@dataclass(frozen=True)
class Union:
    """One of several objects, told apart by the member ``tag`` (None: by their form)."""

    title: str
    description: str
    tag: str | None
    members: tuple[str, ...]


Definition = Alias | Object | Union


def constant(member: Member) -> str | None:
    """The only text that a required member may hold, if there is only one."""
    leaf = member.type
    if member.required and isinstance(leaf, Text) and leaf.choices and len(leaf.choices) == 1:
        return leaf.choices[0]
    return None


class Model:
    """Every definition of the contracts, by title."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self.definitions: dict[str, Definition] = {}
        for origin, schema in contracts.schemas.items():
            self._define(schema, origin)
        for schema in contracts.asyncapi["components"]["schemas"].values():
            self._define(schema, "asyncapi.yaml")

    def needed_by(self, titles: Iterator[str] | list[str]) -> list[Definition]:
        """These definitions and all that they refer to, each after what it refers to."""
        ordered: dict[str, Definition] = {}

        def visit(title: str) -> None:
            if title in ordered:
                return
            definition = self.definitions[title]
            for name in references(definition):
                visit(name)
            ordered[title] = definition

        for title in titles:
            visit(title)
        return list(ordered.values())

    def tag_of(self, title: str) -> str:
        """The text by which a union knows the object ``title``."""
        definition = self.definitions[title]
        if isinstance(definition, Object) and definition.tag is not None:
            tag = constant(definition.tag)
            assert tag is not None
            return tag
        raise ContractFault(f"{title} stands in a union but has no required member with a const")

    def _define(self, schema: Json, origin: str) -> None:
        title = schema.get("title")
        if not isinstance(title, str):
            raise ContractFault(f"contracts/{origin} has no title; name its type")
        if title in self.definitions:
            raise ContractFault(f"contracts/{origin}: the title {title} is taken; choose another")
        self.definitions[title] = self._definition(title, schema, origin)

    def _definition(self, title: str, schema: Json, origin: str) -> Definition:
        description = " ".join(str(schema.get("description", "")).split())
        for keyword in ("oneOf", "anyOf"):
            if keyword in schema:
                members = [
                    self._contracts.title_of(member["$ref"], origin) for member in schema[keyword]
                ]
                tag = schema.get("discriminator", {}).get("propertyName")
                return Union(title, description, tag, tuple(members))
        if schema.get("type") == "object" and ("properties" in schema or "allOf" in schema):
            return Object(
                title,
                description,
                tuple(self._members(schema, origin)),
                tuple(schema.get("x-rules", ())),
                schema.get("minProperties", 0),
                schema.get("maxProperties"),
            )
        return Alias(title, description, self._type(schema, origin))

    def _members(self, schema: Json, origin: str) -> Iterator[Member]:
        for base in schema.get("allOf", ()):
            name = "schemas/" + base["$ref"].rpartition("/")[2]
            yield from self._members(self._contracts.document(name), name)
        required = set(schema.get("required", ()))
        for name, node in schema.get("properties", {}).items():
            default = node.get("default", ABSENT)
            if "$ref" in node and default is ABSENT:
                default = self._target(node, origin).get("default", ABSENT)
            yield Member(
                name,
                self._type(node, origin),
                name in required,
                default,
                " ".join(str(node.get("description", "")).split()),
            )

    def _target(self, node: Json, origin: str) -> Json:
        """The schema that a reference means, its siblings laid over it."""
        file, _, pointer = node["$ref"].partition("#")
        path = f"schemas/{file.rpartition('/')[2]}" if file else origin
        target: Any = self._contracts.document(path)
        for part in [part for part in pointer.split("/") if part]:
            target = target[part]
        return target | {key: value for key, value in node.items() if key != "$ref"}

    def _type(self, node: Json, origin: str) -> Type:
        if "$ref" in node:
            if "x-items" in node:
                return self._type(self._target(node, origin), origin)
            return Named(self._contracts.title_of(node["$ref"], origin))
        kind = node.get("type")
        if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
            (inner,) = (name for name in kind if name != "null")
            return Nullable(self._type(node | {"type": inner}, origin))
        if node.get("x-wire") == "float64-series":
            bounds = node.get("x-items", {})
            return Series(
                node.get("minItems", 0),
                node.get("maxItems"),
                bounds.get("minimum"),
                bounds.get("maximum"),
            )
        if node.get("x-wire") == "bytes":
            return Binary(node.get("maxLength"))
        match kind:
            case "string":
                choices = [node["const"]] if "const" in node else node.get("enum")
                return Text(
                    node.get("minLength", 0),
                    node.get("maxLength"),
                    node.get("pattern"),
                    node.get("format"),
                    tuple(choices) if choices else None,
                )
            case "number" | "integer":
                return Numeric(
                    kind == "integer",
                    node.get("minimum"),
                    node.get("maximum"),
                    node.get("exclusiveMinimum"),
                    node.get("exclusiveMaximum"),
                    tuple(node["enum"]) if "enum" in node else None,
                )
            case "boolean":
                return Flag()
            case "array":
                item = self._type(node["items"], origin)
                return Items(item, node.get("minItems", 0), node.get("maxItems"))
            case "object" if isinstance(node.get("additionalProperties"), dict):
                value = self._type(node["additionalProperties"], origin)
                return Mapping(value, node.get("maxProperties"))
            case _:
                raise ContractFault(
                    f"contracts/{origin}: cannot make a type of {node}; give an object with "
                    "properties a schema file of its own"
                )


def references(definition: Definition) -> Iterator[str]:
    """The titles that a definition refers to."""
    match definition:
        case Alias():
            yield from _named(definition.type)
        case Object():
            for member in definition.members:
                yield from _named(member.type)
        case Union():
            yield from definition.members


def _named(kind: Type) -> Iterator[str]:
    match kind:
        case Named():
            yield kind.title
        case Items():
            yield from _named(kind.item)
        case Mapping():
            yield from _named(kind.value)
        case Nullable():
            yield from _named(kind.inner)
        case _:
            pass
