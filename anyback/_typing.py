"""Names for what flows through anyback; the array API standard gives no runtime types to import."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["Array", "DType", "Device", "Namespace"]

Array: TypeAlias = Any  # an array of any library that follows the standard
Namespace: TypeAlias = Any  # the module (xp) that holds that library's standard functions
Device: TypeAlias = Any  # whatever that library uses to name a device
DType: TypeAlias = Any  # whatever that library uses to name a data type
