"""What a keeper and its supervisor are told when they are started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from gridpact.platform.options import PlatformOptions


@dataclass(frozen=True, slots=True)
class Orders:
    """The only argument of both processes; ``report_descriptor`` is a pipe they inherit."""

    options: PlatformOptions
    show_logs: bool
    report_descriptor: int | None

    def encode(self) -> str:
        return msgspec.json.encode(self, enc_hook=str).decode()

    @classmethod
    def decode(cls, text: str) -> Orders:
        return msgspec.json.decode(text, type=cls, dec_hook=lambda _, path: Path(path))
