"""What layers have in common: they are called like functions, and check their fields."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, TypeAlias

from anyback import backends
from anyback._typing import Array
from anyback.backends import is_float
from anyback.errors import DataError, ShapeError
from anyback.network import Builder, Network
from anyback.plan import Shape

__all__ = [
    "LayerBase",
    "Padding",
    "Sizes",
    "check_array",
    "check_weight",
    "pads",
    "sample_shape",
    "set_window",
    "sizes",
]

#: One number for all axes, or a number for each axis.
Sizes: TypeAlias = int | tuple[int, ...]
#: The padding of axes: one number for both ends of all axes, or a number or a pair (before, behind) for each axis.
Padding: TypeAlias = int | tuple[int, ...] | tuple[tuple[int, int], ...]


class LayerBase:
    """A layer that is called like a function: a class with `calls` that inherits from it computes by those calls."""

    def calls(self, given: int, into: Builder) -> int:
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """Return the layer's output for one sample, or for a batch with one more axis in front."""
        # By `calls`, not by `Sequential`: a subclass may override `__call__` and call this one, which must not call it.
        into = Builder()
        into.where = type(self).__name__
        return Network(*into.fields([self.calls(0, into)]))(x)


def check_weight(weight: Array, wanted: str, *axes: int, name: str = "weight") -> None:
    if not is_float(weight):
        raise DataError(f"{name}: expected floating-point numbers, found {backends.dtype_name(weight.dtype)}")
    if weight.ndim not in axes:
        raise ShapeError(f"{name}: expected shape {wanted}, found {tuple(weight.shape)}")


def check_array(name: str, x: Array | None, wanted: Shape, *beside: Array) -> None:
    """Raise an error where an array has another shape than wanted, or is of another library; None is accepted."""
    if x is None:
        return
    backends.array_namespace(x, *beside)
    if tuple(x.shape) != tuple(wanted):
        raise ShapeError(f"{name}: expected shape {tuple(wanted)}, found {tuple(x.shape)}")


def _each(value: Any, axes: int) -> tuple[Any, ...] | None:
    """Return a tuple of a value for each axis, of one number for all or of one value each; None where it is neither."""
    try:
        return (operator.index(value),) * axes
    except TypeError:
        found = tuple(value) if isinstance(value, Iterable) else ()
    return found if len(found) == axes else None


def _whole(value: Any, least: int) -> int | None:
    """Return a value as an int where it is a whole number of at least `least`; else None."""
    try:
        return found if (found := operator.index(value)) >= least else None
    except TypeError:
        return None


def sizes(name: str, value: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """Return a whole number of at least `least` for each axis, or raise `ShapeError`."""
    found = [_whole(n, least) for n in _each(value, axes) or (None,)]
    numbers = tuple(n for n in found if n is not None)
    if len(numbers) != axes:
        raise ShapeError(f"{name}: expected a whole number of at least {least}, or {axes} of them, found {value!r}")
    return numbers


def pads(value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return for each axis how many places are added in front and behind, or raise `ShapeError`."""
    try:
        before_behind = [sizes("padding", pair, 2, least=0) for pair in _each(value, axes) or (None,)]
    except ShapeError:
        before_behind = []
    if len(before_behind) != axes:
        raise ShapeError(f"padding: expected a whole number, {axes} of them, or {axes} pairs, found {value!r}")
    return tuple((before, behind) for before, behind in before_behind)


def sample_shape(value: Any) -> tuple[int, ...]:
    """Return a shape as a tuple: one number, or one for each axis."""
    axes = len(tuple(value)) if isinstance(value, Iterable) else 1
    return sizes("shape", value, axes)


def set_window(layer: Any) -> None:
    """Set the size, stride and padding of a pooling layer to tuples with an entry for each axis."""
    size = sizes("size", layer.size, len(tuple(layer.size)) if isinstance(layer.size, Iterable) else 1)
    object.__setattr__(layer, "size", size)
    object.__setattr__(layer, "stride", sizes("stride", size if layer.stride is None else layer.stride, len(size)))
    object.__setattr__(layer, "padding", pads(layer.padding, len(size)))
    if any(2 * max(pads) > k for pads, k in zip(layer.padding, size, strict=True)):
        raise ShapeError(f"padding: expected at most half of the window {size}, found {layer.padding}")
