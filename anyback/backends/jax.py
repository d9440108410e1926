"""JAX: compiled by XLA for CPUs, GPUs and TPUs; arrays cannot be written to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends import _special
from anyback.backends._jax_steps import STEP, Steps
from anyback.backends._scratch import aligned
from anyback.backends.base import Backend
from anyback.errors import BackendError
from anyback.numbers import dtype_name

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["JAX"]

# The names of algorithms, since "bfloat16" and "tensorfloat32" are mere wishes: on a GPU both are TF32.
_PRECISIONS = {"highest": "highest", "tf32": "TF32_TF32_F32", "bf16": "BF16_BF16_F32"}


@dataclass(frozen=True)
class JAX(Backend):
    name: ClassVar[str] = "jax"
    package: ClassVar[str] = "jax"
    extra: ClassVar[str] = "jax"
    namespace: ClassVar[str] = "jax.numpy"
    tile: ClassVar[int] = 8 * STEP
    tiles: ClassVar[int] = 4

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
            super().first_kernel()

    def unwatched(self, x: Array) -> AbstractContextManager[Any]:
        import jax

        return super().unwatched(x) if isinstance(x, jax.core.Tracer) else jax.ensure_compile_time_eval()

    def device_of(self, x: Array) -> str | None:
        import jax

        # A traced array has no device yet; an array may be spread over several.
        if isinstance(x, jax.core.Tracer) or len(x.devices()) != 1:
            return None
        return _name(next(iter(x.devices())))

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

    def sliceable(self, x: Array) -> Array:
        # JAX compiles each cut for each shape, 20 ms at a time.
        return np.asarray(x) if str(self.device_of(x)).startswith("cpu") else x

    def lent(self, x: np.ndarray) -> Array:
        # To hand over memory costs JAX 0.2 ms for each tile; a compiled program takes NumPy's as it lies, or copies it.
        return _known(x) if self._on_cpu() else self.asarray(x)

    def grain(self, net: Sequential, precision: str, dtype: str) -> int:
        return 1 if self._on_cpu() else self.tile  # the compiled program's own steps are all of one shape

    def compile(self, net: Sequential, precision: str) -> Callable[[Array, int], Array]:
        if self._on_cpu():
            return Steps(net, self.device_object(), self.tile)
        import jax

        # The weights are arguments: as constants they would be copied into every compiled program.
        run = jax.jit(lambda arrays, rows: net.with_arrays(arrays).forward(rows))
        return lambda tile, count: run(net.arrays, tile)

    def chosen(self, net: Sequential, precision: str) -> dict[str, str]:
        if not self._on_cpu():
            return {}
        shape, dtype = net.sample_shapes[0], np.dtype(dtype_name(net.dtype))
        size = Steps(net, self.device_object(), self.tile).size(shape, dtype)
        return {"the network": f"steps of {size} rows"}

    def trimmed(self, y: Array, count: int) -> Array:
        import jax

        if self._on_cpu() and not isinstance(y, jax.core.Tracer):
            y = np.asarray(y)  # waits for it, and is cut without being compiled
        return super().trimmed(y, count)

    def _on_cpu(self) -> bool:
        return str(self.device).startswith("cpu")

    def wait(self, x: Array) -> None:
        x.block_until_ready()

    def sigmoid(self, x: Array) -> Array:
        import jax

        return jax.nn.sigmoid(x)

    def tanh(self, x: Array) -> Array:
        # XLA's own is off by up to 4.3 units in the last place in float32 and 6.5 in float64 on a CPU.
        return _special.tanh(self.xp, x)

    def erfc(self, x: Array) -> Array:
        from jax.scipy.special import erfc

        return erfc(x)


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


def _name(device: Device) -> str:
    return f"{device.platform}:{device.id}"
