"""Series and their grid.

Slots are half-open, named by their start, and aligned to the UTC epoch: with slots of 900 s a start
is a multiple of 900 s after 1970-01-01T00:00:00Z. Local time plays no part, so that a day may have
92, 96 or 100 quarter hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gridpact.kit.violation import Violation

# The bounds of contracts/schemas/series-values.yaml and of one call.
MAX_SLOT_COUNT = 35_136
MAX_MAGNITUDE = 1e9

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Quantity(StrEnum):
    """What a series measures, the unit in the name."""

    POWER_KW = "power_kw"
    ENERGY_KWH = "energy_kwh"
    PRICE_PER_KWH = "price_per_kwh"
    TEMPERATURE_CELSIUS = "temperature_celsius"
    IRRADIANCE_W_PER_M2 = "irradiance_w_per_m2"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesDraft:
    """What is said of a series; without ``asset_id`` it belongs to the site as a whole."""

    site_id: str
    asset_id: str | None
    name: str
    quantity: Quantity
    slot_duration_s: int

    @property
    def slot_duration(self) -> timedelta:
        return timedelta(seconds=self.slot_duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(SeriesDraft):
    """A time series, owned by one organisation."""

    series_id: str
    organisation_id: str
    created_time: datetime

    def check_grid(self, field: str, time: datetime) -> list[Violation]:
        """Whether a time is the start of a slot."""
        past = (time - _EPOCH) % self.slot_duration
        if not past:
            return []
        words = (
            f"must be a whole multiple of {self.slot_duration_s} s after the hour in UTC; "
            f"it is {past.total_seconds():g} s past one"
        )
        return [Violation(field, "grid", words)]

    def check_values(self, start_time: datetime, values: NDArray[np.float64]) -> list[Violation]:
        """What keeps consecutive values from being written from ``start_time`` on."""
        found = self.check_grid("start_time", start_time)
        if not 1 <= len(values) <= MAX_SLOT_COUNT:
            words = f"must have 1 to {MAX_SLOT_COUNT} values; it has {len(values)}"
            found.append(Violation("values", "items", words))
        elif (datetime.max.replace(tzinfo=UTC) - start_time) // self.slot_duration < len(values):
            found.append(Violation("start_time", "range", "must end before the year 10000"))
        # NaN is not within any bounds.
        wrong = np.flatnonzero(~(np.abs(values) <= MAX_MAGNITUDE))
        if len(wrong):
            at = int(wrong[0])
            words = f"must be a number between -1e9 and 1e9; it is {values[at]:g}"
            found.append(Violation(f"values[{at}]", "range", words))
        return found

    def check_window(self, from_time: datetime, to_time: datetime) -> list[Violation]:
        """What keeps the half-open window from being read."""
        found = self.check_grid("from_time", from_time) + self.check_grid("to_time", to_time)
        if to_time <= from_time:
            found.append(Violation("to_time", "order", "must be later than from_time"))
        elif (to_time - from_time) // self.slot_duration > MAX_SLOT_COUNT:
            last = from_time + MAX_SLOT_COUNT * self.slot_duration
            words = f"must be at most {last:%Y-%m-%dT%H:%M:%SZ}, {MAX_SLOT_COUNT} slots on"
            found.append(Violation("to_time", "range", words))
        return found
