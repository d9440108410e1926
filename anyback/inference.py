"""Answers for many inputs: tiles, batches, and progress.

A matrix product may sum a row in another order elsewhere in the product, or in one of another number of rows, so a
row's last bits may depend on what is asked for beside it. In which way a weight is to be multiplied so that they do
not, a check on the processor that runs decides (`anyback.backends._ways`). And `predict` cuts its input at absolute
row numbers into tiles of one number of rows, and fills up the last with zeros: to a whole tile, or, where each product
is computed in pieces, to a multiple of their rows, so that a few rows take little time. A batch is the rows that are
taken from the input and moved to the network's device at a time, in whole tiles; its size changes memory and progress,
never an answer.

The plan of a network is made when it is first needed for a library, a precision, a type and a sample shape, and kept
as long as the network lives.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import operator
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import array_api_compat
import numpy as np

from anyback import backends
from anyback._progress import bar
from anyback._typing import Array
from anyback.backends import Backend, backend_of
from anyback.errors import AnybackError, DataError
from anyback.lower import lower
from anyback.network import Network, check_outputs, checked_network
from anyback.plan import Plan
from anyback.tasks import Task

__all__ = ["Batches", "chosen_ways", "fitted", "predict", "task_for"]

Progress = bool | Callable[[int, int], object]


def predict(
    net: Network,
    x: Any,
    batch_size: int | None = None,
    progress: Progress = False,
    *,
    workers: int | None = None,
    precision: str | None = None,
) -> Array:
    """Return the network's output for any number of inputs, the same to the last bit however they are cut.

    Parameters
    ----------
    net : Network
        The network; its library and device compute.
    x : array or list
        Inputs, shape (n, in_features) or one sample: an array of any library, on the host or a device, a memory
        map too. What is elsewhere is moved batch by batch.
    batch_size : int or None
        Rows to take and move at a time, rounded up to whole tiles; None is what suits the library.
    progress : bool or callable
        True shows a bar where there is a terminal or a notebook; a callable is given (rows done, rows in all).
    workers : int or None
        Batches to compute at a time, each by a thread; None is what suits the library.
    precision : str or None
        Precision of matrix products: ``"highest"``, or where offered ``"tf32"``, ``"bf16"``; None is the current.

    Returns
    -------
    array
        Shape (n, out_features), or (out_features,) for one sample, of the network's library on its device.

    Raises
    ------
    AnybackError
        If `batch_size` or `workers` is below 1.
    BackendError
        If the library lacks the dtype of `x`, or the precision.
    DataError
        If `x` is no plain array of numbers, or the network ends in a softmax of one output, which is always 1.
    ShapeError
        If the shape of `x` does not fit the network.

    Warns
    -----
    UserWarning
        If inputs on the host hold nan: how many rows. Their outputs are nan. If they are floating-point numbers far
        above 1 and the network scales integers alone: what to pass. No value changes how an input is taken.

    Examples
    --------
    >>> import anyback as ab
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> images = ab.datasets.digits("test").images
    >>> ab.predict(net, images).shape
    (500, 10)
    """
    rows, single = _as_rows(net, x)
    outputs = _Collected(rows.shape[0])
    nan_rows, largest = 0, -math.inf
    with contextlib.closing(_batches(net, rows, batch_size, progress, workers, precision)) as batches:
        for start, y, seen in batches:
            outputs.put(start, y)
            nan_rows, largest = nan_rows + seen.nan_rows, max(largest, seen.largest)
    if nan_rows:
        message = f"nan in {nan_rows} of {rows.shape[0]} rows of the input; their outputs are nan"
        warnings.warn(message, stacklevel=2)
    if advice := _unscaled(net, largest):
        warnings.warn(advice, stacklevel=2)
    y = outputs.all()
    check_outputs(net, y.shape[-1] if y.ndim else None)
    if isinstance(y, np.ndarray):  # also where it stands for an array of another library
        y = (net.backend or backend_of(rows, device=True)).asarray(y)
    return y[0, ...] if single else y


class Batches:
    """The outputs of a network batch by batch, as `predict` computes them, for those who do not keep them all.

    Iterating yields (number of the first row, outputs), in order, once; close the iterator where it is left early.

    Parameters
    ----------
    net, x, batch_size, progress, workers, precision
        As in `predict`, which says what is raised.

    Attributes
    ----------
    total : int
        The number of rows.
    single : bool
        Whether `x` is one sample, without the axis of the batch.
    backend : Backend
        What computes.
    advice : str or None
        Behind the last batch: what to say where the input seems to be not scaled.
    """

    def __init__(
        self,
        net: Network,
        x: Any,
        batch_size: int | None,
        progress: Progress,
        workers: int | None,
        precision: str | None,
    ) -> None:
        self._net, self._options = net, (batch_size, progress, workers, precision)
        self._rows, self.single = _as_rows(net, x)
        self.total = int(self._rows.shape[0])
        self.backend = net.backend or backend_of(self._rows, device=True)
        self.advice: str | None = None

    def __iter__(self) -> Generator[tuple[int, Array]]:
        largest = -math.inf
        with contextlib.closing(_batches(self._net, self._rows, *self._options)) as batches:
            for start, y, seen in batches:
                check_outputs(self._net, y.shape[-1] if y.ndim else None)
                largest = max(largest, seen.largest)
                yield start, y
        self.advice = _unscaled(self._net, largest)


def task_for(net: Network, y: Array) -> Task:
    """Return what outputs `y` of the network, shape (n, outputs), mean."""
    if y.ndim != 2 or y.shape[1] < 1:
        raise DataError(f"the network gives shape {tuple(y.shape)}; expected one row of outputs for each input")
    return net.task(int(y.shape[1]))


# -- Cutting ------------------------------------------------------------------------------------------


def _as_rows(net: Network, x: Any) -> tuple[Array, bool]:
    """Return `x` as a batch, and whether it was one sample; lists become NumPy arrays."""
    checked_network(net)
    if not array_api_compat.is_array_api_obj(x):
        # Python's numbers have no type of their own: they take the network's.
        x = backends.host_array(x)
        if x.dtype == np.float64 and net.dtype is not None:
            x = x.astype(backends.as_dtype(np, backends.dtype_name(net.dtype)))
    backends.dtype_of(x)
    if any(math.isnan(size) for size in x.shape):
        raise DataError(f"expected an array of known shape, found {x.shape}; call x.compute_chunk_sizes() before")
    single = not net.is_batch(x)
    return (x[None, ...] if single else x), single


def _batches(
    net: Network,
    x: Array,
    batch_size: int | None,
    progress: Progress,
    workers: int | None,
    precision: str | None,
) -> Generator[tuple[int, Array, _Seen]]:
    """Yield (number of the first row, output, what the input was seen to hold) of each batch, in order."""
    batch_size, workers = _at_least_one("batch_size", batch_size), _at_least_one("workers", workers)
    backend = net.backend or backend_of(x, device=True)
    x = backend_of(x).host_view(x)
    n = int(x.shape[0])
    with backends.scope(backend, precision) as in_force, backend.one_thread(), _told(progress, n) as tell:
        if n == 0:  # no tile to compute, but the output has a shape
            yield 0, net(backends.asarray(x, backend=backend)), _Seen()
            return
        first = _moved(x[:1, ...], backend)  # says what is wrong with a type that the library lacks
        ready = _ready(net, backend, in_force, backends.dtype_name(first.dtype), tuple(map(int, x.shape[1:])))
        step = -(-(batch_size or backend.tiles * backend.tile) // ready.plan.tile) * ready.plan.tile
        starts = range(0, n, step)
        workers = 1 if len(starts) < 2 else workers or backend.workers

        def batch(start: int) -> tuple[int, Array, _Seen]:
            rows = x[start : min(start + step, n), ...]
            return start, _run_tiles(ready, backend, rows), _seen(rows)

        for done in map(batch, starts) if workers == 1 else _in_order(batch, starts, workers):
            yield done
            tell(min(done[0] + step, n))


class _Ready(NamedTuple):
    """A plan, and the function that runs it."""

    plan: Plan
    run: Callable[..., tuple[Array, ...]]


#: The plans that were loaded, for each network as long as it lives. Nothing else keeps any.
_loaded: WeakKeyDictionary[Network, dict[Hashable, _Ready]] = WeakKeyDictionary()
_loading = threading.RLock()  # a function of the user's that is being compiled may ask another network


def _ready(net: Network, backend: Backend, precision: str, dtype: str, sample: tuple[int, ...]) -> _Ready:
    """Return the plan of a network for inputs of a type and shape, made and loaded once."""
    key = backend, precision, dtype, sample
    with _loading:
        plans = _loaded.setdefault(net, {})
        if key not in plans:
            plan = lower(net, backend, precision, (dtype,), (sample,))
            plans[key] = _Ready(plan, backend.load(plan))
        return plans[key]


def chosen_ways(net: Network) -> dict[str, str]:
    """Return how `predict` multiplies on this processor: for each weight by its shape, the way that was chosen."""
    backend, sample = net.backend, net.usual_sample
    if backend is None or sample is None:
        return {}
    with backends.scope(backend) as precision, backend.one_thread():
        dtype = backends.dtype_name(net.dtype)
        return backend.chosen(_ready(net, backend, precision, dtype, sample).plan)


def _at_least_one(name: str, value: Any) -> int | None:
    """Return a number of rows or threads, any kind of integer, or raise `AnybackError`."""
    if value is None:
        return None
    with contextlib.suppress(TypeError):
        if operator.index(value) >= 1:
            return operator.index(value)
    raise AnybackError(f"{name}: expected a whole number of at least 1, found {str(value)[:40]}")


def _run_tiles(ready: _Ready, backend: Backend, rows: Array) -> Array:
    """Return the output for `rows`, which begin where a tile begins."""
    count, tile = int(rows.shape[0]), ready.plan.tile
    rest = count % tile
    outputs = []
    if whole := count - rest:
        moved = _moved(rows[:whole, ...] if rest else rows, backend)
        outputs = [ready.run(moved[i : i + tile, ...])[0] for i in range(0, whole, tile)]
    if rest:
        last = _filled(rows[whole:, ...], -rest % ready.plan.multiple)
        outputs.append(ready.run(_moved(last, backend))[0])
    # Only now, since some libraries go on computing meanwhile.
    outputs = [backend.first_rows(y, min(tile, count - i * tile)) for i, y in enumerate(outputs)]
    return outputs[0] if len(outputs) == 1 else backends.array_namespace(outputs[0]).concat(outputs, axis=0)


def _moved(rows: Array, backend: Backend) -> Array:
    """Return rows on the network's device; rows on the host stay there where the library computes with them as well."""
    if not isinstance(rows, np.ndarray):
        return backends.asarray(rows, backend=backend)
    if not (isinstance(rows, np.memmap) and rows.flags.c_contiguous and rows.dtype.isnative):
        # Memory of another order may take another way to a product; subclasses have ways of their own.
        rows = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))
    return backend.put_tile(rows)


