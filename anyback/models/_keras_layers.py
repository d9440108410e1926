"""What each layer of Keras becomes: one row for each class that is known.

Keras keeps the channels of images last, anyback first. Images are turned once, at the first layer that needs it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from anyback import activations
from anyback.errors import DataError, OperatorError
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Reshape,
    Scale,
)
from anyback.models._keras_described import Described, Sizes, Value, is_size

__all__ = ["LAYERS"]


_MOST_PADDING = 1 << 20  # which a file says in a few characters
_MOST_AXES = 16  # whose product is no long number, and which every library has

# -- What each class becomes, and the shape of what it gives -------------------------------------------


def _activate(found: str | Described | None, value: Value) -> None:
    """Add the activation that a layer has, which may be a function or a layer."""
    if isinstance(found, Described):
        if found.kind not in _ACTIVATIONS:
            raise OperatorError(f"activation={found.kind!r} ({', '.join(_ACTIVATIONS)} are converted)")
        LAYERS[found.kind].make(found, value)
        return
    name = "linear" if found is None else found
    if name not in _FUNCTIONS:
        raise OperatorError(f"activation={ascii(name)[:60]} ({', '.join(_FUNCTIONS)} of Keras are converted)")
    if (function := _FUNCTIONS[name]) is not None:
        _apply(function, value)


def _apply(function: Any, value: Value) -> None:
    if getattr(function, "gives", "") == "distribution":
        value.as_keras()  # it goes along the last axis
    value.layers.append(function)


#: The layers that may be the activation of another.
_ACTIVATIONS = ("ELU", "LeakyReLU", "ReLU", "Softmax")

#: Keras' functions of activation by their names; None changes nothing.
_FUNCTIONS: dict[str, Any] = {
    "linear": None,
    "relu": activations.relu,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "softmax": activations.softmax,
    "log_softmax": activations.log_softmax,
    "elu": activations.elu,
    "gelu": activations.gelu,
    "silu": activations.silu,
    "swish": activations.silu,
    "softplus": activations.softplus,
    "leaky_relu": functools.partial(activations.leaky_relu, slope=0.2),
}


def _weights(layer: Described, shape: Sizes) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the kernel of a layer, which has this shape, and its bias or None; sizes that are None are any."""
    kernel, *bias = layer.weights(["kernel", *["bias"] * layer.flag("use_bias", True)])
    fits = kernel.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, kernel.shape, strict=True))
    if not fits:
        said = str(shape).replace("None", "size")
        raise DataError(f"{layer.path}: expected a kernel of shape {said}, found {kernel.shape}")
    return kernel, bias[0] if bias else None


def _dense(layer: Described, value: Value) -> None:
    if value.axes > 0:
        raise OperatorError(f"it gets shape {value.shape}, expected (n, features); put a Flatten before it")
    kernel, bias = _weights(layer, (value.shape[-1], *layer.sizes("units", 1)))
    if value.flattened is not None:  # as many as the kernel has rows
        order = np.moveaxis(np.arange(kernel.shape[0]).reshape(value.flattened), -1, 0).reshape(-1)
        kernel, value.flattened = kernel[order], None
    value.layers.append(Linear(kernel, bias))
    _activate(layer.activation, value)


def _after_dense(layer: Described, shape: Sizes) -> Sizes:
    return (*shape[:-1], *layer.sizes("units", 1))


def _conv(layer: Described, value: Value) -> None:
    layer.only(data_format="channels_last")
    size, step, apart = (layer.sizes(name, value.axes) for name in ("kernel_size", "strides", "dilation_rate"))
    (groups,) = layer.sizes("groups", 1)
    channels = value.shape[-1]
    each = channels if channels is None or channels % groups else channels // groups
    kernel, bias = _weights(layer, (*size, each, *layer.sizes("filters", 1)))
    padding = _padding(layer, value, size, step, apart)
    value.images()
    turned = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))  # (*window, in, out) before
    value.layers.append(Conv(turned, bias, step, padding, apart, groups))
    _activate(layer.activation, value)


def _after_conv(layer: Described, shape: Sizes) -> Sizes:
    axes = len(shape) - 2
    size, step, apart = (layer.sizes(name, axes) for name in ("kernel_size", "strides", "dilation_rate"))
    return (shape[0], *_windows(layer, shape, size, step, apart), *layer.sizes("filters", 1))


