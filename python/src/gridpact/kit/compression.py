"""Zstandard around a body, where it pays, with a limit before anything is allocated."""

from __future__ import annotations

from typing import Literal

import zstandard

from gridpact.kit.violation import ContractError

Encoding = Literal["identity", "zstd"]

LEVEL = 3


def compress(body: bytes, threshold_bytes: int) -> tuple[Encoding, bytes]:
    """The body as it is, or one Zstandard frame when it is large and that saves a tenth."""
    if len(body) <= threshold_bytes:
        return "identity", body
    frame = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(body)
    return ("zstd", frame) if len(frame) <= 0.9 * len(body) else ("identity", body)


def decompress(encoding: Encoding, body: bytes, limit_bytes: int) -> bytes:
    """The body as its writer had it, at most ``limit_bytes``; ContractError otherwise."""
    if encoding == "identity":
        size = len(body)
    else:
        try:
            size = zstandard.get_frame_parameters(body).content_size
        except zstandard.ZstdError as error:
            raise ContractError("MESSAGE_MALFORMED", f"no Zstandard frame: {error}") from error
        if size == zstandard.CONTENTSIZE_UNKNOWN:
            raise ContractError("MESSAGE_MALFORMED", "the frame does not state its size")
    if size > limit_bytes:
        words = f"the body has {size} bytes, at most {limit_bytes} are read"
        raise ContractError("MESSAGE_TOO_LARGE", words)
    if encoding == "identity":
        return body
    # One allocation of the stated size, which has been checked; a frame that holds more is refused.
    try:
        return zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ContractError("MESSAGE_MALFORMED", f"broken Zstandard frame: {error}") from error
