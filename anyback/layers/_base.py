"""What layers have in common: they are called like functions, and check their fields."""

from __future__ import annotations

from typing import Any, TypeAlias

from anyback import backends
from anyback._typing import Array
from anyback.backends import is_float
from anyback.errors import DataError, ShapeError
from anyback.network import Builder, Network
from anyback.plan import Shape

__all__ = ["LayerBase", "Padding", "Sizes", "check_array", "check_weight", "pads", "set_window", "sizes"]

#: A number for every axis, or one number for each.
Sizes: TypeAlias = int | tuple[int, ...]
#: How much is added around an axis: a number for both ends of every axis, one for each axis, or a pair for each axis.
Padding: TypeAlias = int | tuple[int, ...] | tuple[tuple[int, int], ...]


class LayerBase:
    """What makes a layer a function of arrays."""

    def calls(self, given: int, into: Builder) -> int:
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """Return the layer's output for one sample, or for a batch with one more axis in front."""
        # Of `calls`, whatever a subclass does when it is called: it may call this.
        into = Builder()
        into.where = type(self).__name__
        return Network(*into.fields([self.calls(0, into)]))(x)


def check_weight(weight: Array, wanted: str, *axes: int, name: str = "weight") -> None:
    if not is_float(weight):
        raise DataError(f"{name}: expected floating-point numbers, found {backends.dtype_name(weight.dtype)}")
    if weight.ndim not in axes:
        raise ShapeError(f"{name}: expected shape {wanted}, found {tuple(weight.shape)}")


def check_array(name: str, x: Array | None, wanted: Shape, *beside: Array) -> None:
    """Raise an error where an array is there that has another shape, or belongs to another library than one beside."""
    if x is None:
        return
    backends.array_namespace(x, *beside)
    if tuple(x.shape) != tuple(wanted):
        raise ShapeError(f"{name}: expected shape {tuple(wanted)}, found {tuple(x.shape)}")


def sizes(name: str, value: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """Return a number for each axis."""
    found = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(found) != axes or not all(isinstance(n, int) and n >= least for n in found):
        raise ShapeError(f"{name}: expected a whole number of at least {least}, or {axes} of them, found {value!r}")
    return found


def pads(value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return for each axis what is added in front and behind."""
    found = (value,) * axes if isinstance(value, int) else tuple(value)
    pairs = tuple((n, n) if isinstance(n, int) else tuple(n) for n in found)
    if len(pairs) != axes or not all(len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p) for p in pairs):
        raise ShapeError(f"padding: expected a whole number, {axes} of them, or {axes} pairs, found {value!r}")
    return pairs


def set_window(layer: Any) -> None:
    """Give a pooling layer one form of its size, stride and padding."""
    size = tuple(layer.size) if not isinstance(layer.size, int) else (layer.size,)
    object.__setattr__(layer, "size", sizes("size", size, len(size)))
    object.__setattr__(layer, "stride", sizes("stride", size if layer.stride is None else layer.stride, len(size)))
    object.__setattr__(layer, "padding", pads(layer.padding, len(size)))
    if any(2 * max(pads) > k for pads, k in zip(layer.padding, size, strict=True)):
        raise ShapeError(f"padding: expected at most half of the window {size}, found {layer.padding}")
