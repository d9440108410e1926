"""Batches of rows in order, computed by one thread or several, and their outputs put together."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import operator
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

from anyback import backends
from anyback._progress import bar
from anyback._typing import Array
from anyback.backends import backend_of
from anyback.errors import AnybackError
from anyback.inference._seen import Seen, look, nan_in, unscaled
from anyback.inference._tiles import Ready, known, moved, ready_for, run_tile, run_tiles
from anyback.network import Network
from anyback.numbers import PrecisionName
from anyback.plan import check_rows

__all__ = ["Collected", "Progress", "again", "batches_of", "one_tile", "own"]

#: Whether a bar is shown; or what is called with the rows done and the rows in all.
Progress: TypeAlias = bool | Callable[[int, int], object]


def batches_of(
    net: Network,
    x: Array,
    batch_size: int | None,
    progress: Progress,
    workers: int | None,
    precision: PrecisionName | None,
    rowwise: bool | None,
) -> Generator[tuple[int, tuple[Array, ...], Seen]]:
    """Yield (number of the first row, outputs, what the input was seen to hold) of each batch, in order."""
    batch_size, workers = _at_least_one("batch_size", batch_size), _at_least_one("workers", workers)
    backend = net.backend or backend_of(x, device=True)
    x = backend_of(x).host_view(x)
    n = int(x.shape[0])
    in_force = backends.offered_precision(backend, precision)
    if n == 0:  # no tile to compute, but the output has a shape
        with backends.scope(backend, precision):
            ys = net.program([backends.asarray(x, backend=backend), *net.arrays])
            check_rows(ys)
            yield 0, ys, Seen()
        return
    first = moved(x[:1, ...], backend)  # says what is wrong with a type that the library lacks
    sample = tuple(map(int, x.shape[1:]))
    ready = ready_for(net, backend, in_force, backends.dtype_name(first.dtype), sample, n, rowwise)
    with backends.scope(backend, precision), backend.one_thread(), _told(progress, n) as tell:
        if later := ready.later:
            yield 0, later(x if isinstance(x, np.ndarray) else moved(x, backend), batch_size, nan_in), Seen()
            tell(n)
            return
        step = -(-(batch_size or backend.tiles * backend.tile) // ready.plan.tile) * ready.plan.tile
        starts = range(0, n, step)
        workers = 1 if len(starts) < 2 else workers or backend.workers

        def batch(start: int) -> tuple[int, tuple[Array, ...], Seen]:
            rows = x[start : min(start + step, n), ...]
            return start, run_tiles(ready, backend, rows), look(rows)

        for done in map(batch, starts) if workers == 1 else _in_order(batch, starts, workers):
            yield done
            tell(min(done[0] + step, n))


def one_tile(
    net: Network,
    x: Array,
    batch_size: int | None,
    progress: Progress,
    workers: int | None,
    precision: PrecisionName | None,
    rowwise: bool | None,
) -> tuple[tuple[Array, ...], Seen, Ready] | None:
    """Return what `batches_of` yields where one tile holds all rows and nobody watches, and the plan; else None.

    For one image the batches, the threads and the settings that outlast a tile take longer than the network.
    """
    n = int(x.shape[0])
    backend = net.backend or backend_of(x, device=True)
    if progress or not 0 < n <= backend.tile:
        return None
    _at_least_one("batch_size", batch_size), _at_least_one("workers", workers)
    in_force = backends.offered_precision(backend, precision)
    x = backend_of(x).host_view(x)
    first = moved(x[:1, ...], backend)
    sample = tuple(map(int, x.shape[1:]))
    ready = ready_for(net, backend, in_force, backends.dtype_name(first.dtype), sample, n, rowwise)
    if n > ready.plan.tile or ready.later:
        return None
    # Not before: the trials of `ready_for` may place their rows in the same memory.
    return run_tile(ready, backend, x, moved(x, backend)), look(x), ready


def again(net: Network, x: np.ndarray, precision: PrecisionName | None) -> tuple[Array, ...] | None:
    """Return the outputs for an array of a type and shape that one tile held before; None where all is to be asked.

    For one image, what need not be asked a second time takes 8 of 32 µs. Where the values are worth a warning, it is.
    """
    ready = known(net, x)
    if ready is None or not x.flags.c_contiguous:
        return None
    plan, backend = ready.plan, ready.plan.backend
    if backends.offered_precision(backend, precision) != plan.precision:
        return None
    single = x.shape == plan.shapes[0]
    rows = x[None] if single else x
    if x.dtype.kind == "f":
        seen = look(rows)
        if seen.nan_rows or unscaled(net, seen.largest):
            return None
    ys = [backend.asarray(own(y)) for y in run_tile(ready, backend, rows, backend.put_tile(rows))]
    return tuple([y[0, ...] for y in ys] if single else ys)


def _at_least_one(name: str, value: Any) -> int | None:
    """Return a number of rows or threads, any kind of integer, or raise `AnybackError`."""
    if value is None:
        return None
    with contextlib.suppress(TypeError):
        if operator.index(value) >= 1:
            return operator.index(value)
    raise AnybackError(f"{name}: expected a whole number of at least 1, found {str(value)[:40]}")


def _in_order(task: Callable[[int], Any], starts: range, workers: int) -> Iterator[Any]:
    """Yield task(start) for each start in order, with `workers` of them under way at a time.

    Where there are many, this thread is one of the workers: one that only waits is woken for each result, on a core
    that computes. That saves two of five waits of the threads for each other.
    """
    rest, waiting = iter(starts), deque[tuple[int, Future[Any]]]()
    takes_part = len(starts) > workers
    with ThreadPoolExecutor(max_workers=workers - takes_part) as pool:
        try:
            while True:
                # As few in memory as keep every worker busy.
                for start in itertools.islice(rest, max(0, workers - len(waiting))):
                    waiting.append((start, _submitted(pool, task, start)))
                if not waiting:
                    return
                if takes_part and len(waiting) <= 2 * workers and not waiting[0][1].done():
                    _compute_one(task, rest, waiting)
                yield waiting.popleft()[1].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _compute_one(task: Callable[[int], Any], rest: Iterator[int], waiting: deque[tuple[int, Future[Any]]]) -> None:
    """Compute the next task here; behind the last of them, the last one that no thread has begun with, if any."""
    for start in rest:
        waiting.append((start, _computed(task, start)))
        return
    for place, (start, future) in reversed(list(enumerate(waiting))):
        if future.cancel():
            waiting[place] = start, _computed(task, start)
            return


def _submitted(pool: ThreadPoolExecutor, task: Callable[[int], Any], start: int) -> Future[Any]:
    """Return the future of task(start), computed by the pool, or here and now where no thread can be started."""
    try:
        # A thread starts with an empty context: without a copy it would not know the caller's settings.
        return pool.submit(contextvars.copy_context().run, task, start)
    except RuntimeError:  # in a browser, or at the system's limit
        return _computed(task, start)


def _computed(task: Callable[[int], Any], start: int) -> Future[Any]:
    """Return the future of task(start), computed here and now; an error is raised when its turn comes."""
    done: Future[Any] = Future()
    try:
        done.set_result(task(start))
    except Exception as error:
        done.set_exception(error)
    return done


class Collected:
    """The output, put together from batches: in place where the library's arrays can be written to."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.parts: list[Array] = []
        self.whole: Array = None

    def put(self, start: int, y: Array) -> None:
        count = y.shape[0]
        if start == 0 and _writeable(y):  # also where it is all: a layer may have passed on the input itself
            xp = backends.array_namespace(y)
            shape = (self.total, *y.shape[1:])
            self.whole = xp.empty(shape, dtype=y.dtype, device=array_api_compat.device(y))
        if self.whole is None:
            self.parts.append(y)
        else:
            self.whole[start : start + count, ...] = y

    def all(self) -> Array:
        if self.whole is not None:
            return self.whole
        return self.parts[0] if len(self.parts) == 1 else backends.array_namespace(self.parts[0]).concat(self.parts)


def own(y: Array) -> Array:
    """Return the output of one batch that is all, in memory of its own: a layer may have passed on the input itself."""
    if isinstance(y, np.ndarray):
        return y.copy()
    output = Collected(y.shape[0])
    output.put(0, y)
    return output.all()


def _writeable(y: Array) -> bool:
    return array_api_compat.is_writeable_array(y) and not array_api_compat.is_lazy_array(y)


def _told(progress: Progress, total: int) -> AbstractContextManager[Callable[[int], object]]:
    """Return a scope that gives a function to call with the number of rows done."""
    if callable(progress):
        return contextlib.nullcontext(lambda done: progress(done, total))
    return bar(total, "row") if progress else contextlib.nullcontext(lambda done: None)
