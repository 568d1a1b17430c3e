"""Identifiers of stored objects."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import uuid_utils

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_identifier() -> str:
    """A fresh UUID of version 7, in lower-case canonical text; later ones sort behind it."""
    return str(uuid_utils.uuid7())


def age_of(identifier: str) -> timedelta | None:
    """How long ago ``new_identifier`` made it, by the clock of this machine.

    None for a text that it cannot have made.
    """
    if not is_identifier(identifier) or identifier[14] != "7":
        return None
    # RFC 9562: the first 48 bits are the milliseconds since 1970.
    made_s = int(identifier[:8] + identifier[9:13], 16) / 1000
    return timedelta(seconds=time.time() - made_s)


def is_identifier(text: str) -> bool:
    """Whether a text is a UUID in lower-case canonical form, of any version."""
    return _CANONICAL.fullmatch(text) is not None
