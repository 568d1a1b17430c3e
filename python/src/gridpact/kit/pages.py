"""Lists by page: newest first, each page beginning behind the last item of the one before."""

from __future__ import annotations

import base64
import binascii
import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gridpact.contracts.errors import Reason
from gridpact.kit.errors import GridpactError
from gridpact.kit.violation import Violation

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAYOUT = struct.Struct(">q16s")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last item of a page: the next page holds what is older, or as old with a smaller id."""

    time: datetime
    identifier: str

    def encode(self) -> str:
        """Opaque text of the alphabet A-Z a-z 0-9 - _ (contracts/schemas/page-cursor.yaml)."""
        micros = (self.time - _EPOCH) // _MICROSECOND
        packed = _LAYOUT.pack(micros, uuid.UUID(self.identifier).bytes)
        return base64.urlsafe_b64encode(packed).decode()

    @classmethod
    def decode(cls, text: str) -> Cursor | None:
        """The cursor of a page request, None for the first page; CURSOR_INVALID for other text."""
        if not text:
            return None
        try:
            packed = base64.b64decode(text, altchars=b"-_", validate=True)
            micros, identifier = _LAYOUT.unpack(packed)
            time = _EPOCH + micros * _MICROSECOND
        except (ValueError, OverflowError, binascii.Error, struct.error):
            raise GridpactError(Reason.CURSOR_INVALID, "the cursor is none of ours") from None
        return cls(time, str(uuid.UUID(bytes=identifier)))


def checked_page_size(asked: int) -> int:
    """The page size to use: 0 means the default; INVALID_ARGUMENT outside 1 to 200."""
    if asked == 0:
        return DEFAULT_PAGE_SIZE
    if not 1 <= asked <= MAX_PAGE_SIZE:
        words = f"must be between 1 and {MAX_PAGE_SIZE}; it is {asked}"
        raise GridpactError.invalid([Violation("page_size", "range", words)])
    return asked
