"""A plan compiled by XLA for a CPU: one program computes a tile in steps of some rows, each by the same code."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._loading import computing
from anyback.backends._precision import Switches, scope
from anyback.backends._scratch import ALIGNMENT, Scratch, aligned
from anyback.backends._ways import Kernel
from anyback.numbers import PrecisionName
from anyback.plan import Plan, Rows, check_rows, run

__all__ = ["PARTS", "STEP", "Loaded", "Steps", "compiled_forward"]

#: The most rows of a step, which stay in the cache. Not a program for each step: a call costs JAX 0.2 ms.
STEP = 320
#: Steps of a tile.
PARTS = 8
#: XLA's option to share the work of a product among threads.
_THREADS = "xla_cpu_multi_thread_eigen"


def compiled_forward(plan: Plan, own: Mapping[str, Kernel]) -> Callable[..., tuple[Array, ...]]:
    """Return the function that runs a plan for its arrays and a tile of each input, for JAX to compile."""
    steps = [dataclasses.replace(step, compute=computing(own.get(step.kernel or ""), step)) for step in plan.steps]

    def forward(arrays: tuple[Array, ...], *tiles: Array) -> tuple[Array, ...]:
        return run(steps, plan.outputs, [*tiles, *arrays])

    return forward


@dataclass(frozen=True, eq=False)
class Loaded:
    """What runs a plan by a compiled program, in a precision."""

    backend: Switches
    precision: PrecisionName
    program: Callable[..., tuple[Array, ...]]

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        with scope(self.backend, self.precision):
            return self.program(*inputs)


class Steps:
    """A compiled plan of one input, which is called with a tile.

    Parameters
    ----------
    plan : Plan
        The plan.
    own : mapping of str to Kernel
        JAX's kernels by the names of ops.
    device : device of JAX
        The device that it computes on.
    """

    def __init__(self, plan: Plan, own: Mapping[str, Kernel], device: Device) -> None:
        self._plan, self._device = plan, device
        self._forward = compiled_forward(plan, own)
        self._rest = Scratch()
        # For use inside a program of the user's: with a known number of steps, which a gradient needs.
        self._inside = self._compiled(plan.step, static_argnums=2)
        self._programs: dict[int, Callable[..., tuple[Array, ...]]] = {}

    def __call__(self, tile: Array) -> tuple[Array, ...]:
        """Return the outputs for the rows of a tile; for a shorter tile, meaningless rows follow."""
        import jax

        rows, arrays, most = tile.shape[0], self._plan.arrays, self._plan.step
        with jax.default_device(self._device):  # where NumPy's arrays go, and weights that were put nowhere
            if isinstance(tile, jax.core.Tracer):  # inside a program of the user's
                tile = jax.numpy.pad(tile, [(0, -rows % most)] + [(0, 0)] * (tile.ndim - 1))
                return self._inside(arrays, tile, rows)
            tile = np.asarray(tile)
            if rows < self._plan.tile:
                whole = self._rest.array((self._plan.tile, *tile.shape[1:]), tile.dtype)
                whole[:rows], whole[rows : rows + -rows % most] = tile, 0
                tile = whole
            elif tile.ctypes.data % ALIGNMENT:  # JAX would copy it too, and not compute meanwhile
                copy = aligned(tile.shape, tile.dtype)
                copy[...] = tile
                tile = copy
            with jax.ensure_compile_time_eval():  # inside such a program, too
                return self._program(self.size)(arrays, tile, np.int32(rows))

    @functools.cached_property
    def size(self) -> int:
        """The number of rows of a step, the largest for which a row's bits did not depend on its place in the step.

        Fewer than the plan's where the check found other bits. There is no check of a step of one row, of a tile that
        must be computed as it is, and with functions of the user's, whose rows may depend on each other.
        """
        plan = self._plan
        if plan.rows is Rows.UNKNOWN or plan.step in (1, plan.tile):
            return plan.step
        return next((size for size in (plan.step, 8) if self._same_everywhere(size)), 1)

    def _program(self, most: int) -> Callable[..., tuple[Array, ...]]:
        if most not in self._programs:
            # Workers compute several tiles at a time; but a step of one row is large enough for all threads.
            make = self._compiled if self._plan.step == 1 else self._by_one_thread
            self._programs[most] = make(most)
        return self._programs[most]

    def _by_one_thread(self, most: int) -> Callable[..., tuple[Array, ...]]:
        """Return the program whose steps take one thread, where XLA has an option for it."""
        program = self._compiled(most, compiler_options={_THREADS: False})

        def call(*given: Any) -> tuple[Array, ...]:
            nonlocal program
            try:
                return program(*given)
            except Exception as error:  # of several types, by the version
                if _THREADS not in str(error):
                    raise
                program = self._compiled(most)
                return program(*given)

        return call

    def _same_everywhere(self, size: int) -> bool:
        """Return whether each of 16 rows had the same bits at every place of a tile in a trial."""
        import jax

        rng = np.random.default_rng(0)
        floats = rng.standard_normal((16, *self._plan.shapes[0]))
        dtype = jax.numpy.dtype(self._plan.dtypes[0])
        rows = (floats if dtype.kind not in "iub" else rng.integers(0, 100, floats.shape)).astype(dtype)
        program, arrays = self._program(size), self._plan.arrays
        # Each row fills one step of a tile, and then another step of another tile.
        steps = self._plan.tile // self._plan.step
        first = np.arange(steps) % 16
        tiles = [np.roll(first, by) + begin for begin in range(0, 16, steps)[:4] for by in (0, 3)]
        seen: dict[int, bytes] = {}
        for chosen in tiles:
            tile = rows[chosen % 16].repeat(self._plan.step, axis=0)
            for y in map(np.asarray, program(arrays, tile, np.int32(self._plan.tile))[:1]):
                for number, row in zip(chosen.repeat(self._plan.step).tolist(), y, strict=True):
                    if seen.setdefault(number % 16, row.tobytes()) != row.tobytes():
                        return False
        return True

    def _compiled(self, most: int, **options: Any) -> Callable[..., tuple[Array, ...]]:
        """Return the program that takes so many rows at a time."""
        import jax

        forward = self._forward

        # The weights are arguments: as constants they would be copied into every compiled program.
        def steps(arrays: tuple[Array, ...], tile: Array, count: Array) -> tuple[Array, ...]:
            size = min(most, tile.shape[0])
            ones = jax.eval_shape(forward, arrays, jax.ShapeDtypeStruct((size, *tile.shape[1:]), tile.dtype))
            check_rows(ones)

            def step(i: Array, ys: tuple[Array, ...]) -> tuple[Array, ...]:
                rows = jax.lax.dynamic_slice_in_dim(tile, i * size, size)
                found = forward(arrays, rows)
                return tuple(
                    jax.lax.dynamic_update_slice_in_dim(y, part, i * size, 0) for y, part in zip(ys, found, strict=True)
                )

            ys = tuple(jax.numpy.zeros((tile.shape[0], *one.shape[1:]), one.dtype) for one in ones)
            return jax.lax.fori_loop(0, (count + size - 1) // size, step, ys)

        return jax.jit(steps, **options)
