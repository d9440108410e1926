"""The types of numbers that a device has."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

__all__ = ["numpy_type", "widest_float"]


def numpy_type(dtype: str) -> Any:
    """Return NumPy's type of a name; float32 for those that it lacks."""
    return np.dtype(dtype) if hasattr(np, dtype) else np.float32


@functools.cache
def widest_float(backend: Any, device: str | None) -> str:
    # By a trial on the device, not by the library's name: Apple's GPUs have no float64, and JAX only where enabled.
    place = None if device is None else dataclasses.replace(backend, device=device).device_object()
    found = backend.xp.__array_namespace_info__().dtypes(device=place, kind="real floating")
    return "float64" if "float64" in found else "float32"
