"""``x-rules`` as Julia code that looks only whether they are kept, for what may be large.

What breaks a rule is found by ``Rules.check!``, which follows paths at run time and puts places
into words. Where lists are short that costs nothing; compiling code for each rule when a worker
starts would cost more. So code is made for what holds lists of many objects, and for those objects;
and a rule that has no form here is checked the other way.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.codegen.documents import Json
from gridpact.codegen.model import (
    ABSENT,
    Alias,
    Definition,
    Items,
    Member,
    Model,
    Named,
    Object,
    Text,
    Type,
)

# A list that may have more objects than this is long.
_LONG = 1000


def ruled_when_large(definitions: list[Definition], model: Model) -> frozenset[str]:
    """The titles of the objects for which ``rule_check`` makes code.

    ``definitions`` stand each after what it refers to.
    """
    objects = [definition for definition in definitions if isinstance(definition, Object)]
    holders: set[str] = set()
    for definition in objects:
        for member in definition.members:
            if _is_long(member.type, model) or _title(member.type, model) in holders:
                holders.add(definition.title)
    listed: set[str] = set()
    for definition in reversed(objects):
        for member in definition.members:
            inner = _title(member.type, model)
            if inner and (_is_long(member.type, model) or definition.title in listed):
                listed.add(inner)
    chosen = holders | listed
    return frozenset(d.title for d in objects if d.title in chosen and _is_ruled(d, model))


def _is_ruled(definition: Object, model: Model) -> bool:
    """Whether it has rules, or holds what has rules."""
    return bool(definition.rules) or any(_ruled(m, model) for m in definition.members)


def _is_long(kind: Type, model: Model) -> bool:
    return (
        isinstance(kind, Items)
        and _title(kind, model) is not None
        and (kind.max_items is None or kind.max_items > _LONG)
    )


def _title(kind: Type, model: Model) -> str | None:
    """The object that a value of this type is, or is a list of."""
    inner = kind.item if isinstance(kind, Items) else kind
    if isinstance(inner, Named) and isinstance(model.definitions[inner.title], Object):
        return inner.title
    return None


def rule_check(definition: Object, model: Model) -> list[str]:
    """The method of ``keeps_rules``."""
    check = _Check(definition, model)
    for number, rule in enumerate(definition.rules, 1):
        check.add(rule, number)
    for member in definition.members:
        if not _ruled(member, model):
            continue
        value = f"its.{member.name}"
        kept = (
            f"all(keeps_rules, {value})"
            if isinstance(member.type, Items)
            else f"keeps_rules({value})"
        )
        check.kept.append(f"({value} === nothing || {kept})" if _is_optional(member) else kept)
    return [
        f"function keeps_rules(its::{definition.title})",
        *(f"    {line}" for line in check.lines),
        *(f"    {condition} || return false" for condition in check.kept),
        "    return true",
        "end",
    ]


@dataclass(frozen=True)
class _Values:
    """What a path leads to: ``value`` of ``its``, or of each ``item`` of ``items``."""

    items: str | None
    value: str
    type: Type
    optional: bool


class _Check:
    """The lines of one method."""

    def __init__(self, definition: Object, model: Model) -> None:
        self._definition = definition
        self._model = model
        self._tables: dict[tuple[str, ...], str] = {}
        self.lines: list[str] = []
        self.kept: list[str] = []

    def add(self, rule: Json, number: int) -> None:
        kept = self._condition(rule)
        if kept is None:
            kept = f"Rules.keeps(rules_of({self._definition.title})[{number}], its)"
        self.kept.append(kept)

    def _condition(self, rule: Json) -> str | None:
        match rule:
            case {"rule": "at-most", "field": field, "limit": limit}:
                return self._compared("at_most", field, limit, str(float(rule.get("tolerance", 0))))
            case {"rule": "before", "field": field, "limit": limit}:
                return self._compared("before", field, limit)
            case {"rule": "not-all-zero", "fields": fields}:
                values = [self._scalar(path) for path in fields]
                if None in values:
                    return None
                tolerance = float(rule.get("tolerance", 0))
                zero = [f"abs({value}) <= {tolerance!r}" for value in values]
                return f"!({' && '.join(zero)})"
            case {"rule": "contains", "field": field, "value": str(value)}:
                found = self._values(field)
                if found is None or found.items is None:
                    return None
                return f'any(item -> {found.value} == "{value}", {found.items})'
            case {"rule": "unique", "fields": [first, second]} if "[]" not in first + second:
                one, other = self._scalar(first), self._scalar(second)
                return None if one is None or other is None else f"{one} != {other}"
            case {"rule": "unique", "fields": fields}:
                table = self._table(tuple(fields))
                return None if table is None else f"{table}.differ"
            case {"rule": "refers-to", "field": field, "to": to}:
                found, table = self._texts(field), self._table(tuple(to))
                if found is None or table is None:
                    return None
                return f"NameTables.refer(item -> {found.value}, {found.items}, {table})"
            case {"rule": "length-equals", "field": field, "count": count}:
                return self._counted(field, count, bool(rule.get("or_less")))
            case _:
                return None

    def _compared(self, function: str, field: str, limit: str, *others: str) -> str | None:
        low, high = self._values(field), self._values(limit)
        if low is None or high is None or low.items or high.items:
            return None
        return f"Rules.{function}({', '.join([low.value, high.value, *others])})"

    def _counted(self, field: str, count: str, or_less: bool) -> str | None:
        lists, wanted = self._values(field), self._values(count)
        if lists is None or wanted is None or wanted.items:
            return None
        arguments = f"{wanted.value}, {str(or_less).lower()}"
        if lists.items is None:
            return f"Rules.has_length({lists.value}, {arguments})"
        return f"all(item -> Rules.has_length({lists.value}, {arguments}), {lists.items})"

    def _scalar(self, path: str) -> str | None:
        """The expression of one value that is always there."""
        found = self._values(path)
        return None if found is None or found.items or found.optional else found.value

    def _texts(self, path: str) -> _Values | None:
        found = self._values(path)
        is_text = found is not None and isinstance(found.type, Text) and found.items is not None
        return found if is_text else None

    def _table(self, paths: tuple[str, ...]) -> str | None:
        """The local variable with the table of all names at these paths."""
        if paths in self._tables:
            return self._tables[paths]
        found = [texts for path in paths if (texts := self._texts(path)) is not None]
        if len(found) != len(paths):
            return None
        name = f"names_{len(self._tables) + 1}"
        self._tables[paths] = name
        self.lines.append(f"{name} = NameTables.NameTable()")
        self.lines += [
            f"NameTables.add!(item -> {texts.value}, {name}, {texts.items})" for texts in found
        ]
        return name

    def _values(self, path: str) -> _Values | None:
        """Where the path leads; None where it goes through lists of lists or what may be absent."""
        definition, items, value = self._definition, None, "its"
        steps = path.split(".")
        for depth, step in enumerate(steps, 1):
            member = next(m for m in definition.members if m.name == step.removesuffix("[]"))
            value += f".{member.name}"
            kind, is_last = resolved(member.type, self._model), depth == len(steps)
            if step.endswith("[]"):
                if items is not None or _is_optional(member) or not isinstance(kind, Items):
                    return None
                items, value, kind = value, "item", resolved(kind.item, self._model)
                if is_last:
                    return _Values(items, value, kind, optional=False)
            elif is_last:
                return _Values(items, value, kind, _is_optional(member))
            elif _is_optional(member):
                return None
            if not isinstance(kind, Named):
                return None
            target = self._model.definitions[kind.title]
            assert isinstance(target, Object)
            definition = target
        return None


def resolved(kind: Type, model: Model) -> Type:
    """The type itself where it is an alias."""
    if isinstance(kind, Named):
        target = model.definitions[kind.title]
        if isinstance(target, Alias):
            return resolved(target.type, model)
    return kind


def _is_optional(member: Member) -> bool:
    return not member.required and member.default is ABSENT


def _ruled(member: Member, model: Model) -> bool:
    title = _title(member.type, model)
    target = model.definitions[title] if title else None
    return isinstance(target, Object) and _is_ruled(target, model)
