"""`predict`, and the outputs batch by batch for those who do not keep them all."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Generator
from typing import Any

import array_api_compat
import numpy as np

from anyback import backends
from anyback._typing import Array
from anyback.backends import backend_of
from anyback.errors import DataError
from anyback.inference._batches import Collected, Progress, again, batches_of, one_tile, own
from anyback.inference._seen import unscaled
from anyback.inference._tiles import remember
from anyback.network import Network, check_network, check_outputs
from anyback.numbers import PrecisionName
from anyback.tasks import Task

__all__ = ["Batches", "predict", "task_for"]


def predict(
    net: Network,
    x: Any,
    batch_size: int | None = None,
    progress: Progress = False,
    *,
    workers: int | None = None,
    precision: PrecisionName | None = None,
    rowwise: bool | None = None,
) -> Any:
    """Return the network's output for any number of inputs, the same to the last bit however they are cut.

    Parameters
    ----------
    net : Network
        The network; its library and device compute.
    x : array or list
        Inputs, shape (n, in_features) or one sample: an array of any library, on the host or a device, a memory
        map too. What is elsewhere is moved batch by batch.
    batch_size : int or None
        Rows to take and move at a time, rounded up to whole tiles; None is what suits the library. On Dask, rows of a
        task; None keeps the blocks of a Dask array, unless they are smaller than a tile.
    progress : bool or callable
        True shows a bar where there is a terminal or a notebook; a callable is given (rows done, rows in all).
    workers : int or None
        Batches to compute at a time, each by a thread; None is what suits the library.
    precision : str or None
        Precision of matrix products: ``"highest"``, or where offered ``"tf32"``, ``"bf16"``; None is the current.
    rowwise : bool or None
        For a network from a file, whether its rows may be computed apart, in tiles. None takes it for proved where all
        its operators say so, and else makes an experiment before the first batch: rows are moved among others, and must
        keep their bits. That is evidence, not proof.

    Returns
    -------
    array or dict of str to array
        Shape (n, out_features), or (out_features,) for one sample, of the network's library on its device; of a network
        of several outputs, each by its name.

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
        If inputs on the host hold nan: how many rows. Their outputs are nan. On Dask, each task warns of its rows when
        it is computed. If inputs on the host are floating-point numbers far above 1 and the network scales integers
        alone: what to pass. No value changes how an input is taken. If the rows of a network from a file cannot be
        computed apart.

    Examples
    --------
    >>> import anyback as ab
    >>> net = ab.load_model("digits-mlp", backend="numpy")
    >>> images = ab.datasets.digits("test").images
    >>> ab.predict(net, images).shape
    (500, 10)
    """
    check_network(net)
    plain = type(x) is np.ndarray and batch_size is None and not progress and workers is None and rowwise is None
    if plain and (ys := again(net, x, precision)) is not None:
        return net.named_outputs(ys)
    batches = Batches(net, x, batch_size, progress, workers, precision, rowwise)
    outputs = batches.of_one_tile() or _collected(batches, len(net.outputs))
    if batches.nan_rows:
        message = f"nan in {batches.nan_rows} of {batches.total} rows of the input; their outputs are nan"
        warnings.warn(message, stacklevel=2)
    if batches.advice:
        warnings.warn(batches.advice, stacklevel=2)
    return net.named_outputs(tuple([_whole(y, batches) for y in outputs]))


def _collected(batches: Batches, count: int) -> list[Array]:
    """Return so many outputs, each put together from its batches."""
    outputs = [Collected(batches.total) for _ in range(count)]
    with contextlib.closing(iter(batches)) as each:
        for start, ys in each:
            for output, y in zip(outputs, ys, strict=True):
                output.put(start, y)
    return [output.all() for output in outputs]


def _whole(y: Array, batches: Batches) -> Array:
    """Return an output for all rows, of the network's library."""
    if isinstance(y, np.ndarray):  # also where it stands for an array of another library
        y = batches.backend.asarray(y)
    return y[0, ...] if batches.single else y


class Batches:
    """The outputs of a network batch by batch, as `predict` computes them, for those who do not keep them all.

    Iterating yields (number of the first row, tuple of outputs), in order, once; close the iterator where it is left
    early.

    Parameters
    ----------
    net, x, batch_size, progress, workers, precision, rowwise
        As in `predict`, which says what is raised.

    Attributes
    ----------
    total : int
        The number of rows.
    single : bool
        Whether `x` is one sample, without the axis of the batch.
    backend : Backend
        What computes.
    nan_rows : int
        Rows with nan that were seen so far, in an input on the host.
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
        precision: PrecisionName | None,
        rowwise: bool | None = None,
    ) -> None:
        self._net, self._options = net, (batch_size, progress, workers, precision, rowwise)
        self.single: bool
        self._rows, self.single = _as_rows(net, x)
        self.total: int = int(self._rows.shape[0])
        self.backend: backends.Backend = net.backend or backend_of(self._rows, device=True)
        self.nan_rows: int = 0
        self.advice: str | None = None

    def of_one_tile(self) -> list[Array] | None:
        """Return the outputs of all rows where one tile holds them; else None, and they are to be iterated over.

        They are memory of their own: a layer may have passed on the input itself.
        """
        found = one_tile(self._net, self._rows, *self._options)
        if found is None:
            return None
        ys, seen, ready = found
        check_outputs(self._net, ys[0].shape[-1] if ys[0].ndim else None)
        self.nan_rows = seen.nan_rows
        self.advice = unscaled(self._net, seen.largest)
        *_, rowwise = self._options
        if rowwise is None:
            remember(self._net, self._rows[0, ...] if self.single else self._rows, ready)
        return [own(y) for y in ys]

    def __iter__(self) -> Generator[tuple[int, tuple[Array, ...]]]:
        largest = -math.inf
        with contextlib.closing(batches_of(self._net, self._rows, *self._options)) as batches:
            for start, ys, seen in batches:
                check_outputs(self._net, ys[0].shape[-1] if ys[0].ndim else None)
                self.nan_rows += seen.nan_rows
                largest = max(largest, seen.largest)
                yield start, ys
        self.advice = unscaled(self._net, largest)


def task_for(net: Network, y: Array) -> Task:
    """Return what outputs `y` of the network, shape (n, outputs), mean."""
    if y.ndim != 2 or y.shape[1] < 1:
        raise DataError(f"the network gives shape {tuple(y.shape)}; expected one row of outputs for each input")
    return net.task(int(y.shape[1]))


def _as_rows(net: Network, x: Any) -> tuple[Array, bool]:
    """Return `x` as a batch, and whether it was one sample; lists become NumPy arrays."""
    check_network(net)  # what it gives is checked for each batch
    if len(net.inputs) != 1:
        names = ", ".join(port.name for port in net.signature.inputs) if net.signature is not None else ""
        raise DataError(f"predict takes networks of one input, found {len(net.inputs)}: call net({names})")
    if not array_api_compat.is_array_api_obj(x):
        # Python's numbers have no type of their own: they take the network's.
        x = backends.host_array(x)
        if x.dtype == np.float64 and net.dtype is not None:
            x = x.astype(backends.as_dtype(np, backends.dtype_name(net.dtype)))
    backends.dtype_of(x)
    if any(map(math.isnan, x.shape)):
        raise DataError(f"expected an array of known shape, found {x.shape}; call x.compute_chunk_sizes() before")
    single = not net.is_batch(x)
    return (x[None, ...] if single else x), single
