"""Dask: graphs over NumPy blocks, computed when asked for."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._blas import one_blas_thread
from anyback.backends._mapped import mapped
from anyback.backends._ways import Kernel, Product, Way
from anyback.backends.base import Backend
from anyback.backends.numpy import NumPy, without_underflow
from anyback.plan import Plan, Rows

__all__ = ["Dask"]

#: Where the blocks of an array are computed.
_NUMPY = NumPy("cpu")


def _convolution(x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> Array:
    """Convolve in one task, as NumPy does: the slices and columns of a deep network would be a million blocks."""
    import dask.array

    arrays = [x, weight] if bias is None else [x, weight, bias]
    if any(math.isnan(size) for size in x.shape):
        return NotImplemented  # its blocks cannot be put together
    zeros = [np.zeros(a.shape, a.dtype) for a in arrays[1:]]
    none = _convolved(np.zeros((0, *x.shape[1:]), x.dtype), *zeros, **attributes)
    chunks = tuple((size,) for size in (x.shape[0], *none.shape[1:]))
    whole = [a.rechunk(-1) for a in arrays]
    return dask.array.map_blocks(_convolved, *whole, chunks=chunks, meta=none, **attributes)


def _convolved(*arrays: np.ndarray, **attributes: Any) -> np.ndarray:
    with one_blas_thread(), without_underflow():
        return np.asarray(_NUMPY.own["conv"].compute(*arrays, **attributes))


@dataclass(frozen=True)
class Dask(Backend):
    name: ClassVar[str] = "dask"
    package: ClassVar[str] = "dask"
    extra: ClassVar[str] = "dask"
    namespace: ClassVar[str] = "array_api_compat.dask.array"
    own: ClassVar[Mapping[str, Kernel]] = {"conv": Kernel(_convolution, partial=True)}
    tile: ClassVar[int] = NumPy.tile
    step: ClassVar[int] = NumPy.step

    @property
    def on_host(self) -> bool:
        return True

    def asarray(self, x: Array) -> Array:
        if self.device not in (None, "cpu"):
            raise self.no_such_device()
        return self.from_numpy(x, None) if isinstance(x, np.ndarray) else x

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def device_of(self, x: Array) -> str | None:
        return "cpu"

    def from_numpy(self, x: np.ndarray, device: Device) -> Array:
        import dask.array

        # One block, named by chance instead of by a hash over all bytes: weights are small, tiles come one by one.
        if isinstance(x, np.memmap) and (place := mapped(x)):
            return dask.array.from_array(place, chunks=-1, name=f"memmap-{_by_chance()}", meta=np.empty(0, x.dtype))
        return dask.array.from_array(x, chunks=-1, name=False)

    def more_than_numbers(self, x: Array) -> str | None:
        blocks = x._meta
        if blocks is None or isinstance(blocks, np.generic) or type(blocks) is np.ndarray:
            return None
        kind = type(blocks).__name__
        return f"its blocks are {kind}; make them NumPy arrays, for example with x.map_blocks(function)"

    def to_numpy(self, x: Array) -> np.ndarray:
        with one_blas_thread():
            return np.asarray(x.compute())

    def widest_float(self, x: Array) -> str:
        return "float64"

    def one_thread(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def contiguous(self, tile: Array) -> Array:
        return tile.rechunk(-1)

    def load(self, plan: Plan) -> Callable[..., tuple[Array, ...]]:
        if plan.rows is Rows.UNKNOWN:  # a function of the user's takes Dask's arrays
            return super().load(plan)
        # A tile is one block: in blocks of other shapes, sums may come out in another order. And one task on NumPy: of
        # a task for each step, Dask would begin many, and keep what they give in memory.
        arrays = tuple(self.to_numpy(x) for x in plan.arrays)
        blocks = [
            _Block(dataclasses.replace(plan, backend=NumPy("cpu"), arrays=arrays, outputs=(output,)))
            for output in plan.outputs
        ]
        answers = [functools.cache(_empty_answer(block)) for block in blocks]

        def call(tile: Array) -> tuple[Array, ...]:
            sample = tile.shape[1:], tile.dtype
            return tuple(
                _over_rows(block, tile, answer(*sample)) for block, answer in zip(blocks, answers, strict=True)
            )

        return call

    def way(self, precision: str, product: Product) -> Way:
        way = _NUMPY.way("highest", product)
        return dataclasses.replace(way, ready=functools.partial(_in_each_task, way, product))

    def chosen(self, plan: Plan, run: Callable[..., tuple[Array, ...]]) -> dict[str, str]:
        return _NUMPY.chosen(plan, run)

    def wait(self, x: Array) -> None:
        import dask

        dask.compute(x)


@dataclass(eq=False, repr=False)  # Dask asks for the name of what it maps, which would print the arrays
class _Block:
    """What a task does to a block of rows, on NumPy: run a plan. A class, so that it can be sent to other processes."""

    plan: Plan

    def __getstate__(self) -> dict[str, Any]:
        return {"plan": self.plan}  # without the kernels

    @functools.cached_property
    def name(self) -> str:
        """A name by chance, or Dask would hash the weights, for each tile."""
        return _by_chance()

    def __dask_tokenize__(self) -> str:
        return self.name

    @functools.cached_property  # for all blocks that a process computes
    def loaded(self) -> Callable[..., tuple[Array, ...]]:
        return _NUMPY.load(self.plan)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.loaded(rows)[0])


@dataclass(eq=False, repr=False)  # Dask asks for the name of what it maps, which would print the arrays
class _Multiplied:
    """A product of a plan whose other steps Dask computes, as a task; a class, so that it can be sent elsewhere."""

    product: Product
    arrays: tuple[np.ndarray | None, ...]

    def __getstate__(self) -> dict[str, Any]:
        return {"product": self.product, "arrays": self.arrays}

    @functools.cached_property
    def multiply(self) -> Callable[[Array], Array]:
        return _NUMPY.way("highest", self.product).ready(*self.arrays, **dict(self.product.attributes))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        with one_blas_thread(), without_underflow():
            return self.multiply(rows)


def _in_each_task(way: Way, product: Product, *arrays: Array | None, **attributes: Any) -> Callable[[Array], Array]:
    """Return what multiplies a block as NumPy does."""
    block = _Multiplied(product, tuple(None if a is None else Dask.to_numpy(Dask(), a) for a in arrays))

    def multiply(x: Array) -> Array:
        return _over_rows(block, x, block(np.zeros((way.multiple, *x.shape[1:]), x.dtype))[:0])

    return multiply


def _over_rows(block: Callable[[np.ndarray], np.ndarray], x: Array, none: np.ndarray) -> Array:
    """Return what `block` makes of all rows of `x` in one task; `none` is its answer to no rows."""
    return x.rechunk(-1).map_blocks(
        block,
        drop_axis=list(range(1, x.ndim)),
        new_axis=list(range(1, none.ndim)),
        chunks=(x.shape[0], *none.shape[1:]),
        meta=none,
    )


def _empty_answer(block: _Block) -> Callable[..., np.ndarray]:
    """Return what gives an array of no rows, of the shape and type of a block's answer to rows of a shape and type."""
    return lambda sample, dtype: block(np.zeros((block.plan.multiple, *sample), dtype))[:0]


def _by_chance() -> str:
    import uuid  # takes a millisecond, and few need it

    return uuid.uuid4().hex
