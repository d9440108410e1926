"""Which array library, and where: the table of backends and the choice between them.

Arrays decide what computes. The choice made here (an argument, `use_backend`, ``ANYBACK_BACKEND``, in that
order) says only where *new* arrays are made: weights that are loaded, data that comes from a file or a list.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import MappingProxyType, ModuleType
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import Array, DType, Namespace
from anyback.backends._dtypes import common_float
from anyback.backends._refused import check_host, is_plain, refused
from anyback.backends.base import Backend, Status, dtype_name, first_line, largest_of
from anyback.backends.cupy import CuPy
from anyback.backends.dask import Dask
from anyback.backends.jax import JAX
from anyback.backends.numpy import NumPy
from anyback.backends.strict import Strict
from anyback.backends.torch import Torch
from anyback.errors import BackendError, DataError

__all__ = [
    "ROWS",
    "Backend",
    "Status",
    "array_namespace",
    "as_dtype",
    "asarray",
    "available_backends",
    "backend_name",
    "backend_of",
    "common_float",
    "dtype_name",
    "dtype_of",
    "get_backend",
    "get_precision",
    "host_array",
    "is_concrete",
    "is_float",
    "is_integer",
    "largest_of",
    "resolve",
    "scope",
    "to_numpy",
    "use_backend",
]

#: The backends by name. To add one: a file beside this one, a row here, an extra in pyproject.toml.
ROWS: MappingProxyType[str, type[Backend]] = MappingProxyType(
    {row.name: row for row in (NumPy, CuPy, JAX, Torch, Dask, Strict)}
)
PRECISIONS = ("highest", "tf32", "bf16")

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMBERS = _FLOATS | _INTEGERS | {"bool"}

_log = logging.getLogger("anyback")
_chosen: ContextVar[Backend | None] = ContextVar("anyback_backend", default=None)
_precision: ContextVar[str | None] = ContextVar("anyback_precision", default=None)


# -- Arrays decide -----------------------------------------------------------------------------------


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
        If the arrays belong to different libraries. Some libraries would mix in silence; anyback never does.
    DataError
        If one of them is no array.

    Examples
    --------
    >>> import numpy as np
    >>> array_namespace(np.ones(3)).__name__
    'array_api_compat.numpy'
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


# Asking costs a microsecond, and the type of an array settles the answer.
_namespaces: dict[type, Namespace] = {}
_backends: dict[type, Backend] = {}


def _find_namespace(x: object) -> Namespace:
    """Return the namespace of an array of a type that was not seen before, or raise `DataError` where it is none.

    So this is the one door for arrays: what its class makes more than an array of numbers is seen here or nowhere.
    """
    try:
        xp = array_api_compat.array_namespace(x)
    except TypeError:
        raise refused(x) from None
    if not is_plain(x):
        raise refused(x)
    if isinstance(xp, ModuleType):  # a namespace that is an object may differ between arrays of one type
        _namespaces[type(x)] = xp
        _backends[type(x)] = _backend_by_namespace(xp)
    return xp


def backend_name(xp: Namespace) -> str:
    """Return the name of the backend that namespace `xp` belongs to, or the namespace's own."""
    name = str(getattr(xp, "__name__", xp))
    return next((row.name for row in ROWS.values() if row.namespace == name), name)


_by_namespace: dict[Namespace, Backend] = {}
_by_device: dict[tuple[type[Backend], str | None], Backend] = {}


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
        A row of the table; a plain `Backend` with the standard's defaults for a library that has no row.
    """
    backend = _backends.get(type(x)) or _backend_by_namespace(_find_namespace(x))
    if not device:
        return backend
    key = type(backend), backend.device_of(x)
    if key not in _by_device:
        _by_device[key] = type(backend)(key[1])
    return _by_device[key]


def _backend_by_namespace(xp: Namespace) -> Backend:
    backend = _by_namespace.get(xp)
    if backend is None:
        row = ROWS.get(backend_name(xp))
        backend = _by_namespace[xp] = row() if row else _unlisted(xp)
    return backend


def _unlisted(xp: Namespace) -> Backend:
    """Return a backend for a library without a row, of which nothing is checked: its arrays may hold no numbers yet."""
    name = backend_name(xp)
    fields = {
        "name": name,
        "namespace": name,
        "xp": property(lambda self: xp),
        "ways": lambda self, *weight: Backend.ways(self, *weight)[:1],
    }
    return type("Unlisted", (Backend,), fields)()


def dtype_of(x: Array) -> str:
    """Return the standard's name of the dtype of `x`, or raise `DataError` where it is no array of real numbers."""
    backend = _backends.get(type(x)) or backend_of(x)
    if why := backend.more_than_numbers(x):
        raise refused(x, why)
    name = dtype_name(x.dtype)
    if name in _NUMBERS:
        return name
    raise DataError(f"expected an array of numbers, found dtype {name[:40]}; convert it, for example to float32")


