"""The precision of matrix products in force, and the scope that holds it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from anyback.errors import BackendError
from anyback.numbers import PRECISIONS, PrecisionName, unknown_precision

__all__ = ["Switches", "asking", "get_precision", "offered_precision", "scope"]


class Switches(Protocol):
    """The methods of a backend that concern the precision of products."""

    def offered(self) -> tuple[str, ...]:
        """Return the precisions that the device offers."""

    def precision(self, name: str) -> AbstractContextManager[Any]:
        """Return a scope in which products have a precision."""

    def compiling(self) -> AbstractContextManager[Any] | None:
        """Return the scope to compute in where the caller's code is being compiled; else None."""


_asked: ContextVar[str | None] = ContextVar("anyback_precision", default=None)


def get_precision() -> PrecisionName:
    """Return the precision of matrix products in force: ``"highest"`` unless asked otherwise.

    Returns
    -------
    str

    Raises
    ------
    BackendError
        If ``ANYBACK_PRECISION`` is not the name of a precision.

    Examples
    --------
    >>> get_precision()
    'highest'
    """
    asked = _asked.get()
    if not asked and "ANYBACK_PRECISION" in os.environ:  # `get` takes twice as long where it is not there, as it raises
        asked = os.environ.get("ANYBACK_PRECISION")
    return "highest" if asked is None else _known(asked)


def _known(asked: str) -> PrecisionName:
    """Return the name of a precision, or raise `BackendError` where there is none of that name."""
    wanted = asked.strip() or "highest"
    for name in PRECISIONS:
        if name == wanted:
            return name
    raise unknown_precision(wanted)


def asking(precision: str, program: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of one argument that runs with a precision in force, and sets no library's switches."""

    def call(values: Any) -> Any:
        token = _asked.set(precision)
        try:
            return program(values)
        finally:
            _asked.reset(token)

    return call


def offered_precision(backend: Switches, asked: PrecisionName | None = None) -> PrecisionName:
    """Return the precision that is asked for, or that in force; `BackendError` where the device does not offer it."""
    name = _known(asked) if asked else get_precision()
    if name != "highest" and name not in backend.offered():
        offered = ", ".join(backend.offered())
        raise BackendError(f"{backend} does not offer precision {name!r} here; it offers: {offered}")
    return name


def scope(backend: Switches, precision: PrecisionName | None = None) -> AbstractContextManager[PrecisionName]:
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
        Its value is the precision in force.

    Raises
    ------
    BackendError
        If the precision is unknown, or this library does not offer it on this device.
    """
    return backend.compiling() or _Scope(backend, precision)


class _Scope:
    # A class, since a generator costs half a microsecond more, and one image on NumPy should take no more than twenty.
    __slots__ = ("_backend", "_inner", "_precision", "_token")

    def __init__(self, backend: Switches, precision: PrecisionName | None) -> None:
        self._backend, self._precision = backend, precision

    def __enter__(self) -> PrecisionName:
        self._token = _asked.set(self._precision) if self._precision else None
        try:
            name = offered_precision(self._backend)
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
            _asked.reset(self._token)
