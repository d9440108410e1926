"""The work that is timed, and the rows that do it: the floor, the book's way, by hand on NumPy, and anyback.

A row is a name, a group and a function that prepares: it takes the `Work` and returns a function without arguments
that does it all, from integer pixels in the host's memory to probabilities in the host's memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anyback import backends, inference, models
from anyback.backends import Backend
from anyback.bounds import certify
from anyback.errors import DataError, WeightsError
from anyback.layers import Linear, Sequential

__all__ = ["TILES", "Row", "Work", "fastest", "rows"]

#: Numbers of rows that hand-written code on NumPy is tried with; the fastest counts.
TILES = (64, 128, 256, 512, 1024)
#: Tiles and rows of one product: whole tiles, and stacks of small products, for which OpenBLAS may have kernels.
_WAYS = (*((tile, tile) for tile in TILES), (240, 24), (480, 24), (960, 24))
#: How far the probabilities of a row may be from anyback's: it must do the same work, at its own rounding.
_TOLERANCE = 1e-4
#: The ops of the networks that the rows by hand compute.
_MEASURED = {"flatten", "pixels", "linear", "sigmoid", "softmax"}


@dataclass(frozen=True, eq=False)
class Work:
    """A network and images, and the answer that every row must give.

    Parameters
    ----------
    model : str
        Name or file of the network.
    net : Sequential
        The network, on NumPy in float32: linear layers with sigmoids between them, softmax at the end.
    x : numpy.ndarray, integer
        Pixels, shape (n, in_features).
    weights : tuple of (numpy.ndarray, numpy.ndarray)
        Weight (in_features, out_features) and bias (out_features,) of each linear layer, float32.
    pixels : float
        The largest pixel value, by which pixels are divided.
    threads : int
        How many threads a row may use.
    expected : numpy.ndarray
        The probabilities that anyback gives on NumPy, shape (n, classes).
    decided : numpy.ndarray of bool
        Whose labels no rounding can change, shape (n,).
    """

    model: str
    net: Sequential
    x: np.ndarray
    weights: tuple[tuple[np.ndarray, np.ndarray], ...]
    pixels: float
    threads: int
    expected: np.ndarray
    decided: np.ndarray

    @staticmethod
    def of(model: str, images: np.ndarray, pixels: float | None = None, threads: int = 1) -> Work:
        """Return the work of a network, by name or file, on images of integers, shape (n, ...)."""
        net = models.load_model(model, pixels=pixels, backend="numpy", dtype="float32")
        if images.dtype.kind not in "iu" or not images.size:
            raise DataError(f"expected images of integers, at least one, found {images.dtype} {images.shape}")
        if not net.is_batch(images):
            images = images[None]
        x = np.ascontiguousarray(images.reshape(len(images), -1))
        if others := {call.op.name for call in net.calls} - _MEASURED:
            found = ", ".join(sorted(others))
            raise DataError(f"expected a multilayer perceptron of sigmoids, which is what is measured; found {found}")
        linear = [layer for layer in net.layers if isinstance(layer, Linear)]
        if any(layer.bias is None for layer in linear):
            raise WeightsError("expected a bias in every layer")
        weights = tuple((np.asarray(layer.weight), np.asarray(layer.bias)) for layer in linear)
        named = models.NETWORKS.get(model)
        largest = pixels or (named.pixels if named else 1.0)
        expected = np.asarray(inference.predict(net, x))
        return Work(model, net, x, weights, float(largest), threads, expected, certify(net, x).decided)

    def first(self, n: int) -> Work:
        """Return the same work on the first `n` images."""
        return replace(self, x=self.x[:n], expected=self.expected[:n], decided=self.decided[:n])

    def fault(self, y: Any) -> str:
        """Return what is wrong with probabilities, in words; empty where they are the same as anyback's."""
        y = np.asarray(y)
        if y.size != self.expected.size or y.shape[-1] != self.expected.shape[-1]:
            return f"gives shape {y.shape}, expected {self.expected.shape}"
        y = y.reshape(self.expected.shape)
        differ = (np.argmax(y, axis=1) != np.argmax(self.expected, axis=1)) & self.decided
        if differ.any():
            return f"{int(differ.sum())} labels differ from anyback's, first in row {int(np.argmax(differ))}"
        error = float(np.max(np.abs(y - self.expected)))
        return "" if error <= _TOLERANCE else f"probabilities differ from anyback's by up to {error:.2g}"


