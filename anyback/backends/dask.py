"""Dask: graphs over NumPy blocks, computed when asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends.base import Backend
from anyback.backends.numpy import NumPy, one_blas_thread

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["Dask"]


@dataclass(frozen=True)
class Dask(Backend):
    name: ClassVar[str] = "dask"
    package: ClassVar[str] = "dask"
    extra: ClassVar[str] = "dask"
    namespace: ClassVar[str] = "array_api_compat.dask.array"
    tile: ClassVar[int] = NumPy.tile

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
        if isinstance(x, np.memmap) and not x.flags.writeable:  # from_array would copy the file into memory, and now
            name = f"memmap-{_by_chance()}"
            chunks = tuple((size,) for size in x.shape)
            return dask.array.Array({(name, *(0 for _ in chunks)): x}, name, chunks, meta=np.empty(0, x.dtype))
        return dask.array.from_array(x, chunks=-1, name=False)

    def to_numpy(self, x: Array) -> np.ndarray:
        with one_blas_thread():
            return np.asarray(x.compute())

    def widest_float(self, x: Array) -> str:
        return "float64"

    def steady(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def compile(self, net: Sequential) -> Callable[[Array, int], Array]:
        # A tile is one block: in blocks of other shapes, sums may come out in another order.
        if not net.rowwise:
            return lambda tile, count: net.forward(tile.rechunk(-1))
        # And one task on NumPy: of a task for each step, Dask would begin many, and keep what they give in memory.
        block = _Block(net.map(self.to_numpy), _by_chance())
        answer = functools.cache(lambda shape, dtype: block(np.zeros((1, *shape), dtype)))

        def forward(tile: Array, count: int) -> Array:
            one = answer(tile.shape[1:], tile.dtype)
            return tile.rechunk(-1).map_blocks(
                block,
                drop_axis=list(range(1, tile.ndim)),
                new_axis=list(range(1, one.ndim)),
                chunks=(tile.shape[0], *one.shape[1:]),
                meta=one[:0],
            )

        return forward

    def grain(self, net: Sequential) -> int:
        return NumPy().grain(net)

    def wait(self, x: Array) -> None:
        import dask

        dask.compute(x)


@dataclass(frozen=True, eq=False)
class _Block:
    """What a task does: a network on NumPy; a class, so that it can be sent to other processes."""

    net: Sequential
    name: str

    def __dask_tokenize__(self) -> str:
        return self.name  # else Dask would hash the weights, for each tile

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        with one_blas_thread():
            return NumPy().compile(self.net)(rows, len(rows))


def _by_chance() -> str:
    import uuid  # takes a millisecond, and few need it

    return uuid.uuid4().hex
