"""Dask: graphs over NumPy blocks, computed when asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends.base import Backend
from anyback.backends.numpy import one_blas_thread

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["Dask"]


@dataclass(frozen=True)
class Dask(Backend):
    name: ClassVar[str] = "dask"
    package: ClassVar[str] = "dask"
    extra: ClassVar[str] = "dask"
    namespace: ClassVar[str] = "array_api_compat.dask.array"
    tile: ClassVar[int] = 1024

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
        return dask.array.from_array(x, chunks=-1, name=False)

    def to_numpy(self, x: Array) -> np.ndarray:
        with one_blas_thread():
            return np.asarray(x.compute())

    def widest_float(self, x: Array) -> str:
        return "float64"

    def steady(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def compile(self, net: Sequential) -> Callable[[Array, int], Array]:
        # One block: in blocks of other shapes, sums may come out in another order.
        return lambda tile, count: net.forward(tile.rechunk(-1))

    def wait(self, x: Array) -> None:
        import dask

        dask.compute(x)
