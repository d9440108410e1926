"""What each layer of Keras becomes: one row for each class that is known."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import array_api_compat
import numpy as np

from anyback import activations
from anyback.errors import DataError, OperatorError
from anyback.layers import (
    AveragePool,
    BatchNorm,
    Conv,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Permute,
    Reshape,
    Scale,
)
from anyback.sources._objects import host_copy, only

__all__ = ["LAYERS", "Value", "kind"]


def kind(layer: Any) -> str:
    """Return the name of a layer's class; empty where the class is not Keras' own."""
    return type(layer).__name__ if type(layer).__module__.partition(".")[0] in ("keras", "tf_keras") else ""


class Value:
    """What comes out of the layers that were converted so far.

    Parameters
    ----------
    shape : tuple of (int or None)
        Its shape in Keras, the batch included.

    Attributes
    ----------
    layers : list
        The layers of anyback.
    order : numpy.ndarray or None
        Which of Keras' features each feature is, where images were flattened with their channels first.
    flat_next : bool
        Whether the next weights behind a layer are those of a Dense, which can take another order of features.
    """

    def __init__(self, shape: tuple[int | None, ...]) -> None:
        self.shape, self.layers = shape, list[Any]()
        self.order: np.ndarray | None = None
        self.flat_next = False
        self._turned = False  # whether the channels come first
        sizes = tuple(size for size in shape[1:] if size is not None)
        if self.axes > 0 and len(sizes) == self.axes + 1:
            self.layers.append(Reshape(sizes))  # says what one image looks like

    @property
    def axes(self) -> int:
        """How many axes lie between the batch and the channels."""
        return len(self.shape) - 2

    def images(self) -> None:
        """Put the channels first, where there are axes of images."""
        if self.axes > 0 and not self._turned:
            self.layers.append(Permute((self.axes + 1, *range(1, self.axes + 1))))
            self._turned = True

    def as_keras(self) -> None:
        """Put the channels last."""
        if self._turned:
            self.layers.append(Permute((*range(2, self.axes + 2), 1)))
            self._turned = False

    def flatten(self) -> None:
        """Fold each row into one axis, in Keras' order or in that of `order`."""
        sizes = [size for size in self.shape[1:] if size is not None]
        if self._turned and self.flat_next and len(sizes) == self.axes + 1:
            self.order = np.moveaxis(np.arange(math.prod(sizes)).reshape(sizes), -1, 0).reshape(-1)
            self._turned = False
        self.as_keras()
        self.layers.append(Flatten())

    def flat(self) -> None:
        """Fold the axes of images away, each of which has one place."""
        self.layers.append(Flatten())
        self._turned = False


# -- What each class becomes --------------------------------------------------------------------------


def _activate(found: Any, value: Value) -> None:
    """Add the activation that a layer has, which may be a function or a layer."""
    if kind(found) in LAYERS:
        LAYERS[kind(found)](found, value)
        return
    name = getattr(found, "__name__", type(found).__name__)
    if str(getattr(found, "__module__", "")).partition(".")[0] not in ("keras", "tf_keras") or name not in _FUNCTIONS:
        raise OperatorError(f"activation={name!r} ({', '.join(_FUNCTIONS)} of Keras are converted)")
    if (function := _FUNCTIONS[name]) is not None:
        _apply(function, value)


def _apply(function: Any, value: Value) -> None:
    if getattr(function, "gives", "") == "distribution":
        value.as_keras()  # it goes along the last axis
    value.layers.append(function)


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


def _weights(layer: Any, *names: str) -> dict[str, np.ndarray]:
    """Return the weights of a layer by these names, which are theirs in order."""
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        raise OperatorError("weights that are quantized or have LoRA")
    found = [_array_of(variable) for variable in layer.weights]
    if len(found) != len(names):
        raise DataError(f"{layer.name}: expected the weights {', '.join(names)}, found {len(found)}; build the model")
    return dict(zip(names, found, strict=True))


def _array_of(variable: Any) -> np.ndarray:
    """Return a variable of Keras as an array of NumPy."""
    value = getattr(variable, "value", None)  # of Keras 3: an array of the library behind it
    # Not its numpy(), which NumPy warns of in some releases, unless there is no other way.
    return host_copy(value if array_api_compat.is_array_api_obj(value) else variable.numpy())


def _dense(layer: Any, value: Value) -> None:
    if value.axes > 0:
        raise OperatorError(f"it gets shape {value.shape}, expected (n, features); put a Flatten before it")
    found = _weights(layer, "kernel", *["bias"] * layer.use_bias)
    kernel = found["kernel"] if value.order is None else found["kernel"][value.order]
    value.order = None
    value.layers.append(Linear(kernel, found.get("bias")))
    _activate(layer.activation, value)


def _conv(layer: Any, value: Value) -> None:
    only(layer, data_format="channels_last")
    found = _weights(layer, "kernel", *["bias"] * layer.use_bias)
    kernel = np.ascontiguousarray(np.moveaxis(found["kernel"], (-1, -2), (0, 1)))  # (*window, in, out) before
    step, apart = tuple(layer.strides), tuple(layer.dilation_rate)
    padding = _padding(layer, value, kernel.shape[2:], step, apart)
    value.images()
    value.layers.append(Conv(kernel, found.get("bias"), step, padding, apart, layer.groups))
    _activate(layer.activation, value)


