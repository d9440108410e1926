"""The choice of where new arrays are made: an argument, `use_backend`, ``ANYBACK_BACKEND``, in that order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from anyback.backends._availability import available_backends
from anyback.backends._names import ACCELERATORS, about, meant
from anyback.backends._table import ROWS, BackendLike
from anyback.backends.base import Backend
from anyback.errors import BackendError

__all__ = ["get_backend", "resolve", "use_backend"]

_chosen: ContextVar[Backend | None] = ContextVar("anyback_backend", default=None)


def resolve(spec: BackendLike | None = None) -> Backend:
    """Return a usable backend.

    Parameters
    ----------
    spec : str, Backend or None
        ``"library"`` or ``"library:device"``, such as ``"jax"``, ``"torch:cuda:1"`` or ``"jax:cpu"``. ``"auto"`` takes
        the first accelerator that works, else NumPy; ``"cuda"`` and ``"gpu"`` take the first that works, else they are
        errors. Other names of a library are understood, such as ``"PyTorch"``. None is the current choice.

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        If the name is unknown or the backend cannot be used here. No other backend is taken in its place.

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
    else:
        name, _, device = meant(spec.strip()).partition(":")
        if name == "auto" and not device:
            return _auto(("cuda", "gpu", "rocm", "tpu", "mps"))
        if name in ACCELERATORS and not device:
            return _auto(ACCELERATORS[name], name)
        if name not in ROWS:
            raise BackendError(f"unknown backend {name[:40]!r}; {about(name, device)}{_known()}")
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
def use_backend(spec: BackendLike) -> Iterator[Backend]:
    """Make new arrays on another backend inside a ``with`` block.

    Parameters
    ----------
    spec : str or Backend
        As in `resolve`: ``"jax"``, ``"torch:cuda:1"``, ``"auto"``.

    Yields
    ------
    Backend
        The backend in force. The choice holds for this thread and task alone.

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


def _auto(kinds: tuple[str, ...], asked: str = "") -> Backend:
    """Return the first library that works on an accelerator of these kinds; else NumPy, or raise if `asked` is set."""
    import logging

    spec = ""
    for name, status in available_backends().items():
        accelerators = [d for d in status.devices if d.partition(":")[0] in kinds]  # the default one is the first
        if status.usable and accelerators:
            spec = f"{name}:{status.devices[0] if status.devices[0] in accelerators else accelerators[0]}"
            break
    if asked and not spec:
        raise BackendError(f"backend {asked!r}: no library works on such a device here. {_DOCTOR}")
    found = spec or "numpy: no accelerator is usable"
    logging.getLogger("anyback").warning("backend %s chose %s", asked or "auto", found)
    return resolve(spec or "numpy")
