"""Types of numbers and precisions of products by name, with their limits: the one table of them.

Examples
--------
>>> FLOATS["bfloat16"].significant, FLOATS["float32"].roundoff == 2**-24
(8, True)
>>> isinstance(FLOATS["float16"], Float), float_name(np.float16)
(True, 'float16')
>>> sorted(NUMBERS - INTEGERS)
['bfloat16', 'bool', 'float16', 'float32', 'float64']
>>> PRECISIONS["tf32"] == Precision(significant=11, roundoffs=2)
True
>>> asked: PrecisionName = "tf32"  # type checkers and editors know the names
>>> print(unknown_precision("fp8"))
unknown precision 'fp8'; known: highest, tf32, bf16
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from anyback._typing import DType, Namespace
from anyback.errors import BackendError, DataError

__all__ = [
    "FLOATS",
    "INTEGERS",
    "NUMBERS",
    "PRECISIONS",
    "Float",
    "Precision",
    "PrecisionName",
    "common_float",
    "dtype_name",
    "float_name",
    "largest_of",
    "unknown_precision",
]


@dataclass(frozen=True)
class Float:
    """A floating-point type.

    Parameters
    ----------
    bits : int
        Bits of one number.
    significant : int
        Significant bits, including the leading one, which is not stored.
    roundoff : float
        Unit roundoff: the largest relative error of rounding to nearest.
    smallest : float
        The smallest normal number.
    largest : float
        The largest finite number.
    """

    bits: int
    significant: int
    roundoff: float
    smallest: float
    largest: float


def _binary(bits: int, significant: int) -> Float:
    """Return the IEEE 754 binary type of `bits` bits with `significant` significant bits; the rest is the exponent."""
    highest = 2 ** (bits - significant - 1) - 1  # the largest exponent
    largest = (2 - 2.0 ** (1 - significant)) * 2.0**highest
    return Float(bits, significant, 2.0**-significant, 2.0 ** (1 - highest), largest)


#: The floating-point types by the standard's names, and bfloat16. A plain dict, which torch.compile looks into.
FLOATS: Mapping[str, Float] = {
    "float16": _binary(16, 11),
    "bfloat16": _binary(16, 8),
    "float32": _binary(32, 24),
    "float64": _binary(64, 53),
}
#: The names of the types of integers.
INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
#: The names of all types of real numbers; True is 1.
NUMBERS = frozenset(FLOATS) | INTEGERS | {"bool"}


@dataclass(frozen=True)
class Precision:
    """How matrix products of float32 arrays are computed.

    Parameters
    ----------
    significant : int or None
        Significant bits to which the operands are rounded; None leaves the operands as they are.
    roundoffs : int
        How many unit roundoffs one addition may be off by: 2 where sums are cut off instead of rounded.
    """

    significant: int | None
    roundoffs: int


#: The names in `PRECISIONS`, for type checkers and editors.
PrecisionName: TypeAlias = Literal["highest", "tf32", "bf16"]
#: The precisions of matrix products by name; the first is the default.
PRECISIONS: Mapping[PrecisionName, Precision] = {
    "highest": Precision(None, 1),
    "tf32": Precision(11, 2),
    "bf16": Precision(FLOATS["bfloat16"].significant, 2),
}


def unknown_precision(name: str) -> BackendError:
    """Return the error for a name that is not in `PRECISIONS`."""
    return BackendError(f"unknown precision {str(name)[:40]!r}; known: {', '.join(PRECISIONS)}")


def dtype_name(dtype: DType) -> str:
    """Return the standard's name of a data type of any library: ``"float32"``, ``"uint8"``, ``"bfloat16"``.

    Libraries print ``float32``, ``torch.float32`` or ``array_api_strict.float32``: the name is the last word.

    Examples
    --------
    >>> dtype_name(np.dtype(">f4"))
    'float32'
    """
    try:
        return _names[type(dtype)][dtype]
    except KeyError:
        # NumPy prints the byte order too, which is no part of the name.
        name = dtype.name if isinstance(dtype, np.dtype) else str(dtype).rpartition(".")[2]
        _names.setdefault(type(dtype), {})[dtype] = name
        return name


# The cache is keyed by the type of the dtype first: dtypes of different libraries may be equal, or warn when they are
# compared. Not functools.cache, which torch.compile cannot trace.
_names: dict[type, dict[Hashable, str]] = {}


def float_name(dtype: Any) -> str:
    """Return the name of a floating-point type of any library, or raise `DataError` where it is none."""
    try:
        # The types of NumPy's and JAX's scalars, and float, are classes; other libraries' are values.
        name = dtype if isinstance(dtype, str) else dtype_name(np.dtype(dtype) if isinstance(dtype, type) else dtype)
    except TypeError:
        name = str(dtype)
    if name not in FLOATS:
        raise DataError(f"unknown dtype {str(dtype)[:40]!r} for a network; known: {', '.join(FLOATS)}")
    return name


def largest_of(dtype: DType) -> float:
    """Return the largest finite number of a floating-point type of any library.

    Examples
    --------
    >>> largest_of(np.dtype("float16"))
    65504.0
    """
    # By name, since finfo of NumPy does not know bfloat16.
    return FLOATS[dtype_name(dtype)].largest


def common_float(xp: Namespace, first: DType, second: DType) -> DType:
    """Return the floating-point type that holds the numbers of both types, as a dtype of the namespace `xp`.

    It is the same as ``xp.result_type``, which JAX can be set to refuse and torch.compile cannot trace.
    """
    names = dtype_name(first), dtype_name(second)
    if names[0] == names[1]:  # they differ in the order of bytes, which NumPy alone knows
        return first if getattr(first, "isnative", True) else second
    bits = FLOATS[names[0]].bits, FLOATS[names[1]].bits
    if bits[0] == bits[1]:  # float16 and bfloat16: neither holds the numbers of the other
        return xp.float32
    return first if bits[0] > bits[1] else second