def is_float(x: Array) -> bool:
    """Return whether `x` holds floating-point numbers, by its dtype alone; DataError where it holds no numbers."""
    return dtype_of(x) in _FLOATS


def is_integer(x: Array) -> bool:
    """Return whether `x` holds integers, by its dtype alone: booleans are none, they are 1 and 0 on every scale."""
    return dtype_of(x) in _INTEGERS


def is_concrete(x: Array) -> bool:
    """Return whether `x` has values: an array that is being traced, or has a shape alone, has none."""
    return backend_of(x).device_of(x) not in (None, "meta")


# -- The choice --------------------------------------------------------------------------------------


def resolve(spec: str | Backend | None = None) -> Backend:
    """Return a usable backend.

    Parameters
    ----------
    spec : str, Backend or None
        ``"library"`` or ``"library:device"``, such as ``"jax"``, ``"torch:cuda:1"`` or ``"jax:cpu"``;
        ``"auto"`` takes the first accelerator that works. None is the current choice.

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        If the name is unknown or the backend cannot be used here; never another one in its place.

    Examples
    --------
    >>> str(resolve("numpy"))
    'numpy'
    """
    if spec is None:
        return get_backend()
    if isinstance(spec, Backend):
        backend = spec
    elif not isinstance(spec, str):
        raise BackendError(f"expected a backend's name such as 'jax', found {type(spec).__name__}; {_known()}")
    elif spec.strip() == "auto":
        return _auto()
    else:
        name, _, device = spec.strip().partition(":")
        if name not in ROWS:
            raise BackendError(f"unknown backend {name[:40]!r}; {_known()}")
        backend = ROWS[name](device or None)
    if type(backend) not in _working:
        status = backend.status() if backend.device is None else type(backend)().status()
        if not status.usable:
            # What else works is not tried here: that starts processes, and takes seconds.
            raise BackendError(f"{status.name} cannot be used: {status.reason}. {status.remedy}. {_DOCTOR}")
        _working.add(type(backend))
    if backend.device is not None and backend not in _placed:
        backend.asarray(np.zeros(1, dtype=np.float32))  # says which devices there are where this one is not
        _placed.add(backend)
    return backend


_working: set[type[Backend]] = set()
_placed: set[Backend] = set()


_DOCTOR = "`anyback doctor` says what works here"


def _known() -> str:
    return f"known: {', '.join(ROWS)}, auto"


