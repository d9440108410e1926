"""Ops that are no operators of ONNX: constants on the host, moves between host and device, and changes of inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.errors import OperatorError
from anyback.onnx import _travels
from anyback.ops import KEEP, Op, Rows

__all__ = ["constant", "on_host", "received", "to_device", "to_host", "turned"]


def _shape_unknown(*shapes: Any, **attributes: Any) -> None:
    return None


def _constant(*, value: Any) -> Any:
    """Return a known value, which is on the host."""
    return value


def _to_device(x: Any, like: Array) -> Array:
    """Return a NumPy array as an array of the library and on the device of `like`; strings stay where they are."""
    if isinstance(like, list):  # a sequence
        like = next((part for part in like if not isinstance(part, (np.ndarray, np.generic, list))), x)
    if (
        isinstance(like, (np.ndarray, np.generic))
        or not isinstance(x, (np.ndarray, np.generic))
        or x.dtype.kind in "OU"
    ):
        return x
    backend = backends.backend_of(like, device=True)
    return backend.from_numpy(np.asarray(x), None if backend.device is None else backend.device_object())


def on_host(x: Any) -> Any:
    """Return an array as a NumPy array on the host, or raise `OperatorError` where it has no values yet."""
    if isinstance(x, (np.ndarray, np.generic)):
        return x
    if not backends.is_concrete(x):
        raise OperatorError(
            "a shape, an axis, a number of steps or the like depends on values that are not known while a program is "
            "being traced; call the network outside of it"
        )
    return backends.to_numpy(x)


def _turned(x: Array) -> Array:
    """Return an array with its last two axes swapped."""
    return backends.array_namespace(x).matrix_transpose(x)


def _received(x: Array, *, dtype: str) -> Array:
    """Return an input in the floating-point type of the network: numbers of other types are cast."""
    if backends.dtype_name(x.dtype) == dtype:
        return x
    xp = backends.array_namespace(x)
    return xp.astype(x, backends.as_dtype(xp, dtype))


def _as_it_is(x: Any, **attributes: Any) -> Any:
    return x


constant = Op("constant", _constant, _shape_unknown, rows=Rows.ANY, casts=KEEP, travels=_travels.constant)
to_device = Op("to_device", _to_device, lambda x, like: x, rows=Rows.ANY, casts=KEEP, travels=_travels.stays)
#: It needs the values, so it cannot be traced: its rows are UNKNOWN.
to_host = Op("to_host", on_host, _as_it_is, casts=KEEP)
turned = Op("turned", _turned, _shape_unknown, rows=Rows.ANY, casts=KEEP, travels=_travels.turned)
received = Op("received", _received, _as_it_is, rows=Rows.ALONE, casts=KEEP, types=("dtype",))
