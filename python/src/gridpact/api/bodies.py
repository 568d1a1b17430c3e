"""Request bodies: their size, their media type, their form, in this order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Depends
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from gridpact.contracts.errors import Reason
from gridpact.contracts.operations import BODY_BYTES
from gridpact.kit.errors import GridpactError, unavailable
from gridpact.kit.rest import violations_from
from gridpact.kit.violation import MAX_VIOLATIONS, Violation

JSON = "application/json"

# More errors than anybody reads: listing them would cost more memory than the body did.
_COUNTED_ERRORS = 10_000

# As long as the contract gives any operation that takes a body.
BODY_S = 30.0

# What all callers together may have on the way beyond their first 64 KiB each: those who send as
# much as they may without ever finishing leave room for ordinary bodies.
LARGE_BODIES_BYTES = 256 * 1024 * 1024
_SMALL_BYTES = 64 * 1024


class BodyRoom:
    """The memory of one process for bodies on their way."""

    def __init__(self) -> None:
        self._held_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """The share of one body; ``grow(size)`` raises UNAVAILABLE when there is no more room."""
        mine = 0

        def grow(size: int) -> None:
            nonlocal mine
            more = max(0, size - _SMALL_BYTES) - mine
            if more > 0 and self._held_bytes + more > LARGE_BODIES_BYTES:
                raise unavailable("too many large bodies are on the way at once")
            self._held_bytes += more
            mine += more

        try:
            yield grow
        finally:
            self._held_bytes -= mine


def _room(request: Request) -> BodyRoom:
    return request.app.state.body_room


def json_body(kind: Any) -> Any:
    """The dependency that reads a JSON body of this model (or union of models)."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    async def body(request: Request) -> Any:
        content = await read_body(request)
        checked_media_type(request, JSON)
        return parsed(adapter, content)

    return Depends(body)


def checked_media_type(request: Request, *offered: str) -> str:
    """The media type of the body, one of ``offered``; MEDIA_TYPE_UNSUPPORTED."""
    stated = request.headers.get("content-type", "")
    media_type = stated.partition(";")[0].strip().lower()
    if media_type not in offered:
        words = f"the body must be {' or '.join(offered)}"
        raise GridpactError(Reason.MEDIA_TYPE_UNSUPPORTED, words, media_type=media_type[:128])
    return media_type


async def read_body(request: Request) -> bytes:
    """The body, at most 16 MiB; BODY_TOO_LARGE without reading on, whatever length was stated.

    DEADLINE_EXCEEDED when it has not come within ``BODY_S``; UNAVAILABLE when too many large ones
    are on the way at once.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > BODY_BYTES:
        raise _too_large()
    body = bytearray()
    try:
        with _room(request).share() as grow:
            async with asyncio.timeout(BODY_S):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > BODY_BYTES:
                        raise _too_large()
                    grow(len(body))
    except TimeoutError:
        words = f"the body has not come within {BODY_S:g} s"
        raise GridpactError(Reason.DEADLINE_EXCEEDED, words) from None
    return bytes(body)


def parsed(adapter: TypeAdapter[Any], body: bytes) -> Any:
    """The model that the body holds; BODY_MALFORMED when it is no JSON, else INVALID_ARGUMENT."""
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        count = error.error_count()
        if count > _COUNTED_ERRORS:
            words = f"breaks more than {_COUNTED_ERRORS} rules: is it the right body?"
            raise GridpactError.invalid([Violation("", "type", words)]) from None
        errors = error.errors(include_url=False)
        if errors[0]["type"] == "json_invalid":
            raise _malformed(body, str(errors[0].get("ctx", {}).get("error"))) from None
        violations = violations_from(errors)
        more = f" (the first {MAX_VIOLATIONS} of {count})" if count > MAX_VIOLATIONS else ""
        refused = GridpactError.invalid(violations)
        refused.message += more
        raise refused from None


def _malformed(body: bytes, words: str) -> GridpactError:
    offset = _offset(body, words)
    message = f"the body is no well-formed JSON: {words} (byte {offset})"
    return GridpactError(Reason.BODY_MALFORMED, message, offset=offset)


def _offset(body: bytes, words: str) -> int:
    """The byte that the parser means by ``… at line 1 column 5``."""
    line, _, column = words.rpartition(" at line ")[2].partition(" column ")
    if not line.isdigit() or not column.isdigit():
        return 0
    begin = 0
    for _ in range(int(line) - 1):
        begin = body.find(b"\n", begin) + 1
    return min(len(body), begin + max(0, int(column) - 1))


def _too_large() -> GridpactError:
    words = f"the body is larger than {BODY_BYTES} bytes"
    return GridpactError(Reason.BODY_TOO_LARGE, words, limit_bytes=BODY_BYTES)
