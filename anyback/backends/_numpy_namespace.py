"""The standard's functions for NumPy's arrays, each looked up when it is first used.

Since 2.2, the oldest that is supported, NumPy itself has most of them as the standard says. `array_api_compat.numpy`
has all of them, but to import it takes as long as all else from the start of Python to the first answer of a network:
it imports every part of NumPy, ``numpy.f2py`` and ``numpy.ma`` among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["astype"]

#: What NumPy has as the standard says, or with more types and parameters, by name.
_NUMPYS = """
    __array_namespace_info__ e inf nan newaxis pi
    bool complex64 complex128 float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64
    arange asarray broadcast_to concat empty empty_like expand_dims eye flip full full_like linspace matrix_transpose
    meshgrid moveaxis ones ones_like permute_dims reshape roll squeeze stack tril triu where zeros zeros_like
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or
    bitwise_right_shift bitwise_xor ceil copysign cos cosh divide equal exp expm1 floor floor_divide greater
    greater_equal isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not logical_or
    logical_xor matmul maximum minimum multiply negative not_equal positive pow remainder round signbit sin sinh sqrt
    square subtract tan tanh trunc
    all any argmax argmin max mean min prod searchsorted sum take
"""
_NAMES = frozenset(_NUMPYS.split())


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Return numbers in another type; NumPy's own function takes no scalars, which its reductions return."""
    return x.astype(dtype, copy=copy)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        found = getattr(np, name)
    elif name.startswith("__"):
        raise AttributeError(name)
    else:
        import array_api_compat.numpy as others

        found = getattr(others, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    import array_api_compat.numpy as others

    return sorted({*globals(), *_NAMES, *others.__all__})
