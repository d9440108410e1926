"""Tensors of an ONNX file as NumPy arrays, without copying where the bytes allow it."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from anyback.errors import WeightsError

__all__ = ["Tensor", "type_name"]

#: The most axes of a tensor, as NumPy has them.
_MOST_AXES = 32


class _Type(NamedTuple):
    """A data type: its name, NumPy's type of the same bytes, the bits of a number, and the list that may hold it."""

    name: str
    code: str
    bits: int
    typed: str


#: The data types by the number of ONNX.
_TYPES = {
    1: _Type("float32", "f4", 32, "floats"),
    2: _Type("uint8", "u1", 8, "ints32"),
    3: _Type("int8", "i1", 8, "ints32"),
    4: _Type("uint16", "u2", 16, "ints32"),
    5: _Type("int16", "i2", 16, "ints32"),
    6: _Type("int32", "i4", 32, "ints32"),
    7: _Type("int64", "i8", 64, "ints64"),
    8: _Type("string", "", 0, "strings"),
    9: _Type("bool", "?", 8, "ints32"),
    10: _Type("float16", "f2", 16, "ints32"),
    11: _Type("float64", "f8", 64, "doubles"),
    12: _Type("uint32", "u4", 32, "unsigned"),
    13: _Type("uint64", "u8", 64, "unsigned"),
    14: _Type("complex64", "c8", 64, "floats"),
    15: _Type("complex128", "c16", 128, "doubles"),
    16: _Type("bfloat16", "u2", 16, "ints32"),
    17: _Type("float8e4m3fn", "u1", 8, "ints32"),
    18: _Type("float8e4m3fnuz", "u1", 8, "ints32"),
    19: _Type("float8e5m2", "u1", 8, "ints32"),
    20: _Type("float8e5m2fnuz", "u1", 8, "ints32"),
    21: _Type("uint4", "u1", 4, "ints32"),
    22: _Type("int4", "u1", 4, "ints32"),
    23: _Type("float4e2m1", "u1", 4, "ints32"),
    24: _Type("float8e8m0", "u1", 8, "ints32"),
    25: _Type("uint2", "u1", 2, "ints32"),
    26: _Type("int2", "u1", 2, "ints32"),
}
#: Bits of exponent and of fraction, the bias, and whether there is no infinity, or no zero with a sign either.
_SMALL = {
    "float8e4m3fn": (4, 3, 7, "fn"),
    "float8e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8e5m2": (5, 2, 15, ""),
    "float8e5m2fnuz": (5, 2, 16, "fnuz"),
    "float4e2m1": (2, 1, 1, "finite"),
}

_WIDENED = ("bfloat16", *_SMALL, "float8e8m0", "uint4", "int4", "uint2", "int2")


