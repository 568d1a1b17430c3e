"""What front and worker say to each other over the worker's pipes: frames of a tag and bytes.

A frame is its length (four bytes, big-endian, tag included), its tag, and the payload. To the
worker go TASK frames, the `task` message as it came. Back come READY once, then for each task any
number of PROGRESS and one LAST: messages that the front passes on as they are.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct(">IB")
TAG_BYTES = 1


class Tag(IntEnum):
    """What the payload of a frame is."""

    TASK = 1
    READY = 2
    PROGRESS = 3
    LAST = 4


def frame(tag: Tag, payload: bytes = b"") -> bytes:
    return HEADER.pack(TAG_BYTES + len(payload), tag) + payload


def read_header(header: bytes) -> tuple[Tag, int]:
    """The tag, and how many bytes of payload follow."""
    length, tag = HEADER.unpack(header)
    return Tag(tag), length - TAG_BYTES
