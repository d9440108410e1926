"""Dask: graphs over NumPy blocks, computed when asked for."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._blas import one_blas_thread
from anyback.backends._mapped import Mapped, mapped
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

        # One block, named by chance instead of by a hash over all bytes: weights are small.
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
        arrays = tuple(self.to_numpy(x) for x in plan.arrays)
        return _Loaded(
            [
                _Block(dataclasses.replace(plan, backend=NumPy("cpu"), arrays=arrays, outputs=(output,)))
                for output in plan.outputs
            ]
        )

    def way(self, precision: str, product: Product) -> Way:
        way = _NUMPY.way("highest", product)
        return dataclasses.replace(way, ready=functools.partial(_in_each_task, way, product))

    def chosen(self, plan: Plan, run: Callable[..., tuple[Array, ...]]) -> dict[str, str]:
        return _NUMPY.chosen(plan, run)

    def wait(self, x: Array) -> None:
        import dask

        dask.compute(x)


class _Loaded:
    """What runs a plan: each block of rows by one task on NumPy.

    With a task for each step, Dask would begin many tasks and keep their results in memory. And a library may sum in
    another order in blocks of other shapes.
    """

    def __init__(self, blocks: Sequence[_Block]) -> None:
        self._blocks = blocks
        self._no_rows = [functools.cache(_empty_answer(block)) for block in blocks]

    def __call__(self, tile: Array) -> tuple[Array, ...]:
        """Return the outputs for a tile, which is one block."""
        sample = tile.shape[1:], tile.dtype
        return tuple(
            _over_rows(block, tile, none(*sample)) for block, none in zip(self._blocks, self._no_rows, strict=True)
        )

    def later(self, x: Array, step: int | None, remark: Callable[[np.ndarray, int], str | None]) -> tuple[Array, ...]:
        """Return the outputs for all rows of a Dask or NumPy array; a task takes `step` rows, in whole tiles."""
        import dask.array

        place = mapped(x) if isinstance(x, np.memmap) else None
        rows = _rows_of_tasks(self._blocks[0].plan.tile, x, step)
        given = () if place else (_in_blocks(x, rows),)
        answers: list[Array] = []
        for block, no_rows in zip(self._blocks, self._no_rows, strict=True):
            none = no_rows(x.shape[1:], x.dtype)
            # Each output would say it of the same rows.
            task = _Task(block, place, None if answers else remark)
            answers.append(
                dask.array.map_blocks(
                    task,
                    *given,
                    # None unless needed: with axes dropped or added, Dask does not fuse reading and computing.
                    drop_axis=list(range(none.ndim, x.ndim)) if given else None,
                    new_axis=list(range(x.ndim, none.ndim)) if given else None,
                    chunks=(rows, *((size,) for size in none.shape[1:])),
                    dtype=none.dtype,
                    meta=none,
                )
            )
        return tuple(answers)


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
        tile = self.plan.tile
        whole: Any = None
        rows = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("="))
        for start in range(0, max(1, len(rows)), tile):
            part = rows[start : start + tile]
            count = len(part)
            if more := -count % self.plan.multiple:
                part = np.concatenate([part, np.zeros((more, *part.shape[1:]), part.dtype)])
            y = np.asarray(self.loaded(part)[0])[:count]
            if count == len(rows):
                # Layers may pass on the input: some releases of Dask give a task the array of the caller itself.
                return y.copy() if np.may_share_memory(y, part) else y
            whole = np.empty((len(rows), *y.shape[1:]), y.dtype) if whole is None else whole
            whole[start : start + count] = y
        return np.asarray(whole)


@dataclass(eq=False, repr=False)  # Dask asks for the name of what it maps, which would print the arrays
class _Task:
    """What a task does that takes many tiles: it reads them, if they lie in a file, looks at them, and computes."""

    block: _Block
    place: Mapped | None
    remark: Callable[[np.ndarray, int], str | None] | None

    def __dask_tokenize__(self) -> str:
        return _by_chance()

    def __call__(self, *given: np.ndarray, block_info: Any = None) -> np.ndarray:
        start, stop = block_info[None]["array-location"][0]
        rows = given[0] if self.place is None else self.place[start:stop]
        if self.remark is not None and (text := self.remark(rows, start)):
            _warn(text)
        return self.block(rows)


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


#: Tiles of a task, unless a Dask array has larger blocks. In smaller tasks, Dask's own work takes a notable time.
_TILES = 8


def _rows_of_tasks(tile: int, x: Array, asked: int | None) -> tuple[int, ...]:
    """Return how many rows each task computes.

    The blocks of a Dask array stay as they are, unless they are small: to cut them anew would copy every number, and no
    row's bits depend on its place.
    """
    n = int(x.shape[0])
    if asked is None:
        given = () if isinstance(x, np.ndarray) else x.chunks[0]
        if given and min(given[:-1], default=tile) >= tile:
            return tuple(given)
        asked = _TILES * tile
    step = -(-asked // tile) * tile
    return tuple(min(step, n - start) for start in range(0, n, step))


def _in_blocks(x: Array, rows: tuple[int, ...]) -> Array:
    import dask.array

    chunks = (rows, *((size,) for size in x.shape[1:]))
    if isinstance(x, np.ndarray):
        return dask.array.from_array(x, chunks=chunks, name=False)
    return x.rechunk(chunks)


def _warn(text: str) -> None:
    """Warn the user, also where a worker of Dask's in another process computes."""
    if (distributed := sys.modules.get("distributed")) is not None:
        distributed.warn(text)  # which warns here, too
    else:
        warnings.warn(text, stacklevel=2)


def _empty_answer(block: _Block) -> Callable[..., np.ndarray]:
    """Return what gives an array of no rows, of the shape and type of a block's answer to rows of a shape and type."""
    return lambda sample, dtype: block(np.zeros((block.plan.multiple, *sample), dtype))[:0]


def _by_chance() -> str:
    import uuid  # takes a millisecond, and few need it

    return uuid.uuid4().hex
