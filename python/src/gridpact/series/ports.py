"""What the use cases of series need from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridpact.kit.pages import Cursor
from gridpact.kit.violation import Violation
from gridpact.series.domain import Series, SeriesDraft


class SeriesContract(Protocol):
    """The schema of a series."""

    def check_draft(self, draft: SeriesDraft) -> list[Violation]:
        """What is wrong with a draft."""
        ...


class SeriesStore(Protocol):
    """Series and their values. Everything belongs to an organisation."""

    async def insert(
        self, organisation_id: str, series_id: str, draft: SeriesDraft
    ) -> Series | None:
        """Stores a series; None when the site has one of that name."""
        ...

    async def find(self, organisation_id: str, series_id: str) -> Series | None:
        """The series of that id."""
        ...

    async def list_page(
        self, organisation_id: str, site_id: str, before: Cursor | None, limit: int
    ) -> list[Series]:
        """Up to ``limit`` series of the site, newest first, behind the cursor."""
        ...

    async def write(
        self, series: Series, start_time: datetime, values: NDArray[np.float64]
    ) -> None:
        """Writes consecutive slots, all or none; a slot that was written before is replaced."""
        ...

    async def read(
        self, series: Series, from_time: datetime, to_time: datetime
    ) -> NDArray[np.float64]:
        """The values of the half-open window; NaN for a slot that was never written."""
        ...


class Places(Protocol):
    """The sites and assets of the caller's organisation."""

    async def require(self, site_id: str, asset_id: str | None) -> None:
        """Returns when there is such a site, with such an asset on it; NOT_FOUND otherwise."""
        ...
