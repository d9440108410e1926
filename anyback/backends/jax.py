"""JAX: compiled by XLA for CPUs, GPUs and TPUs; arrays cannot be written to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._jax_kernels import OWN
from anyback.backends._jax_steps import PARTS, STEP, Loaded, Steps, compiled_forward
from anyback.backends._loops import ScanStep, WhileStep
from anyback.backends._machine import usable_cores
from anyback.backends._precision import offered_precision, scope
from anyback.backends._programs import Program, of_one
from anyback.backends._scratch import ALIGNMENT, Scratch, aligned
from anyback.backends._ways import Kernel, Product, Way
from anyback.backends.base import Backend
from anyback.errors import BackendError, OperatorError
from anyback.plan import Plan, Rows, Shape

__all__ = ["JAX"]

# The names of algorithms, since "bfloat16" and "tensorfloat32" are mere wishes: on a GPU both are TF32.
_PRECISIONS = {"highest": "highest", "tf32": "TF32_TF32_F32", "bf16": "BF16_BF16_F32"}
#: Multiply-adds of a step of `predict`: 16 sequences of a transformer take 1.2 ms in steps of 8, in one of 320 31 ms.
_WORK_OF_STEP = 1 << 24
#: Where the rows of a batch lie at an address that a program takes; fewer bytes are copied tile by tile.
_PLACED, _MUCH = Scratch(), 1 << 20


class JAX(Backend):
    name: ClassVar[str] = "jax"
    package: ClassVar[str] = "jax"
    extra: ClassVar[str] = "jax"
    namespace: ClassVar[str] = "jax.numpy"
    own: ClassVar[Mapping[str, Kernel]] = OWN
    tile: ClassVar[int] = PARTS * STEP
    step: ClassVar[int] = STEP

    @property
    def tiles(self) -> int:  # type: ignore[override]  # a batch is computed by one worker
        return 4 if self.workers == 1 else 1

    @property
    def workers(self) -> int:
        return usable_cores() if self._on_cpu() else 1

    def ran_out(self, error: BaseException) -> bool:
        return super().ran_out(error) or "RESOURCE_EXHAUSTED" in str(error)

    def until(self, step: Callable[[Any], Any], state: Any, times: int) -> Any:
        from jax import lax

        def once(_: Any, state: Any) -> Any:  # a loop of a known number of steps has a gradient
            return lax.cond(state[-1].all(), lambda same: same, step, state)

        return lax.fori_loop(0, times, once, state)

    def scan(
        self, step: ScanStep, state: tuple[Any, ...], sequences: Sequence[Array], count: int
    ) -> tuple[tuple[Any, ...], tuple[Array, ...]]:
        import jax

        def once(state: Any, parts: Any) -> Any:
            return step(parts[0], state, parts[1:])

        # Unrolled, every step would be compiled. A step of other shapes, or that needs to know its number, must be.
        parts = (jax.numpy.arange(count), *sequences)
        first = tuple(jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in parts)
        try:
            same = _forms(jax.eval_shape(once, state, first)[0]) == _forms(state)
        except (OperatorError, TypeError):
            same = False
        if not same or not count:
            return super().scan(step, state, sequences, count)
        return jax.lax.scan(once, state, parts)

    def repeat(self, step: WhileStep, state: tuple[Any, ...], first: int, most: int) -> tuple[Any, ...]:
        import jax

        for number in range(first, most):
            again, state = step(np.asarray(number, np.int64), state)
            if isinstance(again, jax.core.Tracer):  # whether there is another step is known when the program runs
                break
            if not bool(again):
                return state
        else:
            return state

        def once(carried: Any) -> Any:
            number, _, state = carried
            again, state = step(number, state)
            return number + 1, again.reshape(()), state

        begin = jax.numpy.asarray(number + 1), again.reshape(()), state
        return jax.lax.while_loop(lambda carried: carried[1] & (carried[0] < most), once, begin)[2]

    def devices(self) -> tuple[str, ...]:
        import jax

        found = list(jax.devices())
        if found[0].platform != "cpu":
            found += jax.devices("cpu")
        return tuple(_name(device) for device in found)

    def device_object(self) -> Device:
        import jax

        platform, _, number = str(self.device).partition(":")
        try:
            return jax.devices(platform)[int(number or 0)]
        except (RuntimeError, ValueError, IndexError):
            raise self.no_such_device() from None

    def from_numpy(self, x: np.ndarray, device: Device) -> Array:
        import jax

        # A copy: on a CPU JAX may keep the memory that it is given, and look at it after the caller has changed it. It
        # keeps what begins at a multiple of 64 bytes, and copies everything else once more.
        x = _known(x)
        copy = aligned(x.shape, x.dtype)
        copy[...] = x
        return jax.device_put(copy, device)

    def first_kernel(self) -> None:
        import jax

        with jax.ensure_compile_time_eval():  # the first use may be inside a program of the user's
            if jax.devices()[0].platform != "cpu" and not self._on_cpu():
                super().first_kernel()
            else:  # to compile a sum would be a twentieth of the time to the first answer
                self.asarray(np.arange(8, dtype=np.float32))

    def unwatched(self, x: Array) -> AbstractContextManager[Any]:
        import jax

        return super().unwatched(x) if isinstance(x, jax.core.Tracer) else jax.ensure_compile_time_eval()

    def device_of(self, x: Array) -> str | None:
        import jax

        # A traced array has no device yet; an array may be spread over several.
        devices = () if isinstance(x, jax.core.Tracer) else x.devices()
        return _name(*devices) if len(devices) == 1 else None

    def offered(self) -> tuple[str, ...]:
        import jax

        device = jax.devices()[0] if self.device is None else self.device_object()
        capability = float(getattr(device, "compute_capability", 0) or 0)
        return tuple(_PRECISIONS) if capability >= 8.0 else ("highest",)  # Ampere and later

    def precision(self, name: str) -> AbstractContextManager[Any]:
        import jax

        # Without it, float32 products run in TF32 on Ampere and later GPUs, and in bfloat16 on TPUs.
        return jax.default_matmul_precision(_PRECISIONS[name])

    def widest_float(self, x: Array) -> str:
        import jax

        return "float64" if jax.config.jax_enable_x64 else "float32"

    def host_view(self, x: Array) -> Array:
        # JAX compiles each cut for each shape, 20 ms at a time.
        return np.asarray(x) if str(self.device_of(x)).startswith("cpu") else x

    def put_tile(self, x: np.ndarray) -> Array:
        if not self._on_cpu():
            return self.asarray(x)
        # To hand over memory costs JAX 0.2 ms for each tile; a compiled program takes NumPy's as it lies, or copies it.
        x = _known(x)
        if x.nbytes < _MUCH or x.ctypes.data % ALIGNMENT == 0:
            return x
        copy = _PLACED.array(x.shape, x.dtype)  # 10,000 images to new memory would be a twentieth of their time
        copy[...] = x
        return copy

    def ways(self, product: Product) -> tuple[Way, ...]:
        return super().ways(product)[:1]  # what a product compiles to depends on what is around it: `load` checks

    def multiple(self, rows: Rows, ways: Sequence[Way], tile: int) -> int:
        return 1 if self._on_cpu() else tile  # the compiled program's own steps are all of one shape

    def rows_of_tile(self, numbers: int, multiply_adds: int = 0) -> int:
        tile = super().rows_of_tile(numbers, multiply_adds)
        if tile == 1 or not self._on_cpu():
            return tile
        # A number of the largest value stands for 64 multiply-adds where ops do not say theirs.
        rows = -(-_WORK_OF_STEP // max(multiply_adds, 64 * numbers))
        return min(tile, PARTS) if rows == 1 else PARTS * min(STEP, -(-rows // 8) * 8)

    def rows_of_step(self, tile: int) -> int:
        return max(1, tile // PARTS) if self._on_cpu() else tile

    def programs(self, run: Program, host: Sequence[int] = (), one: Program | None = None) -> tuple[Program, Program]:
        import jax

        run = self._told(run)
        if not host:
            return self._compiled(run), self._compiled(of_one(run))

        # What depends on these values, such as a shape, must be known: there is a program for each of them.
        def with_known(known: _Known, values: list[Array | None]) -> tuple[Array, ...]:
            return run([known.of(i, x) for i, x in enumerate(values)])

        compiled = jax.jit(with_known, static_argnums=0)
        places = frozenset(host)

        def call(values: list[Array]) -> tuple[Array, ...]:
            known = _Known.from_arrays({i: values[i] for i in host})
            return compiled(known, [None if i in places else x for i, x in enumerate(values)])

        program = self.in_settings(call)
        return program, of_one(program)

    def _compiled(self, run: Program) -> Program:
        """Return a program that is compiled for each precision, since to set that takes as long as an image."""
        import jax

        def in_precision(name: str, values: list[Array]) -> tuple[Array, ...]:
            with self.precision(name):
                return run(values)

        compiled = jax.jit(in_precision, static_argnums=0)
        return lambda values: compiled(offered_precision(self), values)

    def _told(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is told its device while it is traced; see `_jax_kernels`."""
        import jax

        def told(*given: Any) -> Any:
            with jax.default_device(self.device_object()):
                return function(*given)

        return function if self.device is None else told

    def looked(
        self, look: Callable[[list[Array]], None], inputs: Sequence[tuple[Shape, str]], arrays: Sequence[Array]
    ) -> None:
        import jax

        known = [jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype)) for shape, dtype in inputs]
        jax.eval_shape(look, [*known, *arrays])

    def load(self, plan: Plan) -> Callable[..., tuple[Array, ...]]:
        import jax

        if self._on_cpu():
            program: Callable[..., tuple[Array, ...]] = Steps(plan, self.own, self.device_object())
        else:
            # The weights are arguments: as constants they would be copied into every compiled program.
            program = functools.partial(jax.jit(self._told(compiled_forward(plan, self.own))), plan.arrays)
        return Loaded(self, plan.precision, program)

    def chosen(self, plan: Plan, run: Any) -> dict[str, str]:
        if not self._on_cpu():
            return {}
        with scope(self, plan.precision):  # for the check, where nothing was computed yet
            return {"the network": f"steps of {run.program.size} rows"}

    def first_rows(self, y: Array, count: int) -> Array:
        import jax

        if self._on_cpu() and not isinstance(y, jax.core.Tracer):
            y = np.asarray(y)  # waits for it, and is cut without being compiled
        return super().first_rows(y, count)

    def _on_cpu(self) -> bool:
        return str(self.device).startswith("cpu")

    on_host = checks_plans = property(_on_cpu)

    def wait(self, x: Array) -> None:
        x.block_until_ready()


