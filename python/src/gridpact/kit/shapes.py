"""Shapes: what a schema says of a value, and the check that names everything that breaks it.

A shape checks a *plain* value (what MsgPack or JSON decode to) as well as a built message. The
generated contracts hold the shapes; julia/src/wire/shapes.jl is the same vocabulary in Julia, and
both give the same field and rule for the same value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Protocol

import numpy as np
from msgspec import UNSET, Struct

from gridpact.kit.series import Float64Series
from gridpact.kit.violation import Violation


class Shape(Protocol):
    """What every shape can do."""

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        """Appends to ``found`` every rule that ``value``, which stands at ``field``, breaks."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A text; lengths count Unicode code points. ``choices`` are the only texts allowed."""

    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    choices: tuple[str, ...] | None = None

    def holds_all(self, values: list[Any]) -> bool:
        """Whether all are among the choices; False also says that there are none to choose from."""
        choices = self.choices
        return choices is not None and all(value in choices for value in values)

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        if not isinstance(value, str):
            found.append(wrong_type(field, "a text", value))
            return
        if self.choices is not None:
            if value not in self.choices:
                found.append(Violation(field, "enum", f"must be {_one_of(self.choices)}"))
            return
        if len(value) < self.min_length:
            message = f"must have at least {self.min_length} characters; it has {len(value)}"
            found.append(Violation(field, "min-length", message))
        if self.max_length is not None and len(value) > self.max_length:
            message = f"must have at most {self.max_length} characters; it has {len(value)}"
            found.append(Violation(field, "max-length", message))
        if self.pattern is not None and not compiled(self.pattern).search(value):
            found.append(Violation(field, "pattern", f"must match {self.pattern}"))
        elif self.format == "date-time" and not is_instant(value):
            found.append(Violation(field, "format", "must be a time that exists"))


