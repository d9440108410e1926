"""Functions of arrays that several families of operators use: moving constants, wider types, picking by number."""

from __future__ import annotations

from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array, DType
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.numbers import dtype_name

__all__ = ["axis_of", "beside", "index_dtype", "is_unsigned", "narrowed", "rows_at", "widened"]

_HALF = ("float16", "bfloat16")


def axis_of(axis: int, rank: int, operator: str) -> int:
    """Return the number of an axis that may be counted from the end, or raise `ShapeError` where there is none."""
    if not -rank <= axis < max(rank, 1):
        raise ShapeError(f"{operator}: there is no axis {axis} in an array of {rank}")
    return axis % rank if rank else 0


def beside(host: np.ndarray, x: Array) -> Array:
    """Return a NumPy array as an array of the library of `x`, on its device."""
    xp = array_namespace(x)
    if isinstance(x, np.ndarray | np.generic):
        return host
    return xp.asarray(host, device=array_api_compat.device(x))


def widened(x: Array) -> Array:
    """Return numbers of a half type as float32; others as they are."""
    if dtype_name(x.dtype) not in _HALF:
        return x
    xp = array_namespace(x)
    return xp.astype(x, xp.float32)


def is_unsigned(x: Array) -> bool:
    """Return whether an array has an unsigned integer type."""
    return dtype_name(x.dtype).startswith("uint")


def narrowed(x: Array, dtype: DType) -> Array:
    """Return an array cast to a type, which rounds each number once."""
    return x if x.dtype == dtype else array_namespace(x).astype(x, dtype)


def index_dtype(x: Array) -> DType:
    """Return the integer type that the library of `x` uses for indices."""
    return beside(np.arange(1), x).dtype


def rows_at(table: Array, places: Array) -> Array:
    """Return the entries of a table of shape (entries, columns) at places of any shape: shape (*places, columns)."""
    xp = array_namespace(table)
    found: Any = xp.take(table, xp.reshape(places, (-1,)), axis=0)
    return xp.reshape(found, (*places.shape, table.shape[1]))
