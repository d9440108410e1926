"""JAX: compiled by XLA for CPUs, GPUs and TPUs; arrays cannot be written to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends import _special
from anyback.backends.base import Backend
from anyback.errors import BackendError

if TYPE_CHECKING:
    from anyback.layers import Sequential

__all__ = ["JAX"]

_PRECISIONS = {"highest": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class JAX(Backend):
    name: ClassVar[str] = "jax"
    package: ClassVar[str] = "jax"
    extra: ClassVar[str] = "jax"
    namespace: ClassVar[str] = "jax.numpy"
    tile: ClassVar[int] = 512

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

        wanted = jax.dtypes.canonicalize_dtype(x.dtype)
        if wanted != x.dtype:  # JAX would drop the other 32 bits with no more than a warning
            if x.dtype.kind == "f":
                raise BackendError(
                    f"jax has no {x.dtype} unless it is enabled; pass x.astype('float32'), or set "
                    "jax.config.update('jax_enable_x64', True) before"
                )
            if x.size and not (np.iinfo(wanted).min <= x.min() and x.max() <= np.iinfo(wanted).max):
                raise BackendError(f"jax has no {x.dtype} unless it is enabled, and {wanted} does not hold the values")
            x = x.astype(wanted)
        return jax.device_put(x, device)

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

    def compile(self, net: Sequential) -> Callable[[Array], Array]:
        import jax

        # The weights are arguments: as constants they would be copied into every compiled program.
        arrays = net.arrays
        run = jax.jit(lambda arrays, x: net.with_arrays(arrays).forward(x))
        return lambda x: run(arrays, x)

    def wait(self, x: Array) -> None:
        x.block_until_ready()

    def tanh(self, x: Array) -> Array:
        # XLA's own is off by up to 4.3 units in the last place in float32 and 6.5 in float64 on a CPU.
        return _special.tanh(self.xp, x)

    def erfc(self, x: Array) -> Array:
        from jax.scipy.special import erfc

        return erfc(x)


def _name(device: Device) -> str:
    return f"{device.platform}:{device.id}"
