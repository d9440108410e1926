"""Dask: graphs over NumPy blocks, computed when asked for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._mapped import mapped
from anyback.backends._ways import Product, Way, chosen_way
from anyback.backends.base import Backend
from anyback.backends.numpy import NumPy, one_blas_thread, without_underflow

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

    def steady(self) -> AbstractContextManager[Any]:
        return one_blas_thread()

    def compile(self, net: Sequential, precision: str) -> Callable[[Array, int], Array]:
        # A tile is one block: in blocks of other shapes, sums may come out in another order.
        if not net.rowwise:
            return super().compile(net, precision)
        # And one task on NumPy: of a task for each step, Dask would begin many, and keep what they give in memory.
        block = _Block(net.map(self.to_numpy))
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

    def packed(self, tile: Array) -> Array:
        return tile.rechunk(-1)

    def ways(self, width: int, outputs: int, dtype: str) -> tuple[Way, ...]:
        def ready(weight: Array, bias: Array | None) -> Product:
            block = _Product(self.to_numpy(weight), None if bias is None else self.to_numpy(bias))
            return lambda x: x.map_blocks(block, dtype=weight.dtype, chunks=(x.chunks[0], (outputs,)))

        return (Way("as NumPy, in each task", 1, 1, ready),)

    def grain(self, net: Sequential, precision: str, dtype: str) -> int:
        return NumPy("cpu").grain(net, precision, dtype)

    def chosen(self, net: Sequential, precision: str) -> dict[str, str]:
        return NumPy("cpu").chosen(net, precision)

    def wait(self, x: Array) -> None:
        import dask

        dask.compute(x)


@dataclass(frozen=True, eq=False)
class _Task:
    """What a task does to a block of rows, on NumPy; a class, so that it can be sent to other processes."""

    def __getstate__(self) -> dict[str, Any]:
        # Without the program, which holds functions.
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @functools.cached_property
    def name(self) -> str:
        return _by_chance()

    def __dask_tokenize__(self) -> str:
        return self.name  # else Dask would hash the weights, for each tile

    @functools.cached_property  # for all blocks that a process computes
    def program(self) -> Callable[[Array], Array]:
        raise NotImplementedError

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        with one_blas_thread(), without_underflow():
            return self.program(rows)


@dataclass(frozen=True, eq=False)
class _Block(_Task):
    """A network."""

    net: Sequential

    @functools.cached_property
    def program(self) -> Callable[[Array], Array]:
        forward = NumPy("cpu").compile(self.net, "highest")
        return lambda rows: forward(rows, len(rows))


@dataclass(frozen=True, eq=False)
class _Product(_Task):
    """The product of a linear layer in a network whose other layers Dask computes."""

    weight: np.ndarray
    bias: np.ndarray | None

    @functools.cached_property
    def program(self) -> Callable[[Array], Array]:
        way = chosen_way(NumPy("cpu"), "highest", *self.weight.shape, self.weight.dtype.name)
        return way.ready(self.weight, self.bias)


def _by_chance() -> str:
    import uuid  # takes a millisecond, and few need it

    return uuid.uuid4().hex
