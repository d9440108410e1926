"""The rows that are timed: what is written by hand, and anyback on each backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from anyback import backends, inference
from anyback.backends import Backend
from anyback.bench._by_hand import by_hand, normalised
from anyback.bench._work import Prepare, Row, Work

__all__ = ["rows"]


def rows(places: Iterable[Backend]) -> list[Row]:
    """Return the rows that need nothing but anyback, on the backends `places`; the first that runs is the measure."""
    found = by_hand()
    for backend in places:
        lazy, numpy = backend.name == "dask", backend.name == "numpy"
        found.append(Row(f"anyback {backend}", "anyback", _predict(backend), ("throughput",), backend.package))
        if numpy:
            found.append(Row(f"anyback {backend}, net(x) on floats", "anyback", _floats(backend), ("latency",)))
        found.append(Row(f"anyback {backend}, net(x)", "anyback", _call(backend, lazy), ("latency",)))
        found.append(Row(f"anyback {backend}, predict", "anyback", _predict(backend, lazy), ("latency",)))
    return found


# -- anyback ------------------------------------------------------------------------------------------


def _predict(backend: Backend, to_host: bool = True) -> Prepare:
    def prepare(work: Work) -> Callable[[], Any]:
        net = work.net.to(backend)
        x = work.x if len(work.x) > 1 else work.x[0]
        if to_host:
            return lambda: backends.to_numpy(inference.predict(net, x))
        return _finished(lambda: inference.predict(net, x), backend)

    return prepare


def _call(backend: Backend, to_host: bool) -> Prepare:
    def prepare(work: Work) -> Callable[[], Any]:
        net, x = work.net.to(backend), backends.asarray(work.x[0], backend=backend)
        if to_host:
            return lambda: backends.to_numpy(net(x))
        return _finished(lambda: net(x), backend)

    return prepare


def _floats(backend: Backend) -> Prepare:
    def prepare(work: Work) -> Callable[[], Any]:
        net, x = work.net.to(backend), normalised(work.x[0], work.pixels)
        return lambda: net(x)

    return prepare


def _finished(function: Callable[[], Any], backend: Backend) -> Callable[[], Any]:
    """Return a function that ends when its result is there, at no cost where it always is."""
    if type(backend).wait is Backend.wait:
        return function

    def finished() -> Any:
        y = function()
        backend.wait(y)
        return y

    return finished
