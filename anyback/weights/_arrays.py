"""Bytes to arrays, with every claim checked before anything is made: what all formats share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anyback.errors import WeightsError

__all__ = ["DTYPES", "bfloat16", "checked_name", "checked_shape", "make_array", "quoted"]

#: The types of number that weights may have; others need more than bytes to be read, or no file should hold them.
DTYPES = {code: np.dtype(code) for code in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")}
_MOST_AXES = 32
_MOST_ELEMENTS = 1 << 40
_LONGEST_NAME = 1_000


def quoted(text: object, most: int = 40) -> str:
    """Return a name from a file for a message: short, and with nothing in it that a terminal would obey."""
    return ascii(text[:most] if isinstance(text, (str, bytes)) else type(text).__name__)


def bfloat16() -> np.dtype[Any]:
    """Return the type of bfloat16, little-endian, by the package ml_dtypes, or raise `WeightsError` without it."""
    try:
        import ml_dtypes
    except ImportError:
        raise WeightsError("it is bfloat16, which NumPy lacks: pip install ml_dtypes") from None
    return np.dtype(ml_dtypes.bfloat16).newbyteorder("<")


def checked_name(name: Any) -> str:
    """Return an array's name that every format can hold, or raise `WeightsError`."""
    if not isinstance(name, str):
        raise WeightsError(f"expected names as strings, found {type(name).__name__}")
    if len(name) > _LONGEST_NAME:
        raise WeightsError(f"{quoted(name)}...: a name of {len(name):,} characters, more than {_LONGEST_NAME:,}")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise WeightsError(f"{quoted(name)}: a name with half a character, which UTF-8 cannot hold") from None
    return name


def checked_shape(shape: Any) -> tuple[int, ...]:
    """Return a shape that a file claims, or raise `WeightsError`."""
    if not isinstance(shape, (list, tuple)) or len(shape) > _MOST_AXES:
        raise WeightsError(f"expected a shape of at most {_MOST_AXES} axes")
    if not all(type(size) is int and 0 <= size <= _MOST_ELEMENTS for size in shape):
        raise WeightsError("expected a shape of whole numbers, none negative or above 2**40")
    # An axis of length 0 makes no element, but NumPy multiplies the others all the same.
    if math.prod(size for size in shape if size) > _MOST_ELEMENTS:
        raise WeightsError("the shape claims more than 2**40 elements")
    return tuple(shape)


def make_array(
    raw: bytes | bytearray | memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> np.ndarray:
    """Return the array that bytes hold, a copy in the machine's byte order.

    Parameters
    ----------
    raw : bytes
        The elements.
    dtype : numpy.dtype
        Their type, of either byte order.
    shape : tuple of int
        From `checked_shape`.
    fortran : bool
        Whether the first axis runs fastest.

    Returns
    -------
    numpy.ndarray
        Writeable, C-contiguous.

    Raises
    ------
    WeightsError
        If there are not as many bytes as shape and type need.
    """
    needed = math.prod(shape) * dtype.itemsize
    if len(raw) != needed:
        raise WeightsError(f"shape {shape} of {dtype.name} needs {needed:,} bytes, found {len(raw):,}")
    if dtype.kind == "b" and np.any(np.frombuffer(raw, dtype="u1") > 1):
        raise WeightsError("booleans that are neither 0 nor 1")
    array = np.frombuffer(raw, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C", copy=True)
