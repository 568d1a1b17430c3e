"""The media type of an answer, by the request's Accept (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from typing import Any

from fastapi import Depends
from starlette.requests import Request

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError


def answer_as(*offered: str) -> Any:
    """The dependency that chooses one of the media types offered; NOT_ACCEPTABLE."""

    async def media_type(request: Request) -> str:
        accept = ",".join(request.headers.getlist("accept"))
        chosen = chosen_media_type(accept, offered)
        if chosen is None:
            words = f"this is offered as {' or '.join(offered)}"
            raise GridpactError(Reason.NOT_ACCEPTABLE, words, accept=accept[:256])
        return chosen

    return Depends(media_type)


def chosen_media_type(accept: str, offered: tuple[str, ...]) -> str | None:
    """The media type that the caller likes best; of equals, the one offered first.

    Without Accept anything will do. None when nothing offered is accepted.
    """
    if not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    return best if _quality(best, ranges) > 0 else None


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return name, quality


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """The quality of the most specific range that covers the media type."""
    family = media_type.partition("/")[0] + "/*"
    for name in (media_type, family, "*/*"):
        found = [quality for range_name, quality in ranges if range_name == name]
        if found:
            return max(found)
    return 0.0