def get_backend() -> Backend:
    """Return the backend on which new arrays are made.

    Returns
    -------
    Backend
        That of the innermost `use_backend`, or of the environment variable ``ANYBACK_BACKEND``, or NumPy.

    Raises
    ------
    BackendError
        If ``ANYBACK_BACKEND`` names a backend that is unknown or cannot be used.

    Examples
    --------
    >>> with use_backend("numpy"):
    ...     print(get_backend())
    numpy
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    spec = os.environ.get("ANYBACK_BACKEND", "").strip() or "numpy"
    if spec not in _from_environment:
        try:
            _from_environment[spec] = resolve(spec)
        except BackendError as error:
            raise BackendError(f"ANYBACK_BACKEND={spec[:40]}: {error}") from None
    return _from_environment[spec]


_from_environment: dict[str, Backend] = {}


@contextlib.contextmanager
def use_backend(spec: str | Backend) -> Iterator[Backend]:
    """Make new arrays on another backend inside a ``with`` block.

    Parameters
    ----------
    spec : str or Backend
        As in `resolve`: ``"jax"``, ``"torch:cuda:1"``, ``"auto"``.

    Yields
    ------
    Backend
        The backend in force. It holds for this thread and task alone.

    Raises
    ------
    BackendError
        If the backend is unknown or cannot be used.

    Examples
    --------
    >>> with use_backend("numpy") as backend:
    ...     print(backend.name)
    numpy
    """
    token = _chosen.set(resolve(spec))
    try:
        yield get_backend()
    finally:
        _chosen.reset(token)


def _auto() -> Backend:
    found: tuple[str, str] = ("numpy", "cpu")
    for name, status in available_backends().items():
        device = status.devices[0] if status.devices else "cpu"
        accelerators = [d for d in status.devices if d.partition(":")[0] in {"cuda", "gpu", "rocm", "tpu", "mps"}]
        if status.usable and accelerators:
            found = name, accelerators[0] if device not in accelerators else device
            break
    spec = "numpy" if found[0] == "numpy" else ":".join(found)
    _log.warning("backend auto chose %s", spec if spec != "numpy" else "numpy: no accelerator is usable")
    return resolve(spec)


def available_backends() -> dict[str, Status]:
    """Say of every backend whether it can be used here, and if not, why and what mends it.

    Each library is tried in a process of its own: it may crash, take the GPU's memory or take long to import,
    and nothing of that stays behind. So this takes seconds, on demand and once; nothing is tried at import.

    Returns
    -------
    dict of str to Status
        One entry for each known backend, in the order of the table.

    Examples
    --------
    >>> available_backends()["numpy"].usable
    True
    """
    with _trying:  # a second thread waits, and does not try again
        if not _tried:
            with ThreadPoolExecutor(max_workers=4) as pool:
                _tried.update(zip(ROWS, pool.map(_status_in_child, ROWS), strict=True))
        return dict(_tried)


_tried: dict[str, Status] = {}
_trying = threading.Lock()


_CHILD = "import json, dataclasses, sys; from anyback.backends import ROWS; \
print('\\n' + json.dumps(dataclasses.asdict(ROWS[sys.argv[1]]().status())))"


def _status_in_child(name: str) -> Status:
    if name == "numpy":  # it is imported already
        return NumPy().status()
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, name]
    try:
        # The child must find this anyback, however the parent came to it.
        path = os.pathsep.join(p for p in sys.path if p)
        environment = {**os.environ, "PYTHONPATH": path}
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=environment, stdin=subprocess.DEVNULL, check=False
        )
        fields: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Status(name, False, reason="did not answer within 120 s", remedy="check the device and its driver")
    except (OSError, ValueError, IndexError):
        reason = "the process that tried it crashed"
        return Status(name, False, reason=reason, remedy=f"try python -c 'import {name}' and read what it prints")
    return Status(**{**fields, "devices": tuple(fields["devices"])})


# -- Precision ---------------------------------------------------------------------------------------


def get_precision() -> str:
    """Return the precision of matrix products in force: ``"highest"`` unless asked otherwise.

    Returns
    -------
    str

    Raises
    ------
    BackendError
        If ``ANYBACK_PRECISION`` is none of the known.

    Examples
    --------
    >>> get_precision()
    'highest'
    """
    name = _precision.get() or os.environ.get("ANYBACK_PRECISION", "").strip() or "highest"
    if name not in PRECISIONS:
        raise BackendError(f"unknown precision {str(name)[:40]!r}; known: {', '.join(PRECISIONS)}")
    return name


def scope(backend: Backend, precision: str | None = None) -> AbstractContextManager[str]:
    """Hold the precision of matrix products inside a ``with`` block, and nowhere else.

    Parameters
    ----------
    backend : Backend
        The library whose setting is held.
    precision : str or None
        ``"highest"``, ``"tf32"`` or ``"bf16"``; None is what `get_precision` returns.

    Returns
    -------
    context manager
        Gives the precision in force.

    Raises
    ------
    BackendError
        If the precision is unknown, or this library does not offer it on this device.
    """
    return backend.compiling() or _Scope(backend, precision)


class _Scope:
    # A class, since a generator costs half a microsecond more, and one image on NumPy should take no more than twenty.
    __slots__ = ("_backend", "_inner", "_precision", "_token")

    def __init__(self, backend: Backend, precision: str | None) -> None:
        self._backend, self._precision = backend, precision

    def __enter__(self) -> str:
        self._token = _precision.set(self._precision) if self._precision else None
        try:
            name = get_precision()
            if name != "highest" and name not in self._backend.offered():
                offered = ", ".join(self._backend.offered())
                raise BackendError(f"{self._backend} does not offer precision {name!r} here; it offers: {offered}")
            self._inner = self._backend.precision(name)
            self._inner.__enter__()
        except BaseException:
            self._leave()
            raise
        return name

    def __exit__(self, *error: Any) -> None:
        try:
            self._inner.__exit__(*error)
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._token:
            _precision.reset(self._token)


# -- Moving ------------------------------------------------------------------------------------------


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


def asarray(x: Any, dtype: str | None = None, backend: str | Backend | None = None) -> Array:
    """Return `x` as an array of a backend: the one call that moves arrays between libraries and devices.

    Parameters
    ----------
    x : array, list or number
        Anything that holds numbers. Python floats become the library's default floating-point type.
    dtype : str or None
        The standard's name of a data type, such as ``"float32"``; None keeps that of `x`.
    backend : str, Backend or None
        Where to; None is the current choice.

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
    if name in _NUMBERS and hasattr(xp, name):
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
