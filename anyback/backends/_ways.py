"""Ways to multiply a tile by a weight, and the check that chooses one: a row's bits must not depend on its place.

A library may sum a row in another order elsewhere in the same product, or in a product of another number of rows;
which shapes it does that for depends on the kernels that it chose for the processor, and no name says so reliably. So
each library lists the ways that it has, best first, and the first is taken that gives equal rows equal bits here. The
last holds by construction: it computes each row by the same call, on that row alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anyback._typing import Array
from anyback.numbers import dtype_name

if TYPE_CHECKING:
    from anyback.backends.base import Backend

__all__ = ["Product", "Products", "Tile", "Way", "chosen_way", "single_rows", "tile_in_hand"]

#: Trials of the check. A column whose sums depend on the place of a row shows itself in 57 to 88 % of them.
_TRIALS, _FEWEST = 16, 4
#: Multiply-adds beyond which there are fewer trials: large weights have more columns that would show it.
_MOST_WORK = 1 << 30

#: Takes a tile of the dtype of the weight, or of integers, and returns ``tile @ weight + bias``.
Product = Callable[[Array], Array]


@dataclass(frozen=True)
class Way:
    """A way to compute ``tile @ weight + bias``.

    Parameters
    ----------
    name : str
        What is done, in words.
    rows : int
        Rows of one product; a tile is a whole number of them.
    grain : int
        The last product may have fewer rows: any multiple of `grain`.
    ready : callable
        Takes the weight, and the bias of the same dtype or None, and returns the product.
    """

    name: str
    rows: int
    grain: int
    ready: Callable[[Array, Array | None], Product] = field(compare=False)


def single_rows(backend: Backend) -> Way:
    """Return the way that holds by construction, in the standard alone: each row by itself."""

    def ready(weight: Array, bias: Array | None) -> Product:
        def product(x: Array) -> Array:
            rows = [backend.product(x[i : i + 1, ...], weight, bias) for i in range(x.shape[0])]
            return backend.xp.concat(rows, axis=0)

        return product

    return Way("single rows", 1, 1, ready)


@functools.cache
def chosen_way(backend: Backend, precision: str, width: int, outputs: int, dtype: str) -> Way:
    """Return the first way of `backend` whose bits do not depend on a row's place, on this processor.

    Parameters
    ----------
    backend : Backend
        With its device.
    precision : str
        The precision of products in force: with the number of threads, which `Backend.steady` holds at one, it decides
        which kernels run.
    width, outputs : int
        Shape of the weight.
    dtype : str
        The floating-point type of the weight, by the standard's name.

    Returns
    -------
    Way
    """
    *ways, last = backend.ways(width, outputs, dtype)
    return next((way for way in ways if _is_steady(way, backend, width, outputs, dtype)), last)


def _is_steady(way: Way, backend: Backend, width: int, outputs: int, dtype: str) -> bool:
    """Return whether equal rows had equal bits at each place of a product, and in shorter ones: evidence, not proof."""
    if not width or not outputs:
        return True
    rng = np.random.default_rng(0)
    host = np.dtype(np.float64 if dtype == "float64" else np.float32)

    def placed(values: np.ndarray) -> Array:
        x = backend.asarray(values)
        return x if dtype == host.name else backend.xp.astype(x, getattr(backend.xp, dtype))

    product = way.ready(placed(rng.standard_normal((width, outputs)).astype(host)), None)
    shorter = range(way.grain, way.rows, way.grain)
    trials = max(_FEWEST, min(_TRIALS, _MOST_WORK // (way.rows * width * outputs)))
    for trial in range(trials):
        row = rng.standard_normal(width).astype(host)
        # The last shorter product is the one that a single row takes; the others come in turn.
        sizes = {way.rows, *shorter[:1], *shorter[trial % max(len(shorter), 1) :][:1]}
        found = [backend.to_numpy(product(placed(_repeated(row, size, trial)))) for size in sizes]
        bits = np.ascontiguousarray(np.concatenate(found)).view(np.uint8)
        if np.any(bits != bits[:1]):
            return False
    return True


def _repeated(row: np.ndarray, count: int, offset: int) -> np.ndarray:
    """Return `count` copies of a row, which begin so many numbers behind the beginning of a piece of memory."""
    memory = np.empty(offset + count * row.size, row.dtype)
    x = memory[offset:].reshape(count, row.size)
    x[...] = row
    return x


# -- While `predict` computes ---------------------------------------------------------------------------


class Products:
    """The products of a network in `predict`: each weight made ready in its way when it is first multiplied by.

    Parameters
    ----------
    backend : Backend
        With its device.
    precision : str
        The precision in force.
    arrays : tuple of array
        The arrays of the network. Only what is made ready for one of them is kept: another weight may be gone when its
        identity is used again.
    """

    def __init__(self, backend: Backend, precision: str, arrays: tuple[Array, ...]) -> None:
        self._backend, self._precision = backend, precision
        self._arrays = arrays  # held, so that no other array gets the identity of one of them
        self._known = frozenset(map(id, (*arrays, None)))
        self._kept: dict[tuple[int, int], tuple[int, Product]] = {}

    def computed(self, x: Array, weight: Array, bias: Array | None) -> Array | None:
        """Return ``x @ weight + bias``, or None where `x` has a number of rows that is no tile's.

        The bias is of the dtype of the weight; `x` is of that type, or of integers.
        """
        grain, product = self._kept.get((id(weight), id(bias))) or self._made_ready(weight, bias)
        return None if x.shape[0] % grain else product(x)

    def _made_ready(self, weight: Array, bias: Array | None) -> tuple[int, Product]:
        width, outputs = map(int, weight.shape)
        way = chosen_way(self._backend, self._precision, width, outputs, dtype_name(weight.dtype))
        found = way.grain, way.ready(weight, bias)
        if self._known.issuperset(key := (id(weight), id(bias))):
            self._kept[key] = found
        return found


@dataclass(eq=False)
class Tile:
    """What `predict` is computing.

    Parameters
    ----------
    products : Products
        Those of the network.
    ours : bool
        Whether only layers of ours see what the layers give to each other.
    made : array
        What the last linear layer gave.
    """

    products: Products
    ours: bool
    made: Array = None

    def forward(self, function: Callable[[Array], Array], rows: Array) -> Array:
        """Return ``function(rows)``, computed with this tile in hand, in this thread."""
        token = _tile.set(self)
        try:
            return function(rows)
        finally:
            _tile.reset(token)


_tile: ContextVar[Tile | None] = ContextVar("anyback_tile", default=None)


def tile_in_hand() -> Tile | None:
    """Return the tile that `predict` computes in this thread; None outside."""
    return _tile.get()
