"""Data types by the names that the standard gives them, whatever library they are of."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

import numpy as np

from anyback._typing import DType

__all__ = ["dtype_name", "largest_of"]


def dtype_name(dtype: DType) -> str:
    """Return the standard's name of a data type of any library: ``"float32"``, ``"uint8"``, ``"bfloat16"``.

    Libraries print ``float32``, ``torch.float32`` or ``array_api_strict.float32``; the last word is common.
    """
    kind: Any = type(dtype)
    return _last_word(kind, dtype)


@functools.cache
def _last_word(kind: type, dtype: Hashable) -> str:
    # The type is part of the key since data types of different libraries may be equal, or warn when compared.
    # NumPy prints the byte order too, which is no part of the name.
    return dtype.name if isinstance(dtype, np.dtype) else str(dtype).rpartition(".")[2]


_LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float.fromhex("0x1.fffffep127"),
    "float64": float.fromhex("0x1.fffffffffffffp1023"),
}


def largest_of(dtype: DType) -> float:
    """Return the largest finite number of a floating-point type of any library."""
    # By name, since finfo of NumPy does not know bfloat16.
    return _LARGEST[dtype_name(dtype)]
