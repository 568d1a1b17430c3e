"""Messages that are small to send and meant to be large to read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import zstandard

from gridpact.contracts.channels import LIMITS
from gridpact.kit.compression import Encoding

MIB = 1024 * 1024
FLOAT64 = 1


class Bomb(NamedTuple):
    """A body, the reason for which it is refused, and the memory that reading it may take."""

    name: str
    encoding: Encoding
    body: bytes
    reason: str
    most_bytes: int


def zstd(content: bytes, *, stated: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_content_size=stated).compress(content)


def said_to_hold(size: int) -> bytes:
    """A frame of one short block that states this size."""
    return b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + b"\x21\x00\x00abcd"


def arrays_of(item: bytes, size: int) -> bytes:
    """As many arrays of the most items allowed, in one, as make up this size."""
    inner = b"\xdd" + LIMITS.container_items.to_bytes(4, "big") + item * LIMITS.container_items
    count = size // len(inner)
    return b"\xdc" + count.to_bytes(2, "big") + inner * count


def bombs() -> list[Bomb]:
    big, huge = LIMITS.decoded_bytes, (2**32 - 1).to_bytes(4, "big")
    values = 512 * MIB  # all the entries that a message may have, made
    malformed = [
        ("a thousand million entries", b"\xdd" + huge + b"\x01", MIB),
        ("a thousand million members", b"\xdf" + huge + b"\xa1a\x01", MIB),
        ("a text of 4 GiB", b"\xdb" + huge + b"a", MIB),
        ("bytes of 4 GiB", b"\xc6" + huge + b"a", MIB),
        ("a series of 4 GiB", b"\xc9" + huge + bytes([FLOAT64]) + b"a", MIB),
        ("a thousand levels", b"\x91" * 1000 + b"\xc0", MIB),
        ("a million levels", b"\x91" * 1_000_000 + b"\xc0", 16 * MIB),
        ("a thousand levels of large arrays", b"\xdd\x00\x01\x00\x00" * 1000, 16 * MIB),
        ("members within members", b"\x81\xa1a" * 100_000, 16 * MIB),
    ]
    filled = [
        ("empty maps", b"\x80"),
        ("empty arrays", b"\x90"),
        ("short texts", b"\xa2ab"),
        ("short maps", b"\x81\xa1a\x01"),
    ]
    return [
        *(
            Bomb(name, "identity", data, "MESSAGE_MALFORMED", most)
            for name, data, most in malformed
        ),
        *(
            Bomb(
                f"64 MiB of {name}",
                "zstd",
                zstd(arrays_of(item, big - MIB)),
                "MESSAGE_MALFORMED",
                values + big,
            )
            for name, item in filled
        ),
        Bomb("Zstd that states 1 TiB", "zstd", said_to_hold(2**40), "MESSAGE_TOO_LARGE", MIB),
        Bomb("Zstd of 64 MiB and a byte", "zstd", zstd(bytes(big + 1)), "MESSAGE_TOO_LARGE", MIB),
        Bomb("Zstd that lies", "zstd", said_to_hold(big), "MESSAGE_MALFORMED", 16 * MIB),
        Bomb("Zstd of 64 MiB", "zstd", zstd(bytes(big)), "MESSAGE_MALFORMED", 2 * big + 16 * MIB),
    ]


BOMBS = bombs()
NAMES = [bomb.name for bomb in BOMBS]


def forget_peak(pid: int | str = "self") -> None:
    """Lets the peak of a process be what it uses now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int | str = "self") -> int:
    """The most memory that a process has had since then."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
