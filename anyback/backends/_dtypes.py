"""Data types by the names that the standard gives them, whatever library they are of."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from anyback._typing import DType, Namespace

__all__ = ["common_float", "dtype_name", "largest_of"]


def dtype_name(dtype: DType) -> str:
    """Return the standard's name of a data type of any library: ``"float32"``, ``"uint8"``, ``"bfloat16"``.

    Libraries print ``float32``, ``torch.float32`` or ``array_api_strict.float32``; the last word is common.
    """
    try:
        return _names[type(dtype)][dtype]
    except KeyError:
        # NumPy prints the byte order too, which is no part of the name.
        name = dtype.name if isinstance(dtype, np.dtype) else str(dtype).rpartition(".")[2]
        _names.setdefault(type(dtype), {})[dtype] = name
        return name


# By their type first, since data types of different libraries may be equal, or warn when compared. No functools.cache,
# which torch.compile does not look into.
_names: dict[type, dict[Hashable, str]] = {}


_LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float.fromhex("0x1.fffffep127"),
    "float64": float.fromhex("0x1.fffffffffffffp1023"),
}
_BITS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}


def largest_of(dtype: DType) -> float:
    """Return the largest finite number of a floating-point type of any library."""
    # By name, since finfo of NumPy does not know bfloat16.
    return _LARGEST[dtype_name(dtype)]


def common_float(xp: Namespace, first: DType, second: DType) -> DType:
    """Return the floating-point type that holds the numbers of both, of the library with namespace `xp`.

    That of its own ``result_type``, which JAX may be told to refuse, and torch.compile does not look into.
    """
    names = dtype_name(first), dtype_name(second)
    if set(names) == {"float16", "bfloat16"}:
        return xp.float32
    if names[0] == names[1]:  # they differ in the order of bytes, which NumPy alone knows
        return first if getattr(first, "isnative", True) else second
    return first if _BITS[names[0]] > _BITS[names[1]] else second
