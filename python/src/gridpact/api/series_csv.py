"""Series values as CSV: ``time,value``, one line a slot, in order and without gaps.

A time is RFC 3339 with an offset, or local time of the site without one. Local times follow the
wall clock: an hour that occurs twice is told apart by the order of its lines, and an hour that
never occurs is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.instants import format_instant
from gridpact.kit.violation import MAX_VIOLATIONS, Violation

HEADER = "time,value"
MAX_SLOTS = 35136
MAX_VALUE = 1e9

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)(Z|[+-]\d{2}:\d{2})?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Column:
    """Consecutive slot values from ``start_time`` on."""

    start_time: datetime
    values: list[float]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    time: datetime | None  # None where it cannot be read; the line takes its slot all the same
    value: float

    @property
    def field(self) -> str:
        return f"line {self.number}"


def has_local_times(text: str) -> bool:
    """Whether the first time is without offset, so that the site's zone is needed."""
    first = next((line for _, line in _data_lines(text)), "")
    match = _TIME.fullmatch(first.partition(",")[0].strip())
    return match is not None and match[3] is None


def parse(body: bytes, slot: timedelta, zone: ZoneInfo | None) -> Column:
    """The values of a CSV text; INVALID_ARGUMENT naming each bad line as ``line 17``.

    ``zone`` is that of times without offset; None when there are none.
    """
    text = decoded(body)
    malformed: list[Violation] = []
    lines = _read(text, malformed)
    # Local times alone cannot tell in which of the two hours the file begins, but only one of
    # the two beginnings lets every later line follow.
    first = next((line.time for line in lines if line.time is not None), None)
    attempts = [_placed(lines, slot, zone, fold) for fold in _first_folds(first, zone)]
    instants, misplaced = min(attempts, key=lambda attempt: len(attempt[1]))
    if found := malformed + misplaced:
        found.sort(key=lambda violation: int(violation.field.removeprefix("line ")))
        raise GridpactError.invalid(found[:MAX_VIOLATIONS])
    return Column(instants[0], [line.value for line in lines])


def decoded(body: bytes) -> str:
    """The text of a CSV body (UTF-8, with or without a byte order mark); BODY_MALFORMED."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        words = f"the body is no UTF-8 text (byte {error.start})"
        raise GridpactError(Reason.BODY_MALFORMED, words, offset=error.start) from None


def written(start_time: datetime, slot: timedelta, values: np.ndarray) -> bytes:
    """The CSV of these values, in UTC; a slot without a value (NaN) has an empty one."""
    lines = [HEADER]
    lines += [
        f"{format_instant(start_time + i * slot)},{'' if math.isnan(value) else repr(value)}"
        for i, value in enumerate(values.tolist())
    ]
    return ("\n".join(lines) + "\n").encode()


def _data_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines()[1:], 2):
        if line.strip():
            yield number, line


def _read(text: str, found: list[Violation]) -> list[_Line]:
    """The lines; what is wrong with their form goes into ``found``."""
    header = text.partition("\n")[0].strip().lower().replace(" ", "")
    if header != HEADER:
        found.append(Violation("line 1", "header", f"must be {HEADER}"))
        return []
    lines: list[_Line] = []
    for number, line in _data_lines(text):
        if len(lines) == MAX_SLOTS:
            words = f"must be among the first {MAX_SLOTS} slots; write the rest by another request"
            found.append(Violation(f"line {number}", "max-items", words))
            break
        lines.append(_line(number, line, found))
        if len(found) == MAX_VIOLATIONS:
            break
    if not lines and not found:
        found.append(Violation("line 2", "min-items", "must be there: at least one slot"))
    return lines


def _line(number: int, line: str, found: list[Violation]) -> _Line:
    field = f"line {number}"
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 2:
        found.append(Violation(field, "columns", f"must have 2 columns; it has {len(cells)}"))
        return _Line(number, None, math.nan)
    time, value = _time(cells[0]), _value(cells[1])
    if time is None:
        words = "must begin with a time such as 2026-06-01T00:00:00+02:00 or 2026-06-01T00:00:00"
        found.append(Violation(field, "time", words))
    if value is None:
        words = f"must have a number between -{MAX_VALUE:.0f} and {MAX_VALUE:.0f} as value"
        found.append(Violation(field, "value", words))
    return _Line(number, time, math.nan if value is None else value)


def _time(text: str) -> datetime | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ''}")
    except ValueError:
        return None


def _value(text: str) -> float | None:
    # float() takes "nan", "1_000" and other things that no CSV means.
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return None
    value = float(text)
    return value if abs(value) <= MAX_VALUE else None


def _first_folds(time: datetime | None, zone: ZoneInfo | None) -> tuple[int, ...]:
    if (
        time is not None
        and time.tzinfo is None
        and zone is not None
        and len(_instants(time, zone)) == 2
    ):
        return (0, 1)
    return (0,)


def _placed(
    lines: list[_Line], slot: timedelta, zone: ZoneInfo | None, first_fold: int
) -> tuple[list[datetime], list[Violation]]:
    """The instants of the lines, and the lines that are not where they must be."""
    instants: list[datetime] = []
    found: list[Violation] = []
    expected: datetime | None = None
    for line in lines:
        if line.time is None:  # where it stands, the lines around it tell
            expected = None if expected is None else expected + slot
            continue
        instant, fault = _instant(line.time, zone, expected, first_fold)
        if instant is None:
            found.append(Violation(line.field, "time", fault))
            expected = None if expected is None else expected + slot
            continue
        if expected is None and (instant - _EPOCH) % slot:
            words = f"must begin a slot of {slot.total_seconds():.0f} s, counted from midnight UTC"
            found.append(Violation(line.field, "grid", words))
        elif expected is not None and instant != expected:
            words = f"must follow the line before: {format_instant(expected)} was expected"
            found.append(Violation(line.field, "order", words))
        instants.append(instant)
        expected = instant + slot
    return instants, found


def _instant(
    time: datetime, zone: ZoneInfo | None, expected: datetime | None, first_fold: int
) -> tuple[datetime | None, str]:
    if time.tzinfo is not None:
        return time.astimezone(UTC), ""
    if zone is None:
        return None, "must have an offset as the first line has"
    candidates = _instants(time, zone)
    if not candidates:
        return None, f"must exist: clocks in {zone.key} skip this time"
    if expected in candidates:
        return expected, ""
    return candidates[first_fold if len(candidates) == 2 else 0], ""


def _instants(local: datetime, zone: ZoneInfo) -> list[datetime]:
    """When clocks in the zone show this time: once, twice, or never."""
    instants = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    shown = [each for each in instants if each.astimezone(zone).replace(tzinfo=None) == local]
    return sorted(set(shown))