def _padding(layer: Described, value: Value, size: Sequence[int], step: Sequence[int], apart: Sequence[int]) -> Any:
    """Return what is added at the ends of each axis; of an odd number, as in TensorFlow, one more behind."""
    if not _is_same(layer):
        return 0
    found = []
    for axis, k, s, d in zip(value.shape[1:-1], size, step, apart, strict=True):
        if axis is None and s > 1:
            raise OperatorError("padding='same' with strides and images of any size (a fixed size is converted)")
        # As many windows as there are steps in the axis, rounded up. Of one step, whatever the axis is.
        whole = max(0, d * (k - 1) - (0 if axis is None else (axis - 1) % s))
        if whole > _MOST_PADDING:
            raise OperatorError(f"padding='same' of {whole:,} places (up to {_MOST_PADDING:,} are converted)")
        found.append((whole // 2, whole - whole // 2))
    return tuple(found)


def _is_same(layer: Described) -> bool:
    found = layer.option("padding", "valid")
    if found not in ("valid", "same"):
        raise OperatorError(f"padding={ascii(found)[:40]} ('valid' and 'same' are converted)")
    return bool(found == "same")


def _windows(layer: Described, shape: Sizes, *window: Sequence[int]) -> list[int | None]:
    """Return how many windows there are along each axis."""
    found: list[int | None] = []
    for axis, k, s, d in zip(shape[1:-1], *window, strict=True):
        whole = 0 if _is_same(layer) else d * (k - 1)
        if axis is not None and axis <= whole:
            raise DataError(f"{layer.path}: an axis of {axis} is shorter than the window")
        found.append(None if axis is None else (axis - whole - 1) // s + 1)
    return found


def _pooled(layer: Described, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the window of a pooling layer, and how far it moves."""
    size = layer.sizes("pool_size", axes, 2)
    return size, size if layer.option("strides", None) is None else layer.sizes("strides", axes)


def _window(layer: Described, value: Value) -> dict[str, Any]:
    """Return the window of a pooling layer as anyback's layers take it, and put the channels first."""
    layer.only(data_format="channels_last")
    size, step = _pooled(layer, value.axes)
    padding = _padding(layer, value, size, step, (1,) * len(size))
    value.images()
    return {"size": size, "stride": step, "padding": padding}


def _max_pool(layer: Described, value: Value) -> None:
    value.layers.append(MaxPool(**_window(layer, value)))


def _average_pool(layer: Described, value: Value) -> None:
    value.layers.append(AveragePool(**_window(layer, value), count_padding=False))


def _after_pool(layer: Described, shape: Sizes) -> Sizes:
    size, step = _pooled(layer, len(shape) - 2)
    return (shape[0], *_windows(layer, shape, size, step, (1,) * len(size)), shape[-1])


def _global_average_pool(layer: Described, value: Value) -> None:
    layer.only(data_format="channels_last")
    value.images()
    value.layers.append(GlobalAveragePool())
    if not layer.flag("keepdims", False):
        value.flat()


def _after_global_pool(layer: Described, shape: Sizes) -> Sizes:
    ones = (1,) * (len(shape) - 2) if layer.flag("keepdims", False) else ()
    return (shape[0], *ones, shape[-1])


def _batch_norm(layer: Described, value: Value) -> None:
    axis, last = layer.option("axis", -1), len(value.shape) - 1
    if axis not in (-1, last) and (not isinstance(axis, (list, tuple)) or list(axis) != [last]):
        raise OperatorError(f"axis={ascii(axis)[:40]} (the last is converted, -1)")
    names = [*["weight"] * layer.flag("scale", True), *["bias"] * layer.flag("center", True), "mean", "variance"]
    value.images()
    found = dict(zip(names, layer.weights(names), strict=True))
    value.layers.append(BatchNorm(**found, epsilon=layer.number("epsilon", 1e-3)))


def _flatten(layer: Described, value: Value) -> None:
    layer.only(data_format="channels_last")
    value.flatten()


def _after_flatten(layer: Described, shape: Sizes) -> Sizes:
    sizes = [size for size in shape[1:] if size is not None]
    return (shape[0], math.prod(sizes) if len(sizes) == len(shape) - 1 else None)


def _reshape(layer: Described, value: Value) -> None:
    shape = _after_reshape(layer, value.shape)
    value.as_keras()
    value.layers.append(Reshape(tuple(size for size in shape[1:] if size is not None)))


def _after_reshape(layer: Described, shape: Sizes) -> Sizes:
    target, sizes = layer.option("target_shape", None), [size for size in shape[1:] if size is not None]
    if not isinstance(target, (list, tuple)) or not all(size == -1 or is_size(size) for size in target):
        raise OperatorError(f"target_shape={ascii(target)[:60]} (whole numbers are converted)")
    if len(target) > _MOST_AXES:
        raise OperatorError(f"target_shape of {len(target):,} axes (up to {_MOST_AXES} are converted)")
    if len(sizes) < len(shape) - 1:
        raise OperatorError(f"target_shape={tuple(target)} of images of any size (a fixed size is converted)")
    whole, known = math.prod(sizes), math.prod(size for size in target if size != -1)
    if target.count(-1) > 1 or whole % known or (-1 not in target and whole != known):
        raise DataError(f"{layer.path}: {tuple(target)} does not hold as many numbers as {tuple(shape[1:])}")
    return (shape[0], *(whole // known if size == -1 else size for size in target))


def _activation(layer: Described, value: Value) -> None:
    _activate(layer.activation, value)


def _relu(layer: Described, value: Value) -> None:
    layer.only(max_value=None)
    if threshold := layer.number("threshold", 0.0):
        raise OperatorError(f"threshold={threshold!r} (0 is converted)")
    slope = layer.number("negative_slope", 0.0)
    value.layers.append(functools.partial(activations.leaky_relu, slope=slope) if slope else activations.relu)


def _leaky_relu(layer: Described, value: Value) -> None:
    slope = layer.number("negative_slope", layer.number("alpha", 0.3))  # as Keras 2 calls it
    value.layers.append(functools.partial(activations.leaky_relu, slope=slope))


def _elu(layer: Described, value: Value) -> None:
    value.layers.append(functools.partial(activations.elu, alpha=layer.number("alpha", 1.0)))


def _softmax(layer: Described, value: Value) -> None:
    if (axis := layer.option("axis", -1)) not in (-1, len(value.shape) - 1):
        raise OperatorError(f"axis={ascii(axis)[:40]} (the last is converted, -1)")
    _apply(activations.softmax, value)


def _rescaling(layer: Described, value: Value) -> None:
    layer.only(offset=0.0)
    value.layers.append(Scale(layer.number("scale", 1.0)))


def _dropout(layer: Described, value: Value) -> None:
    value.layers.append(Dropout(layer.number("rate", 0.0)))


def _unchanged(layer: Described, shape: Sizes) -> Sizes:
    return shape


class _Row(NamedTuple):
    """A class of Keras: what adds its layers to a value, the shape behind it, and the axes of images that it needs."""

    make: Callable[[Described, Value], None]
    after: Callable[[Described, Sizes], Sizes] = _unchanged
    axes: int | None = None


def _of_axes(name: str, make: Callable[..., None], after: Callable[..., Sizes] = _unchanged) -> dict[str, _Row]:
    """Return the rows of a class that is there for one to three axes."""
    return {f"{name}{axes}D": _Row(make, after, axes) for axes in (1, 2, 3)}


#: The classes that are converted, by name: those of the package keras alone.
LAYERS: MappingProxyType[str, _Row] = MappingProxyType(
    {
        **{name: _Row(_dropout) for name in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")},
        **_of_axes("SpatialDropout", _dropout),
        **_of_axes("Conv", _conv, _after_conv),
        **_of_axes("MaxPooling", _max_pool, _after_pool),
        **_of_axes("AveragePooling", _average_pool, _after_pool),
        **_of_axes("GlobalAveragePooling", _global_average_pool, _after_global_pool),
        "Activation": _Row(_activation),
        "BatchNormalization": _Row(_batch_norm),
        "Dense": _Row(_dense, _after_dense),
        "ELU": _Row(_elu),
        "Flatten": _Row(_flatten, _after_flatten),
        "LeakyReLU": _Row(_leaky_relu),
        "ReLU": _Row(_relu),
        "Rescaling": _Row(_rescaling),
        "Reshape": _Row(_reshape, _after_reshape),
        "Softmax": _Row(_softmax),
    }
)
