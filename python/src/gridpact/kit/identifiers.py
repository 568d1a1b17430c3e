"""Identifiers of stored objects."""

from __future__ import annotations

import re

import uuid_utils

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_identifier() -> str:
    """A fresh UUID of version 7, in lower-case canonical text; later ones sort behind it."""
    return str(uuid_utils.uuid7())


def is_identifier(text: str) -> bool:
    """Whether a text is a UUID in lower-case canonical form, of any version."""
    return _CANONICAL.fullmatch(text) is not None
