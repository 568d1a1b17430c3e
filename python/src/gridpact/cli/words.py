"""Words that several commands say."""

from __future__ import annotations


def no_json(what: str, error: Exception) -> str:
    """That something is no JSON, and why, said once."""
    return f"{what} is no JSON: {str(error).removeprefix('JSON is malformed: ')}"