@dataclass(frozen=True)
class _Known:
    """Values that a program is made for: their places, types, shapes and numbers, which can be compared and hashed."""

    values: tuple[tuple[int, str, tuple[int, ...], tuple[Any, ...]], ...]

    @staticmethod
    def from_arrays(arrays: Mapping[int, np.ndarray]) -> _Known:
        return _Known(tuple((i, x.dtype.str, x.shape, tuple(x.reshape(-1).tolist())) for i, x in arrays.items()))

    def of(self, place: int, x: Array | None) -> Array:
        """Return the value at a place; `x` where it is none of these."""
        found = next((value for value in self.values if value[0] == place), None)
        if found is None:
            return x
        _, dtype, shape, numbers = found
        return np.asarray(numbers, dtype).reshape(shape)


def _known(x: np.ndarray) -> np.ndarray:
    """Return `x` in a type that JAX has, or raise `BackendError`."""
    import jax

    wanted = jax.dtypes.canonicalize_dtype(x.dtype)
    if wanted == x.dtype:
        return x
    # JAX would drop the other 32 bits with no more than a warning.
    if x.dtype.kind == "f":
        raise BackendError(
            f"jax has no {x.dtype} unless it is enabled; pass x.astype('float32'), or set "
            "jax.config.update('jax_enable_x64', True) before"
        )
    if x.size and not (np.iinfo(wanted).min <= x.min() and x.max() <= np.iinfo(wanted).max):
        raise BackendError(f"jax has no {x.dtype} unless it is enabled, and {wanted} does not hold the values")
    return x.astype(wanted)


def _forms(values: Any) -> Any:
    """Return the structure of a tuple of arrays, with their shapes and types."""
    import jax

    leaves, structure = jax.tree.flatten(values)
    return structure, [(x.shape, jax.dtypes.canonicalize_dtype(x.dtype)) for x in leaves]


@functools.cache  # it is asked for each input
def _name(device: Device) -> str:
    return f"{device.platform}:{device.id}"
