"""CuPy: NVIDIA GPUs, with NumPy's interface."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np

from anyback._typing import Array, Device
from anyback.backends._settings import Setting
from anyback.backends._ways import Kernel
from anyback.backends.base import Backend, Unusable, first_line

__all__ = ["CuPy"]

#: What cupy._core.set_compute_type takes for float32: the operands of a product as they are, or rounded.
_COMPUTE_TYPES = {"highest": 1, "bf16": 6, "tf32": 7}


def _sigmoid(x: Array) -> Array:
    from cupyx.scipy.special import expit

    return expit(x)  # one kernel instead of seven


def _erfc(x: Array) -> Array:
    from cupyx.scipy.special import erfc

    return erfc(x)


class CuPy(Backend):
    name: ClassVar[str] = "cupy"
    package: ClassVar[str] = "cupy-cuda13x"
    extra: ClassVar[str] = "cupy13"
    namespace: ClassVar[str] = "array_api_compat.cupy"
    own: ClassVar[Mapping[str, Kernel]] = {"sigmoid": Kernel(_sigmoid), "erfc": Kernel(_erfc)}
    tile: ClassVar[int] = 2048

    def version(self) -> str:
        import importlib.metadata

        # One library under several names of distribution: one for each major version of CUDA.
        for package in (self.package, "cupy-cuda12x", "cupy"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                return importlib.metadata.version(package)
        raise Unusable(
            "cupy is not installed",
            "pip install 'anyback[cupy13]' for CUDA 13, or 'anyback[cupy12]' for CUDA 12; never both",
        )

    def probe(self) -> tuple[str, ...]:
        import cupy

        # CuPy imports without a GPU, and its getDeviceCount raises there. Ask the driver first, so that each
        # step that can be missing is told apart from the next.
        if not _driver_is_there():
            raise Unusable(
                "installed, but there is no NVIDIA driver",
                "install the NVIDIA driver (nvidia-smi then lists the GPU), or choose another backend",
            )
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise Unusable(
                f"the NVIDIA driver offers no device: {first_line(error)}",
                "check nvidia-smi, CUDA_VISIBLE_DEVICES, and that the driver is as new as the CUDA of this CuPy",
            ) from None
        if count == 0:
            raise Unusable("the NVIDIA driver lists no device", "check nvidia-smi and CUDA_VISIBLE_DEVICES")
        try:
            # A pool of its own: what the probe allocates goes back to the device with it.
            with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
                self.first_kernel()
        except Unusable:
            raise
        except Exception as error:
            raise Unusable(
                f"the device is there, but a first kernel fails: {first_line(error)}",
                "pip install 'cupy-cuda13x[ctk]' (or cupy-cuda12x[ctk]) brings the CUDA files that CuPy compiles with",
            ) from None
        return self.devices()

    def devices(self) -> tuple[str, ...]:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
        current = cupy.cuda.runtime.getDevice()
        return tuple(f"cuda:{i}" for i in sorted(range(count), key=lambda i: i != current))

    def device_object(self) -> Device:
        import cupy

        number = str(self.device).removeprefix("cuda").removeprefix(":") or "0"
        if f"cuda:{number}" not in self.devices():
            raise self.no_such_device()
        return cupy.cuda.Device(int(number))

    def asarray(self, x: Array) -> Array:
        import cupy

        # CuPy makes arrays, and moves them, to the current device.
        with contextlib.nullcontext() if self.device is None else self.device_object():
            return cupy.asarray(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        import cupy

        return cupy.asnumpy(x)

    def device_of(self, x: Array) -> str | None:
        return f"cuda:{x.device.id}"

    def offered(self) -> tuple[str, ...]:
        import cupy

        device = cupy.cuda.Device() if self.device is None else self.device_object()
        return tuple(_COMPUTE_TYPES) if int(device.compute_capability) >= 80 else ("highest",)  # Ampere and later

    @contextlib.contextmanager
    def precision(self, name: str) -> Iterator[None]:
        # Kernels run on the current device, whatever device their arrays are on.
        place = contextlib.nullcontext() if self.device is None else self.device_object()
        with place, _products.held(name):
            yield

    def contiguous(self, tile: Array) -> Array:
        import cupy

        return cupy.ascontiguousarray(tile)

    def wait(self, x: Array) -> None:
        with x.device:
            x.device.synchronize()


def _set_compute_type(name: str) -> Callable[[], object]:
    # The one way CuPy has: CUPY_TF32 is read once and would outlast the scope.
    import cupy

    before = cupy._core.get_compute_type(np.float32)
    cupy._core.set_compute_type(np.float32, _COMPUTE_TYPES[name])
    return lambda: cupy._core.set_compute_type(np.float32, before)


_products = Setting("cupy's precision", _set_compute_type)


def _driver_is_there() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
