"""Moving arrays between libraries, devices and the host."""

from __future__ import annotations

import contextlib
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array, DType, Namespace
from anyback.backends._choice import resolve
from anyback.backends._refused import check_host, refused
from anyback.backends._table import BackendLike, backend_name, backend_of, dtype_of
from anyback.backends.base import Backend, first_line
from anyback.errors import DataError
from anyback.numbers import NUMBERS, dtype_name

__all__ = ["as_dtype", "asarray", "host_array", "to_numpy"]


def host_array(x: object) -> np.ndarray:
    """Return a list, a number or a NumPy array as a NumPy array of numbers, or raise `DataError`."""
    check_host(x)
    try:
        array = np.asarray(x)
    except Exception as error:  # whatever an object's own conversion throws
        if isinstance(error, ValueError) and isinstance(x, (list, tuple)):
            raise DataError("expected rows of equal length, found a ragged list; pad or cut the rows") from None
        raise refused(x, f"it makes no array: {first_line(error)}") from None
    dtype_of(array)
    return array


def asarray(x: Any, dtype: str | None = None, backend: BackendLike | None = None) -> Array:
    """Return `x` as an array of a backend; this call moves arrays between libraries and devices.

    Parameters
    ----------
    x : array, list or number
        Anything that holds numbers. Python floats become the library's default floating-point type.
    dtype : str or None
        The standard's name of a data type, such as ``"float32"``; None keeps that of `x`.
    backend : str, Backend or None
        The backend; None is the current choice.

    Returns
    -------
    array
        `x` itself where nothing has to change.

    Raises
    ------
    BackendError
        If the backend cannot be used, or lacks the data type.
    DataError
        If `x` does not hold numbers, or is ragged.

    Examples
    --------
    >>> asarray([1.0, 0.5], dtype="float32", backend="numpy")
    array([1. , 0.5], dtype=float32)
    """
    backend = resolve(backend)
    with backend.unwatched(x):
        return _placed_array(x, dtype, backend)


def _placed_array(x: Any, dtype: str | None, backend: Backend) -> Array:
    if array_api_compat.is_array_api_obj(x):
        dtype_of(x)
        x = _adopt(x, backend)
    else:
        x = host_array(x)
        if dtype is None and x.dtype == np.float64:  # Python's floats have no type of their own to keep
            place = None if backend.device is None else backend.device_object()
            dtype = dtype_name(backend.xp.__array_namespace_info__().default_dtypes(device=place)["real floating"])
    if dtype is not None and isinstance(x, np.ndarray):  # before the move: the device may lack the old type
        as_dtype(backend.xp, dtype)
        x = x.astype(as_dtype(np, dtype), copy=False)
    if isinstance(x, np.ndarray) and not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    x = backend.asarray(x)
    return x if dtype is None or dtype_name(x.dtype) == dtype else backend.xp.astype(x, as_dtype(backend.xp, dtype))


def as_dtype(xp: Namespace, name: str) -> DType:
    """Return the dtype that namespace `xp` calls `name`, or raise `DataError`."""
    name = str(name)
    if name in NUMBERS and hasattr(xp, name):
        return getattr(xp, name)
    if name == "bfloat16" and backend_name(xp) in {"numpy", "dask"}:  # NumPy's comes from a package of its own
        with contextlib.suppress(ImportError):
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
    raise DataError(f"{backend_name(xp)} has no dtype {name[:40]!r}; take for example 'float32'")


def _adopt(x: Array, backend: Backend) -> Array:
    """Return an array of any library as one of `backend`'s library or of NumPy's."""
    theirs = backend_of(x)
    if type(theirs) is type(backend) or isinstance(x, np.ndarray):  # a memory map stays one
        return x
    if (device := theirs.device_of(x)) and device.partition(":")[0] in {"cuda", "gpu"}:
        # Both may be on the GPU: DLPack shares the memory instead of sending it through the host.
        with contextlib.suppress(Exception):
            return backend.xp.from_dlpack(x)
    return theirs.to_numpy(x)


def to_numpy(x: Any) -> np.ndarray:
    """Return any array as a NumPy array, copied from its device where it must be.

    Parameters
    ----------
    x : array, list or number
        An array of any library.

    Returns
    -------
    numpy.ndarray
        Of the same shape and dtype.

    Raises
    ------
    DataError
        If `x` does not hold numbers.

    Examples
    --------
    >>> to_numpy([1, 2])
    array([1, 2])
    """
    if not array_api_compat.is_array_api_obj(x):
        return host_array(x)
    dtype_of(x)
    return backend_of(x).to_numpy(x)