def _padding(layer: Any, value: Value, size: Sequence[int], step: Sequence[int], apart: Sequence[int]) -> Any:
    """Return what is added at the ends of each axis; of an odd number, as in TensorFlow, one more behind."""
    if layer.padding == "valid":
        return 0
    if layer.padding != "same":
        raise OperatorError(f"padding={layer.padding!r} ('valid' and 'same' are converted)")
    found = []
    for axis, k, s, d in zip(value.shape[1:-1], size, step, apart, strict=True):
        if axis is None and s > 1:
            raise OperatorError("padding='same' with strides and images of any size (a fixed size is converted)")
        # As many windows as there are steps in the axis, rounded up. Of one step, whatever the axis is.
        whole = max(0, d * (k - 1) - (0 if axis is None else (axis - 1) % s))
        found.append((whole // 2, whole - whole // 2))
    return tuple(found)


def _window(layer: Any, value: Value) -> dict[str, Any]:
    """Return the window of a pooling layer, and put the channels first."""
    only(layer, data_format="channels_last")
    size, step = tuple(layer.pool_size), tuple(layer.strides)
    padding = _padding(layer, value, size, step, (1,) * len(size))
    value.images()
    return {"size": size, "stride": step, "padding": padding}


def _max_pool(layer: Any, value: Value) -> None:
    value.layers.append(MaxPool(**_window(layer, value)))


def _average_pool(layer: Any, value: Value) -> None:
    value.layers.append(AveragePool(**_window(layer, value), count_padding=False))


def _global_average_pool(layer: Any, value: Value) -> None:
    only(layer, data_format="channels_last")
    value.images()
    value.layers.append(GlobalAveragePool())
    if not layer.keepdims:
        value.flat()


def _batch_norm(layer: Any, value: Value) -> None:
    axis = layer.axis if isinstance(layer.axis, int) else tuple(layer.axis)
    if axis not in (-1, len(value.shape) - 1, (len(value.shape) - 1,)):
        raise OperatorError(f"axis={layer.axis!r} (the last is converted, -1)")
    names = [*["weight"] * layer.scale, *["bias"] * layer.center, "mean", "variance"]
    value.images()
    value.layers.append(BatchNorm(**_weights(layer, *names), epsilon=layer.epsilon))


def _flatten(layer: Any, value: Value) -> None:
    only(layer, data_format="channels_last")
    value.flatten()


def _reshape(layer: Any, value: Value) -> None:
    shape = tuple(layer.compute_output_shape(value.shape))[1:]
    if None in shape:
        raise OperatorError(f"target_shape={layer.target_shape} of images of any size (a fixed size is converted)")
    value.as_keras()
    value.layers.append(Reshape(shape))


def _activation(layer: Any, value: Value) -> None:
    _activate(layer.activation, value)


def _slope(layer: Any, old: str) -> float:
    """Return the slope below 0, which Keras 2 calls otherwise."""
    return float(getattr(layer, "negative_slope", getattr(layer, old, 0.0)) or 0.0)


def _relu(layer: Any, value: Value) -> None:
    only(layer, max_value=None)
    if layer.threshold:
        raise OperatorError(f"threshold={layer.threshold!r} (0 is converted)")
    slope = _slope(layer, "negative_slope")
    value.layers.append(functools.partial(activations.leaky_relu, slope=slope) if slope else activations.relu)


def _leaky_relu(layer: Any, value: Value) -> None:
    value.layers.append(functools.partial(activations.leaky_relu, slope=_slope(layer, "alpha")))


def _elu(layer: Any, value: Value) -> None:
    value.layers.append(functools.partial(activations.elu, alpha=float(layer.alpha)))


def _softmax(layer: Any, value: Value) -> None:
    if layer.axis not in (-1, len(value.shape) - 1):
        raise OperatorError(f"axis={layer.axis!r} (the last is converted, -1)")
    _apply(activations.softmax, value)


def _rescaling(layer: Any, value: Value) -> None:
    only(layer, offset=0.0)
    if not isinstance(layer.scale, (int, float)):
        raise OperatorError(f"scale={layer.scale!r} (a number is converted)")
    value.layers.append(Scale(float(layer.scale)))


def _dropout(layer: Any, value: Value) -> None:
    value.layers.append(Dropout(float(getattr(layer, "rate", 0.0))))


Make = Callable[[Any, Value], None]


def _of_axes(name: str, make: Make) -> dict[str, Make]:
    """Return the rows of a class that is there for one to three axes."""
    return {f"{name}{axes}D": make for axes in (1, 2, 3)}


#: The classes that are converted, by name: those of the package keras alone.
LAYERS: MappingProxyType[str, Make] = MappingProxyType(
    {
        **{name: _dropout for name in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")},
        **_of_axes("SpatialDropout", _dropout),
        **_of_axes("Conv", _conv),
        **_of_axes("MaxPooling", _max_pool),
        **_of_axes("AveragePooling", _average_pool),
        **_of_axes("GlobalAveragePooling", _global_average_pool),
        "Activation": _activation,
        "BatchNormalization": _batch_norm,
        "Dense": _dense,
        "ELU": _elu,
        "Flatten": _flatten,
        "LeakyReLU": _leaky_relu,
        "ReLU": _relu,
        "Rescaling": _rescaling,
        "Reshape": _reshape,
        "Softmax": _softmax,
    }
)