Prepare = Callable[[Work], Callable[[], Any]]


@dataclass(frozen=True)
class Row:
    """One way to do the work.

    Parameters
    ----------
    name : str
        What it is.
    group : str
        ``"floor"``, ``"book"``, ``"by hand"``, ``"anyback"`` or ``"peer"``.
    prepare : callable
        Takes a `Work`, imports and builds what it needs, and returns a function without arguments that does the work
        and returns probabilities, complete, as anything that NumPy makes an array of. Whatever it raises is the
        reason why there is no number.
    tables : tuple of str
        The tables it is in: ``"throughput"``, and ``"latency"``, where the work is one image, shape (1, in_features).
    package : str
        Distribution package whose version is reported.
    """

    name: str
    group: str
    prepare: Prepare
    tables: tuple[str, ...] = ("throughput",)
    package: str = ""


def rows(places: Iterable[Backend]) -> list[Row]:
    """Return the rows that need nothing but anyback, on the backends `places`; the first of a table is its measure."""
    found = [
        Row("floor: bare products, a cast, an exp each", "floor", _floor),
        Row("book, batches of 100", "book", _book_batches),
        Row("NumPy by hand, exp", "by hand", _by_hand_exp),
        Row("NumPy by hand, tanh", "by hand", _by_hand_tanh),
        Row("book, bare function on floats", "book", _book_one, ("latency",)),
    ]
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
        net, x = work.net.to(backend), _normalised(work.x[0], work.pixels)
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


# -- The book's way -----------------------------------------------------------------------------------


def _normalised(x: np.ndarray, largest: float) -> np.ndarray:
    return x.astype(np.float32) / np.float32(largest)


def _book_sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _book_softmax(x: np.ndarray) -> np.ndarray:
    if x.ndim == 2:
        x = x.T
        x = x - np.max(x, axis=0)
        y = np.exp(x) / np.sum(np.exp(x), axis=0)
        return y.T
    x = x - np.max(x)
    return np.exp(x) / np.sum(np.exp(x))


def _book(weights: tuple[tuple[np.ndarray, np.ndarray], ...], x: np.ndarray) -> np.ndarray:
    """Return what ``predict(network, x)`` of chapter 3 returns."""
    *hidden, (last, bias) = weights
    for w, b in hidden:
        x = _book_sigmoid(np.dot(x, w) + b)
    return _book_softmax(np.dot(x, last) + bias)


def _book_batches(work: Work) -> Callable[[], Any]:
    def run() -> np.ndarray:
        # Normalised batch by batch, which is faster than the whole beforehand, as the book does.
        with np.errstate(over="ignore"):
            parts = [
                _book(work.weights, _normalised(work.x[i : i + 100], work.pixels)) for i in range(0, len(work.x), 100)
            ]
        return np.concatenate(parts)

    return run


def _book_one(work: Work) -> Callable[[], Any]:
    x = _normalised(work.x[0], work.pixels)
    return lambda: _book(work.weights, x)


# -- By hand, on NumPy --------------------------------------------------------------------------------


def fastest(make: Callable[..., Callable[[], Any]], ways: Sequence[tuple[int, ...]]) -> Callable[[], Any]:
    """Return what `make` makes of the arguments that are fastest here, out of `ways`."""
    best = []
    for number, way in enumerate(ways):
        run = make(*way)
        times = []
        for _ in range(6):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        best.append((min(times), number, run))
    return min(best)[2]


def _buffers(work: Work, tile: int) -> tuple[np.ndarray, list[np.ndarray]]:
    tile = min(tile, len(work.x))
    hidden = [np.empty((tile, w.shape[1]), np.float32) for w, _ in work.weights]
    return np.empty((tile, work.x.shape[1]), np.float32), hidden


