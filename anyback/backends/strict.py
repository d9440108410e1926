"""array-api-strict: NumPy with everything beyond the standard taken away, to check the code itself."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._blas import one_blas_thread
from anyback.backends.base import Backend
from anyback.errors import BackendError

__all__ = ["Strict"]


class Strict(Backend):
    name: ClassVar[str] = "array_api_strict"
    package: ClassVar[str] = "array-api-strict"
    extra: ClassVar[str] = "strict"
    namespace: ClassVar[str] = "array_api_strict"
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
        # The products of NumPy below it may set the flag although no number of theirs is invalid; see `QUIET`.
        return np.errstate(under="ignore", invalid="ignore")

    def one_thread(self) -> AbstractContextManager[Any]:
        return one_blas_thread()


def _short(device: Device) -> str:
    return str(device).partition("'")[2].rstrip("')")
