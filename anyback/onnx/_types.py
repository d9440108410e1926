"""ONNX's data types by name, and the type of a library that holds each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from anyback import backends
from anyback._typing import Array, DType, Namespace
from anyback.errors import BackendError, DataError, ShapeError
from anyback.onnx._arrays import beside

__all__ = [
    "HELD_AS",
    "MOST_COPIES",
    "MOST_NUMBERS",
    "broadcast_shape",
    "cast",
    "check_size",
    "held_as",
    "in_widest_float",
    "integer_range",
]

#: The most numbers of a result that is larger than the inputs, and of one that only holds copies: a few bytes of a file
#: can ask for a huge result.
MOST_NUMBERS, MOST_COPIES = 1 << 28, 1 << 26

#: Types that not all array libraries have -> the type that holds each of their numbers exactly.
HELD_AS = {
    "bfloat16": "float32",
    "float8e4m3fn": "float32",
    "float8e4m3fnuz": "float32",
    "float8e5m2": "float32",
    "float8e5m2fnuz": "float32",
    "float8e8m0": "float32",
    "float4e2m1": "float32",
    "int4": "int8",
    "uint4": "uint8",
    "int2": "int8",
    "uint2": "uint8",
}


def integer_range(name: str) -> tuple[int, int] | None:
    """Return the least and the largest number of a type of integers by its name; None for other types."""
    kind, bits = name.rstrip("0123456789"), name.lstrip("uint")
    if kind == "uint":
        return 0, (1 << int(bits)) - 1
    return (-(1 << (int(bits) - 1)), (1 << (int(bits) - 1)) - 1) if kind == "int" else None


def held_as(xp: Namespace, name: str, operator: str = "") -> DType:
    """Return the library's type that holds numbers of an ONNX type, or raise `BackendError` where it has none."""
    # NumPy's bfloat16 comes from another package, and not all of NumPy's functions take it.
    first = HELD_AS.get(name, name) if backends.backend_of(xp.zeros(1)).name in ("numpy", "dask") else name
    for choice in (first, HELD_AS.get(name, name)):
        try:
            return backends.as_dtype(xp, choice)
        except (AttributeError, BackendError, DataError, TypeError):
            continue
    raise BackendError(f"{operator or 'the network'} needs the type {name}, which {xp.__name__} lacks")


def cast(x: Array, name: str, operator: str = "") -> Array:
    """Return an array in the library's type that holds numbers of an ONNX type, without rounding to fewer digits."""
    xp = backends.array_namespace(x)
    dtype = held_as(xp, name, operator)
    if x.dtype == dtype:
        return x
    if name in ("int64", "uint64", "float64"):
        try:
            dtype = beside(np.empty(0, name), x).dtype  # JAX has those of 32 bits instead, unless told otherwise
        except (TypeError, ValueError):
            raise BackendError(f"{operator or 'the network'} needs the type {name}, which the device lacks") from None
    return xp.astype(x, dtype)


def in_widest_float(x: Array) -> Array:
    """Return an array in the widest floating-point type of its device."""
    return cast(x, backends.backend_of(x).widest_float(x))


def check_size(shape: Sequence[int], operator: str, most: int = MOST_NUMBERS) -> None:
    """Raise `DataError` where an operator would make an array of more than `most` numbers, or of sizes below 0."""
    if math.prod(shape) > most or min(shape, default=0) < 0:
        raise DataError(f"{operator} would make an array of shape {tuple(shape)[:64]}; at most {most} numbers")


def broadcast_shape(shapes: Iterable[Sequence[int]], operator: str) -> tuple[int, ...]:
    """Return the shape that these shapes broadcast to, or raise `ShapeError` where they do not."""
    shapes = [tuple(shape) for shape in shapes]
    found = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for at, size in enumerate(reversed(shape)):
            if found[-1 - at] == 1:
                found[-1 - at] = size
            elif size not in (1, found[-1 - at]):
                said = ", ".join(str(shape) for shape in shapes[:8])
                raise ShapeError(f"{operator}: shapes that do not fit together: {said}")
    return tuple(found)
