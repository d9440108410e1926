"""array-api-strict: NumPy with everything beyond the standard taken away, to check the code itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._blas import QUIET, one_blas_thread
from anyback.backends._ways import Kernel
from anyback.backends.base import Backend
from anyback.backends.numpy import without_underflow
from anyback.errors import BackendError

__all__ = ["Strict"]


@QUIET
def _quiet(compute: Callable[..., Array], *arguments: Array | None, **attributes: Any) -> Array:
    return compute(*arguments, **attributes)


#: What multiplies is the op's own function: NumPy below it may warn although no number is invalid.
_OWN = {name: Kernel(_quiet, around=True) for name in ("conv", "linear", "dense", "attention")}


class Strict(Backend):
    name: ClassVar[str] = "array_api_strict"
    package: ClassVar[str] = "array-api-strict"
    extra: ClassVar[str] = "strict"
    namespace: ClassVar[str] = "array_api_strict"
    own: ClassVar[Mapping[str, Kernel]] = _OWN
    same_devices: ClassVar[bool] = True

    @property
    def on_host(self) -> bool:
        return True

    def devices(self) -> tuple[str, ...]:
        # It prints "array_api_strict.Device('device1')".
        return tuple(_short(device) for device in self.xp.__array_namespace_info__().devices())

    def device_object(self) -> Device:
        if self.device not in self.devices():
            raise self.no_such_device()
        return self.xp.Device(self.device)

    def device_of(self, x: Array) -> str | None:
        return _short(x.device)

    def from_numpy(self, x: np.ndarray, device: Device) -> Array:
        try:
            return self.xp.asarray(x, device=device)
        except (TypeError, ValueError) as cause:  # float16, or float64 on a device that has none
            raise BackendError(f"{self} has no {x.dtype} arrays; pass x.astype('float32') ({cause})") from None

    def to_numpy(self, x: Array) -> np.ndarray:
        # Only its CPU device gives up its memory to NumPy, as a GPU would.
        return np.asarray(self.xp.asarray(x, device=self.xp.Device("CPU_DEVICE")))

    def precision(self, name: str) -> AbstractContextManager[Any]:
        return without_underflow()

    def one_thread(self) -> AbstractContextManager[Any]:
        return one_blas_thread()


def _short(device: Device) -> str:
    return str(device).partition("'")[2].rstrip("')")
