"""Ways to compute a product, and the check that chooses one: a row's bits must not depend on its place.

A library may sum a row in another order at another place of the same product, or in a product of another number of
rows. For which shapes it does so depends on the kernels that it chose for the processor, and no name says so reliably.
So each library lists its ways, best first, and the check takes the first in which equal rows have equal bits on this
processor. The last way needs no check: it computes each row by the same call, on that row alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import array_api_compat
import numpy as np

from anyback._typing import Array, Namespace
from anyback.plan import Shape

__all__ = [
    "Behind",
    "Kernel",
    "Multiplier",
    "Multiply",
    "Product",
    "Way",
    "chosen_way",
    "kept",
    "single_rows",
    "stacks_of_eight",
    "whole_tiles",
]

#: Trials of the check. One trial finds a column whose sums depend on the place of a row in 57 to 88 % of cases, and a
#: filter that is summed at many places of an image much more often.
_TRIALS, _FEWEST = 16, 4
#: How many weights are drawn where a row has few multiply-adds: sums of few terms seldom show a fault.
_DRAWS, _FEW_TERMS = 4, 1000
#: Multiply-adds beyond which there are fewer trials: large weights have more columns in which a fault would show.
_MOST_WORK = 1 << 30

#: Takes a tile and returns the product of each of its rows.
Multiply = Callable[[Array], Array]


@dataclass(frozen=True)
class Behind:
    """How an op is computed right behind a product, while the sums are in the cache.

    Parameters
    ----------
    compute : callable
        Writes the op's result to the memory of its argument, an array of any shape.
    negative : bool
        Whether the argument is the negative of the sums, which costs nothing where a bias is added to them.
    """

    compute: Callable[[Array], object]
    negative: bool = False


@dataclass(frozen=True)
class Kernel:
    """A library's own way to compute an op.

    Parameters
    ----------
    compute : callable
        Takes the arguments of the op's function, and returns its result.
    overwrite : callable or None
        The same, but writes the result to the memory of its first argument; None where there is no such form.
    partial : bool
        Whether `compute` may return NotImplemented; then the op's function computes.
    around : bool
        Whether `compute` takes the op's function in front of its arguments, to compute a part with it.
    keeping : callable or None
        Returns a function that computes what `compute` does, and may keep what it made of the arrays that it was called
        with: each call of a network gets its own. None where there is no such form.
    behind : Behind or None
        The same without attributes, for the sums of a product; None where there is no such form.
    columns : bool
        Whether a row has the same bits where rows lie in memory column by column.
    """

    compute: Callable[..., Array]
    overwrite: Callable[..., Array] | None = None
    partial: bool = False
    around: bool = False
    keeping: Callable[[], Callable[..., Array]] | None = None
    behind: Behind | None = None
    columns: bool = False

    def over(
        self, compute: Callable[..., Array], in_place: bool = False, *, keeps: bool = False
    ) -> Callable[..., Array]:
        """Return the function that computes the op: this kernel, with the op's function for what it does not take.

        `keeps` is whether it computes one call of a network, and may keep what it makes of arrays.
        """
        if in_place and self.overwrite:
            return self.overwrite
        if keeps and self.keeping:
            return self.keeping()
        if self.partial:
            return functools.partial(_first_that_does, self.compute, compute)
        return functools.partial(self.compute, compute) if self.around else self.compute


def _first_that_does(
    kernel: Callable[..., Array], compute: Callable[..., Array], *arguments: Any, **attributes: Any
) -> Array:
    y = kernel(*arguments, **attributes)
    return compute(*arguments, **attributes) if y is NotImplemented else y


@dataclass(frozen=True)
class Product:
    """An op that multiplies each row by arrays of known shapes.

    Parameters
    ----------
    op : str
        The op's name in the table; empty where it is not there.
    compute : callable
        The op's function, in the standard alone.
    sample : tuple of int or None
        The shape of a row; None where it is not known.
    shapes : tuple of (tuple of int or None)
        The shapes of the arrays behind the rows; None is an absent one.
    dtype : str
        The floating-point type of the arrays.
    attributes : tuple of (str, value)
        The op's other arguments.
    tile : int
        Rows of a whole tile.
    multiply_adds : int
        For one row.
    """

    op: str
    compute: Callable[..., Array]
    sample: Shape | None
    shapes: tuple[Shape | None, ...]
    dtype: str
    attributes: tuple[tuple[str, Any], ...]
    tile: int
    multiply_adds: int


@dataclass(frozen=True)
class Way:
    """A way to compute a product.

    Parameters
    ----------
    name : str
        The way in words.
    rows : int
        The number of rows that are computed at a time; a tile is a whole number of such blocks.
    multiple : int
        The last block may have fewer rows: any multiple of this number.
    ready : callable
        Takes the arrays, all of one floating-point type, and the op's attributes by name. Returns the function that
        computes the product for rows of that type, or of integers.
    fills : int
        The number to a multiple of which the way itself fills up the rows: the check tries no number of rows between.
    fuses : bool
        Whether `ready` takes `behind`, the op that is computed behind the product, or None.
    chains : bool
        Whether `ready` takes `then`, what it made of the next product, of the same way: that is to be computed as well.
    columns : bool
        Whether the rows may lie in memory column by column, and `ready` takes `columns`, which is true where the result
        may as well.
    """

    name: str
    rows: int
    multiple: int
    ready: Callable[..., Multiply] = field(compare=False)
    fills: int = 1
    fuses: bool = False
    chains: bool = False
    columns: bool = False


class Multiplier(Protocol):
    """The methods of a backend that the check uses."""

    @property
    def xp(self) -> Namespace:
        """The namespace of the library's arrays."""

    def asarray(self, x: Array) -> Array:
        """Return an array on the device."""

    def to_numpy(self, x: Array) -> np.ndarray:
        """Return an array of the library as one of NumPy."""

    def ways(self, product: Product) -> tuple[Way, ...]:
        """Return the ways to compute a product, best first; the last holds by construction."""


