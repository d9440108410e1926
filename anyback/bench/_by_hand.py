"""Rows that need no library but NumPy: the floor, the book's way, and the fastest that is written by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyback.bench._work import Row, Work

__all__ = ["TILES", "by_hand", "fastest", "normalised"]

#: Numbers of rows that hand-written code on NumPy is tried with; the fastest counts.
TILES = (64, 128, 256, 512, 1024)
#: Tiles and rows of one product: whole tiles, and stacks of small products, for which OpenBLAS may have kernels.
_WAYS = (*((tile, tile) for tile in TILES), (240, 24), (480, 24), (960, 24))


def by_hand() -> list[Row]:
    """Return the rows; the first of a table is its measure."""
    return [
        Row("floor: bare products, a cast, an exp each", "floor", _floor),
        Row("book, batches of 100", "book", _book_batches),
        Row("NumPy by hand, exp", "by hand", _by_hand_exp),
        Row("NumPy by hand, tanh", "by hand", _by_hand_tanh),
        Row("book, bare function on floats", "book", _book_one, ("latency",)),
    ]


# -- The book's way -----------------------------------------------------------------------------------


def normalised(x: np.ndarray, largest: float) -> np.ndarray:
    """Return pixels as numbers from 0 to 1."""
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
                _book(work.weights, normalised(work.x[i : i + 100], work.pixels)) for i in range(0, len(work.x), 100)
            ]
        return np.concatenate(parts)

    return run


def _book_one(work: Work) -> Callable[[], Any]:
    x = normalised(work.x[0], work.pixels)
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
