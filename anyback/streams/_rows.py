"""The rows of a shard: in batches, and where a batch fails, in its halves, down to the rows that fail alone."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np

from anyback import backends
from anyback.errors import BackendError, ShardError
from anyback.inference import Batches, tile_of
from anyback.network import Network
from anyback.numbers import PrecisionName

__all__ = ["Found", "computed", "on_host"]

#: So many rows that are read together may fail alone; more are not found one by one: each takes a batch of its own.
_MOST_FAILING = 1000


class Found(NamedTuple):
    """What was found beside outputs.

    Parameters
    ----------
    bad : dict of int to str
        Bad rows, counted from the first, and why.
    advice : str
        What there is to say about the input.
    """

    bad: dict[int, str]
    advice: str


def computed(net: Network, x: np.ndarray, y: np.ndarray, precision: PrecisionName, workers: int | None) -> Found:
    """Compute the outputs for rows on the host.

    Parameters
    ----------
    net : Network
        The network.
    x : numpy.ndarray
        A whole number of tiles, or the last rows.
    y : numpy.ndarray
        Where the outputs go; it holds what a row gets that has none.
    precision : str
        Of matrix products.
    workers : int or None
        As of `predict`.

    Raises
    ------
    ShardError
        If no row can be computed, or more than 1,000 fail, or a tile is too large for the device's memory.
    """
    nan = _nan_rows(x)
    missing = y[nan].copy()
    work = _Work(net, x, y, precision, workers)
    work.run(0, len(x))
    if work.bad:
        work.check_another()
    y[nan] = missing
    # Behind infinite numbers in the input, say; whoever reads a nan should find it among the bad rows.
    said = dict.fromkeys(map(int, _nan_rows(y)), "nan in the output")
    return Found({**said, **work.bad, **dict.fromkeys(map(int, nan), "nan in the input")}, work.advice)


def _nan_rows(x: np.ndarray) -> np.ndarray:
    """Return the numbers of the rows that hold nan."""
    if x.dtype.kind != "f" or not x.size or not np.isnan(x.max()):
        return np.zeros(0, np.intp)
    return np.flatnonzero(np.isnan(x).any(axis=tuple(range(1, x.ndim))))


def on_host(y: Any) -> np.ndarray:
    """Return an output as a NumPy array of a type that files have; float32 keeps every bit of bfloat16."""
    array = np.asarray(backends.to_numpy(y))
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


class _Work:
    """What is done of a shard."""

    def __init__(
        self, net: Network, x: np.ndarray, y: np.ndarray, precision: PrecisionName, workers: int | None
    ) -> None:
        self.net, self.x, self.y, self.precision, self.workers = net, x, y, precision, workers
        self.backend = net.backend or backends.backend_of(x)
        self.size = self.backend.tiles * self.backend.tile
        self.bad: dict[int, str] = {}
        self.advice = ""

    def run(self, start: int, stop: int) -> None:
        """Compute rows; those that fail alone are bad."""
        done = start
        try:
            batches = Batches(self.net, self.x[start:stop], self.size, False, self.workers, self.precision)
            with contextlib.closing(iter(batches)) as each:
                for first, ys in each:
                    y = on_host(ys[0])
                    if y.shape[1:] != self.y.shape[1:] or y.dtype != self.y.dtype:
                        found = f"{y.dtype} {y.shape[1:]}, expected {self.y.dtype} {self.y.shape[1:]}"
                        raise ShardError(f"the network gives another type or shape for these rows: {found}")
                    self.y[start + first : start + first + len(y)] = y
                    done = start + first + len(y)
            self.advice = self.advice or batches.advice or ""
        except (BackendError, ShardError):
            raise
        except Exception as error:  # of any library, for rows that it cannot compute
            self.halve(done, stop, error)

    def halve(self, start: int, stop: int, error: Exception) -> None:
        """Compute rows of which some could not be computed together."""
        if self.backend.ran_out(error):
            # The bits of a row depend on no batch, so smaller ones give the same.
            tile = tile_of(self.net, self.x, self.precision) or len(self.x)
            if self.size <= tile:
                raise ShardError(f"{self.backend} has too little memory for a tile of {tile} rows: {_said(error)}")
            self.size = max(tile, self.size // 2)
            self.run(start, stop)
        elif stop - start == 1:
            self.bad[start] = _said(error)
            if len(self.bad) > _MOST_FAILING:
                raise ShardError(f"more than {_MOST_FAILING:,} rows fail; the last: {_said(error)}")
        else:
            middle = (start + stop) // 2
            self.run(start, middle)
            self.run(middle, stop)

    def check_another(self) -> None:
        """Raise `ShardError` where it is not the rows that fail: none can be computed, or no more."""
        good = next((row for row in range(len(self.x)) if row not in self.bad), None)
        if good is None:
            raise ShardError(f"no row can be computed; the first: {self.bad[0]}")
        try:
            for _ in Batches(self.net, self.x[good : good + 1], None, False, 1, self.precision):
                pass
        except Exception as error:
            raise ShardError(f"rows fail that could be computed before: {_said(error)}") from None


def _said(error: Exception) -> str:
    """Return what an error says in a line."""
    text = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {text if text.isprintable() else ascii(text)}"
