"""The vocabulary of ``x-rules``: what a schema demands beyond single values.

A rule reads the members of a built object (a message or a REST model) with its defaults filled in.
Paths are dotted; ``[]`` after a member means each of its items. julia/src/wire/rules.jl says the
same in Julia.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

from msgspec import UNSET, Struct

from gridpact.kit.shapes import number
from gridpact.kit.violation import Violation

# Rounding must not refuse what is exactly at a limit.
RELATIVE_TOLERANCE = 1e-9


class Rule(Protocol):
    """What every rule can do."""

    def check(self, value: Any) -> Iterator[Violation]:
        """The violations of ``value``, their fields relative to it."""
        ...


@dataclass(frozen=True, slots=True)
class AtMost:
    """``field`` must not exceed ``limit``; holds when either is absent. ``names`` is to blame.

    Where ``field`` leads to many values and ``limit`` to one, the one holds for each of them.
    ``tolerance`` is the part of the limit by which a measured value may be beyond it.
    """

    field: str
    limit: str
    names: str | None = None
    tolerance: float = 0.0

    def check(self, value: Any) -> Iterator[Violation]:
        for (field, low), (limit, high) in paired(value, self.field, self.limit):
            if low <= high * (1 + self.tolerance):
                continue
            if self.names is not None and self.names == self.limit:
                words = f"must be at least {number(low)} ({self.field}); it is {number(high)}"
                yield Violation(limit, "at-most", words)
            else:
                more = f" + {self.tolerance:.0%}" if self.tolerance else ""
                words = f"must be at most {number(high)}{more} ({self.limit}); it is {number(low)}"
                yield Violation(field, "at-most", words)


@dataclass(frozen=True, slots=True)
class Before:
    """``field`` must be less than ``limit``; holds when either is absent."""

    field: str
    limit: str

    def check(self, value: Any) -> Iterator[Violation]:
        for (field, low), (_, high) in paired(value, self.field, self.limit):
            if low >= high:
                words = f"must be less than {number(high)} ({self.limit}); it is {number(low)}"
                yield Violation(field, "before", words)


@dataclass(frozen=True, slots=True)
class Increasing:
    """Each value at ``field`` must exceed the one before it; ``or_equal`` lets it repeat."""

    field: str
    or_equal: bool = False

    def check(self, value: Any) -> Iterator[Violation]:
        for (_, low), (field, high) in pairwise(present(value, self.field)):
            if high < low or (high == low and not self.or_equal):
                relation = "at least" if self.or_equal else "greater than"
                words = f"must be {relation} {number(low)} (the one before); it is {number(high)}"
                yield Violation(field, "increasing", words)


@dataclass(frozen=True, slots=True)
class LastEquals:
    """The last value at ``field`` must be ``value``, the path of a number; rounding is forgiven."""

    field: str
    value: str

    def check(self, value: Any) -> Iterator[Violation]:
        values = list(present(value, self.field))
        for _, wanted in present(value, self.value):
            field, last = values[-1]
            if abs(last - wanted) > RELATIVE_TOLERANCE * max(1.0, abs(wanted)):
                words = (
                    f"must be {number(wanted)} ({self.value}), being the last; it is {number(last)}"
                )
                yield Violation(field, "last-equals", words)


@dataclass(frozen=True, slots=True)
class Disjoint:
    """The windows at ``field``, from ``start`` until before ``stop``, do not overlap, in order."""

    field: str
    start: str
    stop: str

    def check(self, value: Any) -> Iterator[Violation]:
        for (_, one), (field, next_one) in pairwise(present(value, self.field)):
            end, start = getattr(one, self.stop), getattr(next_one, self.start)
            if start < end:
                words = f"must be at least {number(end)} (the {self.stop} before it); it is {start}"
                yield Violation(f"{field}.{self.start}", "disjoint", words)


@dataclass(frozen=True, slots=True)
class Fits:
    """The list at ``field`` has no more items than there are from ``start`` until ``stop``."""

    field: str
    start: str
    stop: str

    def check(self, value: Any) -> Iterator[Violation]:
        for (field, items), (_, start), (_, end) in zip(
            present(value, self.field),
            present(value, self.start),
            present(value, self.stop),
            strict=True,
        ):
            if len(items) > end - start:
                words = (
                    f"must have at most {end - start} values (from {self.start} to {self.stop}); "
                )
                yield Violation(field, "fits", f"{words}it has {len(items)}")


@dataclass(frozen=True, slots=True)
class Convex:
    """The slope from point to point of each list at ``field`` must not fall.

    Where ``x`` does not increase there is no slope; that is for the rule ``increasing`` to say.
    """

    field: str
    x: str
    y: str

    def check(self, value: Any) -> Iterator[Violation]:
        for field, points in present(value, self.field):
            places = [(getattr(point, self.x), getattr(point, self.y)) for point in points]
            for i, ((x0, y0), (x1, y1), (x2, y2)) in enumerate(
                zip(places, places[1:], places[2:], strict=False), start=2
            ):
                if not x0 < x1 < x2:
                    continue
                least = y1 + (y1 - y0) / (x1 - x0) * (x2 - x1)
                if y2 < least - RELATIVE_TOLERANCE * max(1.0, abs(y1), abs(least)):
                    words = (
                        f"must be at least {number(least)}, so that the slope does not fall "
                        f"(convex); it is {number(y2)}"
                    )
                    yield Violation(f"{field}[{i}].{self.y}", "convex", words)


@dataclass(frozen=True, slots=True)
class Spans:
    """The values at ``field`` must begin with ``first`` and end with ``last``."""

    field: str
    first: str
    last: str

    def check(self, value: Any) -> Iterator[Violation]:
        found = list(present(value, self.field))
        if not found:
            return
        for (field, item), limit in ((found[0], self.first), (found[-1], self.last)):
            for _, wanted in present(value, limit):
                if abs(item - wanted) > RELATIVE_TOLERANCE * max(1.0, abs(wanted)):
                    words = f"must be {number(wanted)} ({limit}); it is {number(item)}"
                    yield Violation(field, "spans", words)


@dataclass(frozen=True, slots=True)
class MustRunCanStart:
    """A thermal unit that must run must be on, or have been off long enough to start at once."""

    field: str

    def check(self, value: Any) -> Iterator[Violation]:
        if not value.must_run or any(present(value, "initial_power_mw")):
            return
        missing_h = value.min_down_time_h - value.initial_duration_h
        if missing_h > RELATIVE_TOLERANCE * max(1.0, value.min_down_time_h):
            words = (
                f"must be false: the unit is off, and may not start before it has been off for "
                f"{number(value.min_down_time_h)} h (min_down_time_h); it has been for "
                f"{number(value.initial_duration_h)} h (initial_duration_h)"
            )
            yield Violation(self.field, "must-run-can-start", words)


@dataclass(frozen=True, slots=True)
class RefersTo:
    """Each value at ``field`` must be one of those found at the paths ``to``."""

    field: str
    to: tuple[str, ...]

    def check(self, value: Any) -> Iterator[Violation]:
        known = {item for path in self.to for _, item in present(value, path)}
        for field, item in present(value, self.field):
            if item not in known:
                words = f"must be one of {', '.join(self.to)}; it is {item!r}"
                yield Violation(field, "refers-to", words)


@dataclass(frozen=True, slots=True)
class LengthEquals:
    """Each list at ``field`` must have as many items as the number or the list ``count`` says.

    ``or_less`` lets it have less.
    """

    field: str
    count: str
    or_less: bool = False

    def check(self, value: Any) -> Iterator[Violation]:
        for _, found in present(value, self.count):
            count = found if isinstance(found, int) else len(found)
            for field, items in present(value, self.field):
                if len(items) > count or (len(items) < count and not self.or_less):
                    most = "at most " if self.or_less else ""
                    words = f"must have {most}{count} values ({self.count}); it has {len(items)}"
                    yield Violation(field, "length-equals", words)


@dataclass(frozen=True, slots=True)
class Unique:
    """No value may occur twice, all ``fields`` taken together."""

    fields: tuple[str, ...]

    def check(self, value: Any) -> Iterator[Violation]:
        first_at: dict[Any, str] = {}
        for field, item in (found for path in self.fields for found in present(value, path)):
            taken_at = first_at.setdefault(item, field)
            if taken_at != field:
                words = f"must differ from {taken_at}; both are {item!r}"
                yield Violation(field, "unique", words)


@dataclass(frozen=True, slots=True)
class Contains:
    """At least one of the values at ``field`` must be ``value``."""

    field: str
    value: str

    def check(self, value: Any) -> Iterator[Violation]:
        if all(item != self.value for _, item in present(value, self.field)):
            words = f"must have one with {self.field.rpartition('.')[2]} {self.value}"
            yield Violation(self.field.partition("[]")[0], "contains", words)


@dataclass(frozen=True, slots=True)
class NotAllZero:
    """At least one of the numbers ``fields`` must differ from zero by more than ``tolerance``."""

    fields: tuple[str, ...]
    tolerance: float = 0.0

    def check(self, value: Any) -> Iterator[Violation]:
        found = [item for path in self.fields for _, item in present(value, path)]
        if all(abs(item) <= self.tolerance for item in found):
            words = f"must not be 0 together with {', '.join(self.fields[1:])}"
            yield Violation(self.fields[0], "not-all-zero", words)


@dataclass(frozen=True, slots=True)
class MemberCount:
    """Between ``least`` and ``most`` of the optional members ``fields`` must be present."""

    fields: tuple[str, ...]
    least: int = 0
    most: int | None = None

    def check(self, value: Any) -> Iterator[Violation]:
        count = sum(1 for path in self.fields for _ in present(value, path))
        if count < self.least:
            words = f"must have at least {self.least} of {', '.join(self.fields)}; it has {count}"
            yield Violation("", "min-properties", words)
        elif self.most is not None and count > self.most:
            words = f"must have at most {self.most} of {', '.join(self.fields)}; it has {count}"
            yield Violation("", "max-properties", words)


def paired(value: Any, field: str, limit: str) -> Iterator[tuple[tuple[str, Any], tuple[str, Any]]]:
    """Each value at ``field`` with its limit: the one at the same place, or the only one."""
    fields, limits = list(present(value, field)), list(present(value, limit))
    if len(limits) == 1:
        limits *= len(fields)
    yield from zip(fields, limits, strict=False)


def present(value: Any, path: str, at: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that ``path`` leads to, with its concrete path; what is absent is left out."""
    step, _, rest = path.partition(".")
    name = step.removesuffix("[]")
    member = getattr(value, name)
    if member is None or member is UNSET:
        return
    field = f"{at}.{name}" if at else name
    found = (
        [(f"{field}[{i}]", item) for i, item in enumerate(member)]
        if step.endswith("[]")
        else [(field, member)]
    )
    for place, item in found:
        if rest:
            yield from present(item, rest, place)
        else:
            yield place, item


def violations_of_rules(value: Struct, field: str = "") -> Iterator[Violation]:
    """Every violation of the rules of a built message, and of the messages within it."""
    for rule in getattr(value, "__rules__", ()):
        for found in rule.check(value):
            at = ".".join(part for part in (field, found.field) if part)
            yield Violation(at, found.rule, found.message)
    for name in value.__struct_fields__:
        member = getattr(value, name)
        at = f"{field}.{name}" if field else name
        if isinstance(member, Struct):
            yield from violations_of_rules(member, at)
        elif isinstance(member, list) and member and isinstance(member[0], Struct):
            for i, item in enumerate(cast("list[Struct]", member)):
                yield from violations_of_rules(item, f"{at}[{i}]")
