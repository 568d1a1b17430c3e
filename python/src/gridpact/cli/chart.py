"""Series drawn with characters: one line of blocks each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:-=+*#@"

Series = NDArray[np.float64]


def sparkline(values: Series, width: int, *, lowest: float, highest: float, encoding: str) -> str:
    """The means of ``width`` equal parts of the series (fewer where it is shorter), as heights.

    ``lowest`` is drawn as a space and ``highest`` as a full block. An ``encoding`` that knows no
    blocks gets ASCII.
    """
    levels = BLOCKS if _can_encode(BLOCKS, encoding) else ASCII
    span = highest - lowest
    if span <= 0:
        return levels[0] * min(width, len(values))
    shares = (means(values, width) - lowest) / span
    heights = np.clip(np.rint(shares * (len(levels) - 1)), 0, len(levels) - 1)
    return "".join(levels[int(height)] for height in heights)


def means(values: Series, parts: int) -> Series:
    """The means of equal parts of the series; the series itself where it is short enough."""
    if len(values) <= parts:
        return values
    edges = np.linspace(0, len(values), parts + 1).round().astype(int)
    return np.add.reduceat(values, edges[:-1]) / np.diff(edges)


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
