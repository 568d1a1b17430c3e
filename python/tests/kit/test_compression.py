from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gridpact.kit.compression import compress, decompress
from gridpact.kit.violation import ContractError

LIMIT = 1 << 20


@given(body=st.binary(max_size=2000) | st.binary(max_size=20).map(lambda part: part * 100))
def test_body_comes_back(body: bytes) -> None:
    encoding, packed = compress(body, threshold_bytes=64)
    assert len(packed) <= len(body)
    assert decompress(encoding, packed, LIMIT) == body


def test_small_bodies_and_those_that_gain_nothing_stay_as_they_are() -> None:
    assert compress(b"x" * 64, threshold_bytes=64)[0] == "identity"
    noise = bytes(range(256))
    assert compress(noise, threshold_bytes=64) == ("identity", noise)
    assert compress(b"x" * 65, threshold_bytes=64)[0] == "zstd"


def frame(content: bytes, *, stated: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=stated).compress(content)


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("identity", b"x" * (LIMIT + 1), "MESSAGE_TOO_LARGE"),
        ("zstd", frame(b"x" * (LIMIT + 1)), "MESSAGE_TOO_LARGE"),
        ("zstd", frame(b"x" * 100, stated=False), "MESSAGE_MALFORMED"),
        ("zstd", frame(b"x" * 100) + b"more", "MESSAGE_MALFORMED"),
        ("zstd", frame(b"x" * 100)[:-1], "MESSAGE_MALFORMED"),
        ("zstd", b"no frame", "MESSAGE_MALFORMED"),
        ("zstd", b"", "MESSAGE_MALFORMED"),
    ],
)
def test_refuses(encoding: str, body: bytes, reason: str) -> None:
    with pytest.raises(ContractError) as refused:
        decompress("zstd" if encoding == "zstd" else "identity", body, LIMIT)
    assert refused.value.reason == reason


def test_frame_that_holds_more_than_it_states_is_refused() -> None:
    """The stated size (256, in two bytes, less 256 as the format has it) is turned into 257."""
    honest = frame(b"x" * 300)
    at = honest.index((300 - 256).to_bytes(2, "little"))
    liar = honest[:at] + (1).to_bytes(2, "little") + honest[at + 2 :]
    assert zstandard.get_frame_parameters(liar).content_size == 257
    with pytest.raises(ContractError):
        decompress("zstd", liar, LIMIT)