def _filled(rows: Array, more: int) -> Array:
    """Return `rows` and so many of zeros, on the device where they are."""
    if not more:
        return rows
    shape = (more, *rows.shape[1:])
    if isinstance(rows, np.ndarray):
        return np.concatenate([rows, np.zeros(shape, rows.dtype)])
    xp = backends.array_namespace(rows)
    return xp.concat([rows, xp.zeros(shape, dtype=rows.dtype, device=array_api_compat.device(rows))], axis=0)


def _in_order(task: Callable[[int], Any], starts: range, workers: int) -> Iterator[Any]:
    """Yield task(start) for each start in order, with `workers` of them under way at a time."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for start in starts:
                # A thread starts with an empty context: without a copy it would not know the caller's settings.
                waiting.append(pool.submit(contextvars.copy_context().run, task, start))
                if len(waiting) > 2 * workers:  # as few in memory as keeps every worker busy
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Collected:
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


def _writeable(y: Array) -> bool:
    return array_api_compat.is_writeable_array(y) and not array_api_compat.is_lazy_array(y)


# -- Looking at values, on the host or where the answer is asked for ----------------------------------


class _Seen(NamedTuple):
    """What the floating-point numbers of a batch on the host hold."""

    nan_rows: int = 0
    largest: float = -math.inf


def _seen(rows: Array) -> _Seen:
    """Look at a NumPy array; arrays elsewhere are not looked at, since that moves them."""
    if not isinstance(rows, np.ndarray) or rows.dtype.kind != "f" or not rows.size:
        return _Seen()
    largest = float(rows.max())  # is nan where one of them is, at a tenth of the time of looking for nan in each
    if not math.isnan(largest):
        return _Seen(0, largest)
    nan = np.isnan(rows)
    nan_rows = int(np.sum(np.any(nan, axis=tuple(range(1, rows.ndim)))))
    return _Seen(nan_rows, float(np.max(rows, where=~nan, initial=-math.inf)))


def _unscaled(net: Network, largest: float) -> str | None:
    """Return what to say where the input held floating-point numbers up to `largest`, as pixels that nobody scaled do.

    That is where they are nearer to the largest pixel value than to 1, in ratio.
    """
    if not 1 < largest < math.inf or net.largest_pixel is None or not backends.is_concrete(net.largest_pixel):
        return None
    pixel = float(backends.to_numpy(net.largest_pixel))
    if largest**2 <= pixel:
        return None
    return (
        f"the input holds floating-point numbers up to {largest:.6g}, which this network takes as they are; it divides "
        f"integers alone, by {pixel:.6g}: pass pixels from 0 to 1, or as integers, for example x.astype('uint8')"
    )


def fitted(net: Network, images: np.ndarray) -> np.ndarray:
    """Return images flat where a network takes just as many features, and no images: one from a plain weights file."""
    size = math.prod(images.shape[1:])
    return images.reshape(len(images), size) if images.ndim > 2 and net.sample_shapes == ((size,),) else images


# -- Progress ----------------------------------------------------------------------------------------


def _told(progress: Progress, total: int) -> AbstractContextManager[Callable[[int], object]]:
    """Return a scope that gives a function to call with the number of rows done."""
    if callable(progress):
        return contextlib.nullcontext(lambda done: progress(done, total))
    return bar(total, "row") if progress else contextlib.nullcontext(lambda done: None)
