"""The resizing of an axis: the numbers of the old axis that make each new number, and their weights, on the host.

Each number of the new axis has a coordinate on the old one; its value is a sum over the numbers around, weighted by a
function of their distance. Formulas: the text of ONNX's Resize; cubic weights: Keys, "Cubic convolution interpolation
for digital image processing", 1981, equation (4).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from anyback.errors import DataError
from anyback.onnx._types import check_size

__all__ = ["Axis", "Rule", "Taps", "matrix", "taps"]


@dataclass(frozen=True)
class Rule:
    """How a Resize finds and weighs numbers; the fields are named as its attributes."""

    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis that is resized: old and new size, the scale as it was given, and the part that is cut out."""

    old: int
    new: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)
    exact: bool = False  # whether the scale is new / old

    @property
    def same(self) -> bool:
        """Whether nothing changes."""
        return self.old == self.new and math.isclose(self.scale, 1.0) and self.roi == (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Taps:
    """The numbers of the old axis that make each of the new, their weights, and which lie outside of the part cut out.

    Parameters
    ----------
    places : array of int
        Shape (new, taps).
    weights : array of float64
        Shape (new, taps).
    outside : array of bool or None
        Shape (new,): where the value for what lies outside stands. None is nowhere.
    """

    places: np.ndarray
    weights: np.ndarray
    outside: np.ndarray | None


def _coordinates(axis: Axis, mode: str) -> np.ndarray:
    """Return the coordinate on the old axis of each number of the new one."""
    x = np.arange(axis.new, dtype=np.float64)
    # Of the new axis, before it was cut off to a whole number.
    width = float(axis.new) if axis.exact else axis.scale * axis.old

    def apart(x: np.ndarray) -> np.ndarray:
        # A quotient of whole numbers has no rounding where it is whole, as 1 / scale has.
        return x * axis.old / axis.new if axis.exact else x / axis.scale

    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and axis.new > 1):
        return apart(x + 0.5) - 0.5
    if mode == "pytorch_half_pixel":
        return np.zeros_like(x)
    if mode == "half_pixel_symmetric":
        return axis.old / 2 * (1 - axis.new / width) + apart(x + 0.5) - 0.5
    if mode == "align_corners":
        return np.zeros_like(x) if width == 1 else x * (axis.old - 1) / (width - 1)
    if mode == "asymmetric":
        return apart(x)
    if mode == "tf_half_pixel_for_nn":
        return apart(x + 0.5)
    if mode == "tf_crop_and_resize":
        start, end = axis.roi
        if axis.new == 1:
            return np.full_like(x, 0.5 * (start + end) * (axis.old - 1))
        return start * (axis.old - 1) + x * (end - start) * (axis.old - 1) / (axis.new - 1)
    raise DataError(f"Resize has coordinate_transformation_mode {mode[:40]!r}, which is not known")


_NEAREST: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _tent(distance: np.ndarray, a: float) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


#: The weight of a number by its distance, and how far numbers have one.
_WEIGHTS = {"linear": (_tent, 1), "cubic": (_cubic, 2)}


@functools.lru_cache(maxsize=32)
def taps(axis: Axis, rule: Rule) -> Taps:
    """Return which numbers of the old axis make each of the new."""
    x = _coordinates(axis, rule.coordinate_transformation_mode)
    outside = None
    if rule.coordinate_transformation_mode == "tf_crop_and_resize":
        close = x.astype(np.float32)  # as the ends of the part come
        outside = (close < 0) | (close > axis.old - 1)
        outside = outside if outside.any() else None
    if rule.mode == "nearest":
        if rule.nearest_mode not in _NEAREST or rule.antialias:
            raise DataError(f"Resize has nearest_mode {rule.nearest_mode[:40]!r}, antialias {rule.antialias}")
        # Scales come as float32: what is whole but for their rounding was meant to be whole.
        places = _NEAREST[rule.nearest_mode](x.astype(np.float32))[:, None].astype(np.int64)
        return Taps(np.clip(places, 0, axis.old - 1), np.ones(places.shape), outside)
    if rule.mode not in _WEIGHTS:
        raise DataError(f"Resize has mode {rule.mode[:40]!r}; known: nearest, linear, cubic")
    weight, reach = _WEIGHTS[rule.mode]
    scale = min(axis.scale, 1.0) if rule.antialias else 1.0
    around = math.ceil(reach / scale)
    check_size((axis.new, 2 * around), "Resize")
    places = np.floor(x)[:, None].astype(np.int64) + np.arange(1 - around, 1 + around)
    weights = weight(np.abs(places - x[:, None]) * scale, rule.cubic_coeff_a)
    beyond = (places < 0) | (places >= axis.old)
    if rule.exclude_outside:
        weights = np.where(beyond, 0, weights)
    if rule.exclude_outside or rule.antialias:
        total = weights.sum(axis=1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return Taps(np.clip(places, 0, axis.old - 1), weights, outside)


@functools.lru_cache(maxsize=32)
def matrix(axis: Axis, rule: Rule) -> np.ndarray:
    """Return the weights as a matrix (new, old)."""
    found = taps(axis, rule)
    whole = np.zeros((axis.new, axis.old))
    np.add.at(whole, (np.arange(axis.new)[:, None], found.places), found.weights)
    return whole
