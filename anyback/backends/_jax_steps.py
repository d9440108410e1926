"""A network compiled by XLA for a CPU: a program that takes a tile some rows at a time, always by the same code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._scratch import ALIGNMENT, Scratch, aligned

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["STEP", "Steps"]

#: Rows of a step, which stay in the cache: to call a program costs JAX 0.2 ms.
STEP = 320
#: The same, or fewer where the rows of a step are not treated alike; one row alone always is.
_SIZES = (STEP, 8, 1)


class Steps:
    """A compiled network, which is called with a tile and the number of its rows that count.

    Parameters
    ----------
    net : Sequential
        The network.
    device : device of JAX
        Where it computes.
    tile : int
        Rows of a tile, a multiple of `STEP`.
    """

    def __init__(self, net: Sequential, device: Device, tile: int) -> None:
        self._net, self._device, self._tile = net, device, tile
        self._rest = Scratch()
        # Inside a program of the user's, of a known number of steps: a gradient needs that.
        self._inside = _compiled(net, STEP, static_argnums=2)
        self._programs: dict[int, Callable[..., Array]] = {}
        self._sizes: dict[tuple[tuple[int, ...], Any], int] = {}

    def __call__(self, tile: Array, count: int) -> Array:
        """Return the output for a tile, of which the first `count` rows are computed."""
        import jax

        rows, arrays = tile.shape[0], self._net.arrays
        with jax.default_device(self._device):  # where NumPy's arrays go, and weights that were put nowhere
            if isinstance(tile, jax.core.Tracer):  # inside a program of the user's
                tile = jax.numpy.pad(tile, [(0, -rows % STEP)] + [(0, 0)] * (tile.ndim - 1))
                return self._inside(arrays, tile, count)
            tile = np.asarray(tile)
            if rows < self._tile:
                whole = self._rest.array((self._tile, *tile.shape[1:]), tile.dtype)
                whole[:rows], whole[rows : rows + -rows % STEP] = tile, 0
                tile = whole
            elif tile.ctypes.data % ALIGNMENT:  # JAX would copy it too, and not compute meanwhile
                copy = aligned(tile.shape, tile.dtype)
                copy[...] = tile
                tile = copy
            with jax.ensure_compile_time_eval():  # inside such a program, too
                return self._program(self.size(tile.shape[1:], tile.dtype))(arrays, tile, np.int32(count))

    def size(self, shape: tuple[int, ...], dtype: Any) -> int:
        """Return the rows of a step in which a row's bits do not depend on its place, for samples of this shape.

        Of what the user's functions do with rows nothing is known, so nothing can be checked.
        """
        found = self._sizes.get((shape, dtype))
        if found is None:
            *sizes, last = _SIZES if self._net.rowwise else (STEP,)
            found = next((size for size in sizes if self._is_steady(size, shape, dtype)), last)
            self._sizes[shape, dtype] = found
        return found

    def _program(self, most: int) -> Callable[..., Array]:
        if most not in self._programs:
            self._programs[most] = _compiled(self._net, most)
        return self._programs[most]

    def _is_steady(self, size: int, shape: tuple[int, ...], dtype: Any) -> bool:
        """Return whether 16 rows had the same bits at each place of a tile: evidence, not proof."""
        rng = np.random.default_rng(0)
        floats = rng.standard_normal((16, *shape))
        rows = (floats if dtype.kind not in "iub" else rng.integers(0, 100, floats.shape)).astype(dtype)
        program, arrays = self._program(size), self._net.arrays
        # Each row fills a step of a tile, and another step of another tile.
        steps = self._tile // STEP
        first = np.arange(steps) % 16
        seen: dict[int, bytes] = {}
        for chosen in (first, np.roll(first, 3), first + steps, np.roll(first, 3) + steps):
            y = np.asarray(program(arrays, rows[chosen % 16].repeat(STEP, axis=0), np.int32(self._tile)))
            for number, row in zip(chosen.repeat(STEP).tolist(), y, strict=True):
                if seen.setdefault(number % 16, row.tobytes()) != row.tobytes():
                    return False
        return True


def _compiled(net: Sequential, most: int, **options: Any) -> Callable[..., Array]:
    """Return the program of a network that takes so many rows at a time."""
    import jax

    def forward(arrays: tuple[Array, ...], rows: Array) -> Array:
        return net.with_arrays(arrays).forward(rows)

    # The weights are arguments: as constants they would be copied into every compiled program.
    def steps(arrays: tuple[Array, ...], tile: Array, count: Array) -> Array:
        size = min(most, tile.shape[0])
        one = jax.eval_shape(forward, arrays, jax.ShapeDtypeStruct((size, *tile.shape[1:]), tile.dtype))

        def step(i: Array, y: Array) -> Array:
            rows = jax.lax.dynamic_slice_in_dim(tile, i * size, size)
            return jax.lax.dynamic_update_slice_in_dim(y, forward(arrays, rows), i * size, 0)

        y = jax.numpy.zeros((tile.shape[0], *one.shape[1:]), one.dtype)
        return jax.lax.fori_loop(0, (count + size - 1) // size, step, y)

    return jax.jit(steps, **options)