@dataclass(frozen=True, slots=True)
class Numeric:
    """A finite number; ``whole`` takes integers only, and 51.0 is one."""

    whole: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[float, ...] | None = None

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        kind = "a whole number" if self.whole else "a number"
        if not is_number(value) or (self.whole and value != int(value)):
            found.append(wrong_type(field, kind, value))
        elif self.choices is not None and value not in self.choices:
            found.append(
                Violation(field, "enum", f"must be {_one_of(self.choices)}; it is {value}")
            )
        elif self.minimum is not None and value < self.minimum:
            found.append(_bound(field, "minimum", "at least", self.minimum, value))
        elif self.above is not None and value <= self.above:
            found.append(_bound(field, "exclusive-minimum", "more than", self.above, value))
        elif self.maximum is not None and value > self.maximum:
            found.append(_bound(field, "maximum", "at most", self.maximum, value))
        elif self.below is not None and value >= self.below:
            found.append(_bound(field, "exclusive-maximum", "less than", self.below, value))


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false; no number is one."""

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        if not isinstance(value, bool):
            found.append(wrong_type(field, "true or false", value))


@dataclass(frozen=True, slots=True)
class Binary:
    """Bytes, at most ``max_bytes``."""

    max_bytes: int | None = None

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        if not isinstance(value, bytes):
            found.append(wrong_type(field, "bytes", value))
        elif self.max_bytes is not None and len(value) > self.max_bytes:
            message = f"must have at most {self.max_bytes} bytes; it has {len(value)}"
            found.append(Violation(field, "max-length", message))


@dataclass(frozen=True, slots=True)
class Series:
    """A Float64 series: the extension value, a list of numbers, or the bytes as ``bin``."""

    min_items: int = 0
    max_items: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        if isinstance(value, bytes):
            if len(value) % 8:
                message = f"must have a multiple of 8 bytes; it has {len(value)}"
                found.append(Violation(field, "type", message))
                return
            items = np.frombuffer(value, "<f8")
        elif isinstance(value, Float64Series):
            items = np.asarray(value)
        elif isinstance(value, list):
            wrong = [i for i, item in enumerate(value) if not is_number(item)]
            if wrong:
                found.append(wrong_type(f"{field}[{wrong[0]}]", "a number", value[wrong[0]]))
                return
            items = np.array(value, dtype=np.float64)
        else:
            found.append(wrong_type(field, "a series of numbers", value))
            return
        _check_count(len(items), self.min_items, self.max_items, field, found)
        if not len(items):
            return
        lowest, highest = float(items.min()), float(items.max())
        if not math.isfinite(lowest) or not math.isfinite(highest):
            at = int(np.flatnonzero(~np.isfinite(items))[0])
            found.append(wrong_type(f"{field}[{at}]", "a number", math.nan))
        elif self.minimum is not None and lowest < self.minimum:
            at = f"{field}[{int(items.argmin())}]"
            found.append(_bound(at, "minimum", "at least", self.minimum, lowest))
        elif self.maximum is not None and highest > self.maximum:
            at = f"{field}[{int(items.argmax())}]"
            found.append(_bound(at, "maximum", "at most", self.maximum, highest))


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose items all have one shape."""

    items: Shape
    min_items: int = 0
    max_items: int | None = None

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        if not isinstance(value, list):
            found.append(wrong_type(field, "a list", value))
            return
        _check_count(len(value), self.min_items, self.max_items, field, found)
        if isinstance(self.items, Text) and self.items.holds_all(value):
            return  # one word a slot: too many to name each place beforehand
        for i, item in enumerate(value):
            self.items.check(item, f"{field}[{i}]", found)


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a record."""

    name: str
    shape: Shape
    required: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """Named members; members that it does not name are ignored."""

    fields: tuple[Field, ...]

    def check(self, value: Any, field: str, found: list[Violation]) -> None:
        members = members_of(value)
        if members is None:
            found.append(wrong_type(field, "an object", value))
            return
        for member in self.fields:
            at = f"{field}.{member.name}" if field else member.name
            if member.name in members:
                member.shape.check(members[member.name], at, found)
            elif member.required:
                found.append(Violation(at, "required", "is required"))


def members_of(value: Any) -> dict[str, Any] | None:
    """The members that are present in a plain map or a built message; None for anything else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Struct):
        return None
    members = {name: getattr(value, name) for name in value.__struct_fields__}
    present = {name: member for name, member in members.items() if member is not UNSET}
    tag_field, tag = value.__struct_config__.tag_field, value.__struct_config__.tag
    return present if tag_field is None else {tag_field: tag, **present}


def wrong_type(field: str, expected: str, value: Any) -> Violation:
    """The violation of a value that is something else altogether."""
    return Violation(field, "type", f"must be {expected}; it is {_name_of(value)}")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that the wire can carry; a bool is none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64


def is_instant(text: str) -> bool:
    """Whether a text that matches the pattern of Instant names a time that exists."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of a contract, where ``$`` means the end and nothing else, as in JSON Schema."""
    return re.compile(re.sub(r"(?<!\\)\$(?=$|\))", r"\\Z", pattern))


def _check_count(
    count: int, least: int, most: int | None, field: str, found: list[Violation]
) -> None:
    if count < least:
        found.append(Violation(field, "min-items", f"must have at least {least}; it has {count}"))
    elif most is not None and count > most:
        found.append(Violation(field, "max-items", f"must have at most {most}; it has {count}"))


def _bound(field: str, rule: str, words: str, limit: float, value: float) -> Violation:
    return Violation(field, rule, f"must be {words} {number(limit)}; it is {number(value)}")


def number(value: float) -> str:
    """A number as people write it: 5 rather than 5.0."""
    if isinstance(value, int):
        # More digits than a double has, or than Python wants to print, help nobody.
        return str(value) if abs(value) < 10**16 else f"about 10^{round(math.log10(abs(value)))}"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _one_of(choices: Sequence[object]) -> str:
    return "one of " + ", ".join(map(str, choices)) if len(choices) > 1 else str(choices[0])


def _name_of(value: Any) -> str:
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return str(value)
        case str():
            return "a text"
        case bytes():
            return "bytes"
        case list():
            return "a list"
        case Float64Series():
            return "a series"
        case _:
            return "an object"
