"""The value type of a dense series of doubles."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # array is not subscriptable at run time before Python 3.12.
    _Doubles = array[float]  # pyright: ignore[reportIndexIssue]
else:
    _Doubles = array


class Float64Series(_Doubles):
    """Doubles in one block of memory, compared by value.

    ``Float64Series([0.5, 1])`` copies; ``numpy.asarray(series)`` is a view without a copy.
    """

    __slots__ = ()

    def __new__(cls, values: Iterable[float] | bytes | NDArray[np.float64] = ()) -> Self:
        """From numbers, or from the little-endian bytes of the wire in one copy."""
        if isinstance(values, np.ndarray):
            values = np.ascontiguousarray(values, dtype="<f8").tobytes()
        series = cast("Self", super().__new__(cls, "d", values))
        if _BIG_ENDIAN and isinstance(values, bytes):
            series.byteswap()
        return series

    def to_bytes(self) -> bytes:
        """The little-endian bytes of the wire."""
        return np.asarray(self).astype("<f8", copy=False).tobytes()

    def __repr__(self) -> str:
        return f"Float64Series({self.tolist()})"


_BIG_ENDIAN = np.little_endian is False