# -- Ways that every library has ----------------------------------------------------------------------


def _cast(x: Array, arrays: tuple[Array | None, ...]) -> Array:
    """Return rows in the type of the arrays that they are multiplied by."""
    dtype = next(a.dtype for a in arrays if a is not None)
    return x if x.dtype == dtype else array_api_compat.array_namespace(x).astype(x, dtype)


def whole_tiles(kernel: Callable[..., Array], tile: int) -> Way:
    """Return the way that computes a whole tile at a time."""

    def ready(*arrays: Array | None, **attributes: Any) -> Multiply:
        return lambda x: kernel(_cast(x, arrays), *arrays, **attributes)

    return Way("whole tiles", tile, tile, ready)


def stacks_of_eight(kernel: Callable[..., Array]) -> Way:
    """Return the way of a linear layer that computes a stack of products of 8 rows each."""

    def ready(weight: Array, bias: Array | None = None, **attributes: Any) -> Multiply:
        def product(x: Array) -> Array:
            xp = array_api_compat.array_namespace(x)
            stack = xp.reshape(_cast(x, (weight,)), (x.shape[0] // 8, 8, x.shape[1]))
            y = xp.reshape(kernel(stack, weight, **attributes), (x.shape[0], weight.shape[1]))
            return y if bias is None else y + bias[None, ...]

        return product

    return Way("stacks of 8 rows", 8, 8, ready)


def single_rows(kernel: Callable[..., Array]) -> Way:
    """Return the way that computes each row by itself, always by the same call, and so needs no check."""

    def ready(*arrays: Array | None, **attributes: Any) -> Multiply:
        def product(x: Array) -> Array:
            x = _cast(x, arrays)
            rows = [kernel(x[i : i + 1, ...], *arrays, **attributes) for i in range(x.shape[0])]
            return array_api_compat.array_namespace(x).concat(rows, axis=0)

        return product

    return Way("single rows", 1, 1, ready)


def kept(make: Callable[[Callable[..., Array]], Way], keeping: Callable[[], Callable[..., Array]]) -> Way:
    """Return the way that `make` makes of a kernel, with a kernel of its own for each weight; see `Kernel.keeping`."""

    def ready(*arrays: Array | None, **attributes: Any) -> Multiply:
        return make(keeping()).ready(*arrays, **attributes)

    return dataclasses.replace(make(keeping()), ready=ready)


# -- The check ----------------------------------------------------------------------------------------


@functools.cache
def chosen_way(backend: Multiplier, precision: str, product: Product) -> Way:
    """Return the first way of a backend whose bits do not depend on a row's place, on this processor.

    Parameters
    ----------
    backend : Backend
        The backend, with its device.
    precision : str
        The precision of products in force. It decides which kernels run, as does the number of threads, which
        `Backend.one_thread` holds at one.
    product : Product
        The product.

    Returns
    -------
    Way
        The last one where the shape of a row is not known, since nothing can be checked then.
    """
    *ways, last = backend.ways(product)
    if product.sample is None:
        return last
    # A tile must be a whole number of blocks: the rows left over would be computed by another call.
    ways = [way for way in ways if product.tile % way.rows == 0]
    return next((way for way in ways if _same_everywhere(way, backend, product)), last)


def _same_everywhere(way: Way, backend: Multiplier, product: Product) -> bool:
    """Return whether equal rows had equal bits at each place of a product, and in shorter products, in all trials."""
    if way.rows == 1 or not math.prod(product.sample or ()) or not product.multiply_adds:
        return True  # a row has one place, or nothing is added up
    rng = np.random.default_rng(0)
    draws = _DRAWS if product.multiply_adds < _FEW_TERMS else 1
    return all(_same_for_one_weight(way, backend, product, rng) for _ in range(draws))


def _same_for_one_weight(way: Way, backend: Multiplier, product: Product, rng: np.random.Generator) -> bool:
    """Return what `_same_everywhere` returns, for one weight drawn at random."""
    sample = product.sample or ()
    host = np.dtype(np.float64 if product.dtype == "float64" else np.float32)

    def placed(values: np.ndarray) -> Array:
        x = backend.asarray(values)
        return x if product.dtype == host.name else backend.xp.astype(x, getattr(backend.xp, product.dtype))

    # A bias of the size of the sums would round away the bits in which they differ.
    drawn = [
        None if s is None else rng.standard_normal(s) * (2.0**-12 if i else 1) for i, s in enumerate(product.shapes)
    ]
    multiply = way.ready(*[None if x is None else placed(x.astype(host)) for x in drawn], **dict(product.attributes))
    # Lengths that are filled up to the same one are computed by the same call.
    step = math.lcm(way.multiple, way.fills)
    shorter = range(step, way.rows, step)
    sums = max(1, product.multiply_adds // max(1, math.prod(product.shapes[0] or ())))
    trials = max(_FEWEST, min(-(-_TRIALS // sums), _MOST_WORK // (way.rows * product.multiply_adds)))
    # The shortest product is in each trial. Others are there in turn: all of them, or of a large weight one each time.
    each = -(-len(shorter) // _TRIALS) if trials == _TRIALS else min(len(shorter), 1)
    lengths = np.resize(rng.permutation(shorter), trials * each).tolist()
    for trial in range(trials):
        row = rng.standard_normal(math.prod(sample)).astype(host)
        sizes = {way.rows, *shorter[:1], *lengths[trial::trials]}
        tiles = [placed(_repeated(row, size, trial).reshape(size, *sample)) for size in sizes]
        if way.columns:
            tiles += [np.asfortranarray(x) for x in tiles]
        found = [backend.to_numpy(multiply(x)) for x in tiles]
        bits = np.ascontiguousarray(np.concatenate(found)).view(np.uint8)
        if np.any(bits != bits[:1]):
            return False
    return True


def _repeated(row: np.ndarray, count: int, offset: int) -> np.ndarray:
    """Return `count` copies of a row in memory, which begin `offset` numbers behind an aligned address."""
    memory = np.empty(offset + count * row.size, row.dtype)
    x = memory[offset:].reshape(count, row.size)
    x[...] = row
    return x
