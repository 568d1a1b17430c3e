"""Parameters that several operations have."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header, Path, Query
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from gridpact.contracts.rest import Identifier, PageCursor


def _whole(value: Any) -> Any:
    # Python's int() takes " 1_0 " as well; the contract's integer does not.
    if isinstance(value, str) and not value.removeprefix("-").isdecimal():
        raise PydanticCustomError("type", "must be a whole number")
    return value


SiteId = Annotated[Identifier, Path()]
AssetId = Annotated[Identifier, Path()]
SeriesId = Annotated[Identifier, Path()]
TaskId = Annotated[Identifier, Path()]
PageSize = Annotated[int, BeforeValidator(_whole), Query(ge=1, le=200)]
Cursor = Annotated[PageCursor | None, Query()]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=32, pattern=r"^[0-9]{1,16}-[0-9]{1,10}$"),
]
IdempotencyKey = Annotated[
    str,
    Header(alias="Idempotency-Key", min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$"),
]
