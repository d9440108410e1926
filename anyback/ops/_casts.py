"""The rules for types around an op: what integers, half types and mixed types become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyback._typing import Array, DType, Namespace
from anyback.backends import array_namespace, backend_of, common_float, dtype_name
from anyback.plan import Casts

__all__ = ["FLOATS", "KEEP", "PRODUCTS"]

_HALF = ("float16", "bfloat16")
_FULL = ("float32", "float64")


def _as_floats(kernel: Callable[..., Array], x: Array, *rest: Any, **attributes: Any) -> Array:
    """Return a kernel's result, computed in the common floating-point type of the arguments; half types in float32."""
    if not rest and dtype_name(x.dtype) in _FULL:
        return kernel(x, **attributes)
    arguments = (x, *rest)
    arrays = [a for a in arguments if hasattr(a, "dtype")]
    xp = array_namespace(x)
    result = _common(xp, arrays)
    wide = xp.float32 if dtype_name(result) in _HALF else result
    y = kernel(*[_cast(xp, a, wide) if hasattr(a, "dtype") else a for a in arguments], **attributes)
    return y if y.dtype == result else xp.astype(y, result)


def _as_products(kernel: Callable[..., Array], x: Array, *arguments: Any, **attributes: Any) -> Array:
    """Return a product, computed in the common floating-point type; integers are cast to the weight's type."""
    dtype = x.dtype
    for a in arguments:
        if a is not None and a.dtype is not dtype and a.dtype != dtype:
            break
    else:
        return kernel(x, *arguments, **attributes)
    xp = array_namespace(x)
    result = _common(xp, [a for a in (x, *arguments) if a is not None])
    arguments = tuple(None if a is None else _cast(xp, a, result) for a in arguments)
    return kernel(_cast(xp, x, result), *arguments, **attributes)


def _common(xp: Namespace, arrays: list[Array]) -> DType:
    """Return the floating-point type of a result."""
    floats = [a.dtype for a in arrays if dtype_name(a.dtype) in (*_HALF, *_FULL)]
    if not floats:
        return backend_of(arrays[0]).default_float(arrays[0])
    found = floats[0]
    for dtype in floats[1:]:
        found = common_float(xp, found, dtype)
    return found


def _cast(xp: Namespace, x: Array, dtype: DType) -> Array:
    return x if x.dtype == dtype else xp.astype(x, dtype)


def _common_name(default: str, *names: str | None) -> str | None:
    """Return the name of the common floating-point type; None where the first is unknown."""
    if names[0] is None:
        return None
    floats = [name for name in names if name in (*_HALF, *_FULL)]
    if not floats:
        return default
    if set(_HALF) <= set(floats):
        floats.append("float32")
    return max(floats, key=(*_HALF, *_FULL).index)


def _first(default: str, *names: str | None) -> str | None:
    return names[0]


#: Integers become the default floating-point type; half types are computed in float32 and rounded once.
FLOATS = Casts(_as_floats, _common_name)
#: Integers become floating-point numbers of the weight's type; a library multiplies half types in its own way.
PRODUCTS = Casts(_as_products, _common_name)
#: Every type passes as it is.
KEEP = Casts(None, _first)