def _multiply(x: np.ndarray, weight: np.ndarray, out: np.ndarray, rows: int) -> np.ndarray:
    """Put ``x @ weight`` into `out`, as a stack of products of so many rows each where that comes out even."""
    if len(x) == rows or len(x) % rows:
        return np.matmul(x, weight, out=out)
    np.matmul(x.reshape(-1, rows, x.shape[1]), weight, out=out.reshape(-1, rows, out.shape[1]))
    return out


def _floor(work: Work) -> Callable[[], Any]:
    """Prepare what no code on NumPy can leave out: the products, one cast of the input, one exp of each hidden value.

    The exponentials go to memory that is used again, and nothing is added, divided or normalised.
    """
    weights = [w for w, _ in _scaled(work)]

    def make(tile: int, stack: int) -> Callable[[], Any]:
        cast, hidden = _buffers(work, tile)
        spare = [np.empty_like(h) for h in hidden]

        def run() -> np.ndarray:
            out = np.empty(work.expected.shape, np.float32)
            with np.errstate(over="ignore"):
                for start in range(0, len(work.x), len(cast)):
                    rows = work.x[start : start + len(cast)]
                    n = len(rows)
                    h = cast[:n]
                    h[...] = rows
                    for w, to, e in zip(weights[:-1], hidden, spare, strict=False):
                        h = _multiply(h, w, to[:n], stack)
                        np.exp(h, out=e[:n])
                    _multiply(h, weights[-1], out[start : start + n], stack)
            return out

        return run

    return fastest(make, _WAYS)


def _by_hand(
    work: Work, layers: list[tuple[np.ndarray, np.ndarray]], activate: Callable[[np.ndarray], object]
) -> Callable[[], Any]:
    """Prepare the network in tiles, in place, with `layers` into which every constant is folded."""

    def make(tile: int, stack: int) -> Callable[[], Any]:
        cast, hidden = _buffers(work, tile)

        def run() -> np.ndarray:
            out = np.empty(work.expected.shape, np.float32)
            with np.errstate(over="ignore"):
                for start in range(0, len(work.x), len(cast)):
                    rows = work.x[start : start + len(cast)]
                    n = len(rows)
                    h = cast[:n]
                    h[...] = rows
                    for i, (w, b) in enumerate(layers):
                        h = _multiply(h, w, hidden[i][:n], stack)
                        h += b
                        if i < len(layers) - 1:
                            activate(h)
                    t = np.ascontiguousarray(h.T)  # maxima and sums of short rows are slow, of long columns fast
                    t -= np.maximum.reduce(t, axis=0)
                    np.exp(t, out=t)
                    t /= np.add.reduce(t, axis=0)
                    out[start : start + n] = t.T
            return out

        return run

    return fastest(make, _WAYS)


def _by_hand_exp(work: Work) -> Callable[[], Any]:
    """Prepare 1 / (1 + exp(-z)), with the sign folded into the weights."""
    *hidden, last = _scaled(work)

    def activate(h: np.ndarray) -> None:
        np.exp(h, out=h)
        h += 1
        np.reciprocal(h, out=h)

    return _by_hand(work, [*((-w, -b) for w, b in hidden), last], activate)


def _by_hand_tanh(work: Work) -> Callable[[], Any]:
    """Prepare (1 + tanh(z / 2)) / 2, with all but the tanh folded into the weights: fastest, and less exact."""
    *hidden, last = _scaled(work)
    first, *rest = [*((w / 2, b / 2) for w, b in hidden), last]
    # A hidden layer gives the tanh alone, and (1 + tanh) / 2 is meant.
    layers = [first, *((w / 2, b + w.sum(axis=0) / 2) for w, b in rest)]
    return _by_hand(work, layers, lambda h: np.tanh(h, out=h))


def _scaled(work: Work) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases with the scale of the pixels folded into the first."""
    (w, b), *rest = work.weights
    return [(w / np.float32(work.pixels), b), *rest]