def type_name(number: int) -> str:
    """Return the name of a data type of ONNX, or raise `WeightsError` where there is none of that number."""
    if number not in _TYPES:
        raise WeightsError(f"the data type of number {number} is not known")
    return _TYPES[number].name


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as it is in a file; `array` gives its numbers.

    Parameters
    ----------
    name : str
        Its name.
    dtype : str
        Its data type.
    shape : tuple of int
        Its shape.
    stored : numpy.ndarray or sequence of bytes
        Its bytes, its numbers, or its strings.
    raw : bool
        Whether `stored` are bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    stored: Any
    raw: bool = False

    @staticmethod
    def checked(
        name: str,
        data_type: int,
        dims: tuple[int, ...],
        raw: np.ndarray | None,
        typed: Mapping[str, np.ndarray],
        strings: Sequence[bytes],
    ) -> Tensor:
        """Return a tensor, or raise `WeightsError` where its numbers are not as many as its shape says.

        Parameters
        ----------
        name : str
            Its name.
        data_type : int
            ONNX's number of its type.
        dims : tuple of int
            Its shape.
        raw : numpy.ndarray or None
            Its bytes.
        typed : mapping of str to numpy.ndarray
            Its numbers, by the list that holds them.
        strings : sequence of bytes
            Its strings.
        """
        said = f"the tensor {name[:80]!r}"
        kind = _TYPES.get(data_type)
        if kind is None:
            raise WeightsError(f"{said}: the data type of number {data_type} is not known")
        if len(dims) > _MOST_AXES or any(size < 0 for size in dims):
            raise WeightsError(f"{said}: expected at most {_MOST_AXES} sizes of at least 0, found {dims[:40]}")
        count = math.prod(dims)
        stored: Any
        if raw is not None:
            if kind.name == "string":
                raise WeightsError(f"{said}: strings are never raw bytes")
            found, wanted, stored = len(raw), -(-count * kind.bits // 8), raw
        elif kind.name == "string":
            found, wanted, stored = len(strings), count, strings
        else:
            others = [key for key in typed if key != kind.typed]
            if others:
                raise WeightsError(f"{said}: its numbers are in a list of another type than {kind.name}")
            stored = typed.get(kind.typed, np.empty(0, np.int64 if kind.typed.startswith("i") else np.float32))
            # Numbers of less than a byte lie together in one; those of a complex number are two.
            found = len(stored)
            wanted = -(-count * kind.bits // 8) if kind.bits < 8 else count * (2 if kind.code[:1] == "c" else 1)
        if found != wanted:
            raise WeightsError(f"{said}: shape {dims} of {kind.name} takes {wanted:,} entries, found {found:,}")
        if raw is None:
            return Tensor(name, kind.name, dims, _narrowed(said, kind, stored))
        return Tensor(name, kind.name, dims, stored, raw=True)

    @staticmethod
    def sparse(values: Tensor, indices: Tensor, dims: tuple[int, ...]) -> Tensor:
        """Return a tensor that is 0 but for some places, or raise `WeightsError` where these are not inside it."""
        said = f"the sparse tensor {values.name[:80]!r}"
        places, numbers = indices.array(), values.array()
        count = math.prod(dims)
        if len(dims) > _MOST_AXES or any(size < 0 for size in dims) or count > 1 << 28 or numbers.ndim != 1:
            raise WeightsError(f"{said}: expected numbers along one axis, and a shape of at most 2**28 numbers")
        if places.dtype != np.int64 or places.shape not in ((len(numbers),), (len(numbers), len(dims))):
            raise WeightsError(f"{said}: expected one place for each of its {len(numbers)} numbers")
        if places.ndim == 2:
            if places.size and ((places < 0) | (places >= np.asarray(dims))).any():
                raise WeightsError(f"{said}: a place lies outside of its shape {dims}")
            places = np.ravel_multi_index(tuple(places.T), dims) if len(dims) else places[:, 0]
        elif places.size and (places.min() < 0 or places.max() >= count):
            raise WeightsError(f"{said}: a place lies outside of its shape {dims}")
        whole = np.zeros(count, numbers.dtype)
        whole[places] = numbers
        return Tensor(values.name, whole.dtype.name, dims, whole)  # of a wider type where NumPy lacks its own

    def array(self) -> np.ndarray:
        """Return the numbers: of the same memory as the file's where NumPy has the type, else in a wider type.

        bfloat16 and numbers of 8 and 4 bits with a fraction become float32, integers of 4 and 2 bits become those of 8,
        all exactly. Strings are objects.
        """
        kind = next(kind for kind in _TYPES.values() if kind.name == self.dtype)
        if self.dtype == "string":
            try:
                texts = [s.decode("utf-8") for s in self.stored]
            except UnicodeDecodeError:
                raise WeightsError(f"the tensor {self.name[:80]!r} holds a text that is not UTF-8") from None
            found = np.empty(len(texts), object)
            found[:] = texts
            return found.reshape(self.shape)
        stored = self.stored
        if self.raw and kind.bits >= 8:
            stored = _bytes_as(stored, kind)
        if self.dtype in _WIDENED:
            stored = _widened(stored, kind, math.prod(self.shape))
        return stored.reshape(self.shape)


def _bytes_as(raw: np.ndarray, kind: _Type) -> np.ndarray:
    """Return bytes as numbers: without copying where they lie well and the machine writes numbers as the file does."""
    if kind.code == "?":
        return raw != 0
    dtype = np.dtype(kind.code).newbyteorder("<")
    if not len(raw):
        return np.empty(0, kind.code)
    if raw.ctypes.data % dtype.itemsize:
        raw = raw.copy()
        raw.flags.writeable = False  # as bytes of the file are
    found = raw.view(dtype)
    return found if sys.byteorder == "little" else found.astype(kind.code)


def _narrowed(said: str, kind: _Type, stored: Any) -> Any:
    """Return numbers of a list as NumPy's numbers of the type; the list's own type may be wider."""
    if kind.name == "string":
        return stored
    if kind.bits < 8:
        return (stored & 0xFF).astype(np.uint8)
    if kind.code[0] == "c":
        return np.ascontiguousarray(stored).view(kind.code)
    if kind.typed in ("ints32", "unsigned"):
        wide = stored.astype(np.int64) if kind.typed == "ints32" else stored.view(np.uint64)
        code = "u2" if kind.name == "float16" else kind.code
        narrow = (wide != 0) if code == "?" else wide.astype(code)
        # Negative numbers may be written as unsigned ones of 32 or 64 bits: what counts are the low bits.
        if code not in ("?", "i4", "u8", "u4") and len(wide) and not np.array_equal(narrow.astype(wide.dtype), wide):
            low = wide & ((1 << kind.bits) - 1) if kind.typed == "ints32" else wide
            if kind.code[0] == "u" or not np.array_equal(low.astype(code).astype(np.int64), wide):
                raise WeightsError(f"{said}: a number does not fit into {kind.name}")
        return narrow.view("f2") if kind.name == "float16" else narrow
    return stored.astype(kind.code, copy=False)


def _widened(stored: np.ndarray, kind: _Type, count: int) -> np.ndarray:
    """Return numbers of types that NumPy lacks in one that holds each exactly."""
    if kind.name == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if kind.bits < 8:  # the first number in the lowest bits
        each = 8 // kind.bits
        shifts = np.arange(each, dtype=np.uint8) * np.uint8(kind.bits)
        stored = ((stored[:, None] >> shifts) & np.uint8((1 << kind.bits) - 1)).reshape(-1)[:count]
        if kind.name[:4] == "uint":
            return stored
        if kind.name[:3] == "int":
            half = np.int8(1 << (kind.bits - 1))
            return (stored.astype(np.int8) ^ half) - half
    if kind.name == "float8e8m0":
        return np.where(stored == 255, np.nan, np.exp2(stored.astype(np.float64) - 127)).astype(np.float32)
    return _small_floats(kind)[stored]


def _small_floats(kind: _Type) -> np.ndarray:
    """Return all numbers of a floating-point type of at most 8 bits, in the order of their bits."""
    exponent_bits, fraction_bits, bias, ends = _SMALL[kind.name]
    bits = np.arange(1 << (1 + exponent_bits + fraction_bits))
    fraction = bits & ((1 << fraction_bits) - 1)
    exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1)
    sign = np.where(bits >> (exponent_bits + fraction_bits), -1.0, 1.0)
    normal = (1 + fraction / (1 << fraction_bits)) * np.exp2(exponent - float(bias))
    below = fraction / (1 << fraction_bits) * np.exp2(1.0 - bias)
    found = sign * np.where(exponent == 0, below, normal)
    if ends == "":
        top = exponent == (1 << exponent_bits) - 1
        found = np.where(top, np.where(fraction == 0, sign * np.inf, np.nan), found)
    elif ends == "fn":
        magnitude = bits & ((1 << (exponent_bits + fraction_bits)) - 1)
        found = np.where(magnitude == (1 << (exponent_bits + fraction_bits)) - 1, np.nan, found)
    elif ends == "fnuz":
        found = np.where(bits == 1 << (exponent_bits + fraction_bits), np.nan, found)
    return found.astype(np.float32)
