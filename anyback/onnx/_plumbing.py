"""Ops that no operator stands for: constants of the host, and moves between the host and a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.ops import KEEP, Op, Rows

__all__ = ["constant", "received", "to_device", "to_host"]


def _shape_unknown(*shapes: Any, **attributes: Any) -> None:
    return None


def _constant(*, value: Any) -> Any:
    """Return what is known, which stays on the host."""
    return value


def _to_device(x: Any, like: Array) -> Array:
    """Return a NumPy array as an array of the library and on the device of `like`; strings stay where they are."""
    if (
        isinstance(like, (np.ndarray, np.generic))
        or not isinstance(x, (np.ndarray, np.generic))
        or x.dtype.kind in "OU"
    ):
        return x
    backend = backends.backend_of(like, device=True)
    return backend.from_numpy(np.asarray(x), None if backend.device is None else backend.device_object())


def _to_host(x: Any) -> Any:
    """Return an array as a NumPy array on the host."""
    return x if isinstance(x, (np.ndarray, np.generic)) else backends.to_numpy(x)


def _received(x: Array, *, dtype: str) -> Array:
    """Return an input in the floating-point type of the network: numbers of other types are cast."""
    if backends.dtype_name(x.dtype) == dtype:
        return x
    xp = backends.array_namespace(x)
    return xp.astype(x, backends.as_dtype(xp, dtype))


def _as_it_is(x: Any, **attributes: Any) -> Any:
    return x


constant = Op("constant", _constant, _shape_unknown, rows=Rows.ANY, casts=KEEP)
to_device = Op("to_device", _to_device, lambda x, like: x, rows=Rows.ANY, casts=KEEP)
#: Values are needed, so that nothing can be traced through it.
to_host = Op("to_host", _to_host, _as_it_is, casts=KEEP)
received = Op("received", _received, _as_it_is, rows=Rows.ALONE, casts=KEEP, types=("dtype",))
