"""The table of backends, and the backend that an array belongs to."""

from __future__ import annotations

from types import ModuleType
from typing import Literal, TypeAlias

import array_api_compat

from anyback._typing import Array, Namespace
from anyback.backends import _numpy_namespace
from anyback.backends._refused import is_plain, refused
from anyback.backends.base import Backend
from anyback.backends.cupy import CuPy
from anyback.backends.dask import Dask
from anyback.backends.jax import JAX
from anyback.backends.numpy import NumPy
from anyback.backends.strict import Strict
from anyback.backends.torch import Torch
from anyback.errors import BackendError, DataError
from anyback.numbers import FLOATS, INTEGERS, NUMBERS, dtype_name

__all__ = [
    "OWN_ROWS",
    "ROWS",
    "BackendLike",
    "BackendName",
    "array_namespace",
    "backend_name",
    "backend_of",
    "dtype_of",
    "is_concrete",
    "is_float",
    "is_integer",
]

#: The names that `resolve` takes without a device, for type checkers and editors; ``"torch:cuda:1"`` is one too.
BackendName: TypeAlias = Literal["numpy", "cupy", "jax", "torch", "dask", "array_api_strict", "auto"]
#: What may be given as a backend: a name, with or without a device, or a backend.
BackendLike: TypeAlias = BackendName | str | Backend

#: The backends by name. To add one to anyback: a file beside this one, an entry here, an extra in pyproject.toml.
#: A program may add one of its own: ``ROWS["mine"] = Mine``, a subclass of `Backend` whose `name` is ``"mine"``.
ROWS: dict[str, type[Backend]] = {row.name: row for row in (NumPy, CuPy, JAX, Torch, Dask, Strict)}

#: The backends of anyback itself, which stay in the table; one that a program adds may be replaced or removed.
OWN_ROWS = frozenset(ROWS.values())

# A look-up costs a microsecond, and its result depends on the type of the array alone, so it is kept: the backend where
# it is one of anyback's own.
_namespaces: dict[type, Namespace] = {}
_backends: dict[type, Backend] = {}


def array_namespace(*arrays: Array) -> Namespace:
    """Return the namespace that all the arrays belong to.

    Parameters
    ----------
    *arrays : array
        Arrays of any library that follows the standard.

    Returns
    -------
    namespace
        The module with the standard's functions for these arrays.

    Raises
    ------
    BackendError
        If the arrays belong to different libraries. Some libraries would convert silently; anyback never does.
    DataError
        If one of the arguments is no array.

    Examples
    --------
    >>> import numpy as np
    >>> array_namespace(np.ones(3)).concat([np.zeros(1), np.ones(2)])
    array([0., 1., 1.])
    """
    found: Namespace = None
    for x in arrays:
        xp = _namespaces.get(type(x)) or _find_namespace(x)
        if found is None:
            found = xp
        elif xp is not found:
            ours, theirs = backend_name(found), backend_name(xp)
            raise BackendError(
                f"arrays of {ours} and {theirs} do not mix; move one, for example "
                f"anyback.asarray(x, backend={ours!r}) or net.to({theirs!r})"
            )
    return found


def _find_namespace(x: object) -> Namespace:
    """Return the namespace of an array of a type that was not seen before, or raise `DataError` where it is none.

    Every type of array passes here once: a class that adds meaning to its numbers is refused here.
    """
    try:
        if array_api_compat.is_numpy_array(x):
            xp: Namespace = _numpy_namespace
        elif array_api_compat.is_jax_array(x):
            xp = JAX().xp  # array_api_compat would make an array to ask it, and JAX compile two programs for that
        else:
            xp = array_api_compat.array_namespace(x)
    except TypeError:
        raise refused(x) from None
    if not is_plain(x):
        raise refused(x)
    if isinstance(xp, ModuleType):  # a namespace that is an object may differ between arrays of one type
        _namespaces[type(x)] = xp
        backend = _backend_by_namespace(xp)
        if type(backend) in OWN_ROWS:
            _backends[type(x)] = backend
    return xp


def backend_name(xp: Namespace) -> str:
    """Return the name of the backend that namespace `xp` belongs to, or the namespace's own."""
    row = _row_of(xp)
    return row.name if row else _own_name(xp)


def _row_of(xp: Namespace) -> type[Backend] | None:
    name = _own_name(xp)
    return next((row for row in ROWS.values() if row.namespace == name), None)


def _own_name(xp: Namespace) -> str:
    return str(getattr(xp, "__name__", xp))


_by_device: dict[tuple[type[Backend], str | None], Backend] = {}
_by_namespace: dict[Namespace, Backend] = {}  # of libraries that are not in the table


def backend_of(x: Array, *, device: bool = False) -> Backend:
    """Return the backend of an array.

    Parameters
    ----------
    x : array
        An array of any library that follows the standard.
    device : bool
        Whether the backend returned also names the device of `x`.

    Returns
    -------
    Backend
        The backend in the table; a plain `Backend`, with the standard's defaults, for a library that is not there.
    """
    backend = _backends.get(type(x)) or _backend_by_namespace(_namespaces.get(type(x)) or _find_namespace(x))
    return _instance(type(backend), backend.device_of(x)) if device else backend


def _instance(row: type[Backend], device: str | None) -> Backend:
    """Return the one instance of a backend's class for a device."""
    key = row, device
    if key not in _by_device:
        _by_device[key] = row(device)
    return _by_device[key]


def _backend_by_namespace(xp: Namespace) -> Backend:
    if row := _row_of(xp):
        return _instance(row, None)
    if xp not in _by_namespace:
        _by_namespace[xp] = _unlisted(xp)
    return _by_namespace[xp]


def _unlisted(xp: Namespace) -> Backend:
    """Return a backend for a library that is not in the table; it is not tried, since its arrays may have no values."""
    name = _own_name(xp)
    fields = {
        "name": name,
        "namespace": name,
        "xp": property(lambda self: xp),
        "ways": lambda self, *weight: Backend.ways(self, *weight)[:1],
        "own": getattr(type(xp), "kernels_of_anyback", {}),  # of a namespace that is an object of ours
    }
    return type("Unlisted", (Backend,), fields)()


def dtype_of(x: Array) -> str:
    """Return the standard's name of the dtype of `x`, or raise `DataError` where it is no array of real numbers."""
    backend = _backends.get(type(x)) or backend_of(x)
    if why := backend.more_than_numbers(x):
        raise refused(x, why)
    name = dtype_name(x.dtype)
    if name in NUMBERS:
        return name
    raise DataError(f"expected an array of numbers, found dtype {name[:40]}; convert it, for example to float32")


def is_float(x: Array) -> bool:
    """Return whether `x` holds floating-point numbers, by its dtype alone; DataError where it holds no numbers."""
    return dtype_of(x) in FLOATS


def is_integer(x: Array) -> bool:
    """Return whether `x` holds integers, by its dtype alone; booleans do not count as integers."""
    return dtype_of(x) in INTEGERS


def is_concrete(x: Array) -> bool:
    """Return whether `x` has values; an array that is being traced, or that has only a shape, has none."""
    return backend_of(x).device_of(x) not in (None, "meta")
