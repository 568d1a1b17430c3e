"""Instants as text: RFC 3339 in UTC, at most microseconds (contracts/schemas/instant.yaml)."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, in UTC."""
    return datetime.now(UTC)


def format_instant(instant: datetime) -> str:
    """``2026-06-01T00:00:00Z``; the fraction is left out when it is zero."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def parse_instant(text: str) -> datetime:
    """The reverse of ``format_instant``, for texts that match the contract's pattern."""
    return datetime.fromisoformat(text)
