"""From a live sequential model of Keras to a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.errors import DataError, OperatorError
from anyback.models._keras import converted
from anyback.models._keras_described import Described
from anyback.models._keras_layers import LAYERS
from anyback.network import Network
from anyback.sources._objects import Refused, check_object, host_copy, placed

__all__ = ["from_keras"]


def from_keras(model: Any, *, backend: BackendLike | None = None, dtype: str | DType | None = None) -> Network:
    """Return the network that a sequential model of Keras is.

    Parameters
    ----------
    model : keras.Sequential
        Of layers whose classes are in `LAYERS`, and of such models.
    backend : str, Backend or None
        Where the weights go; None is the current choice. They are copied.
    dtype : str, data type or None
        A floating-point type for the weights; None keeps theirs.

    Returns
    -------
    Network
        A `Sequential`. It takes what the model takes, images with their channels last, and gives what it gives.

    Raises
    ------
    OperatorError
        If layers of other classes are inside, or options that anyback does not have: all of them are named.
    DataError
        If it is no model of Keras, or has no weights yet.
    BackendError
        If the backend cannot be used.

    Examples
    --------
    >>> import keras, numpy as np
    >>> layers = [keras.Input((28, 28, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(10)]
    >>> net = from_keras(keras.Sequential(layers), backend="numpy")
    >>> net(np.zeros((5, 28, 28, 1), dtype="float32")).shape
    (5, 10)
    """
    check_object(model, "keras", "tf_keras")
    if not hasattr(model, "layers"):
        raise DataError(
            f"from_keras: expected a keras.Sequential, found the layer {type(model).__name__}; put it into one, "
            "keras.Sequential([keras.Input(shape), layer])"
        )
    refused = Refused("keras")
    if not _is_sequential(model):
        refused.add("", model, "a model that is no Sequential")
        refused.check()
    leaves = [(path, layer) for path, layer in _leaves(model) if _kind(layer) != "InputLayer"]
    for path, layer in leaves:
        if _kind(layer) not in LAYERS:
            refused.add(path, layer)
    refused.check()
    shape, live = _input_shape(model), dict(leaves)
    described = [_described(path, layer) for path, layer in leaves]
    layers = converted(described, shape, lambda found, why: refused.add(found.path, live[found.path], why))
    refused.check()
    return placed(layers, backend, dtype)


def _kind(layer: Any) -> str:
    """Return the name of a layer's class; empty where the class is not Keras' own."""
    return type(layer).__name__ if type(layer).__module__.partition(".")[0] in _PACKAGES else ""


_PACKAGES = ("keras", "tf_keras")


def _described(path: str, layer: Any) -> Described:
    def option(name: str, default: Any) -> Any:
        return getattr(layer, name, default)

    def weights(names: Sequence[str]) -> list[np.ndarray]:
        if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
            raise OperatorError("weights that are quantized or have LoRA")
        found = [_array_of(variable) for variable in layer.weights]
        if len(found) != len(names):
            raise DataError(f"{path}: expected the weights {', '.join(names)}, found {len(found)}; build the model")
        return found

    return Described(_kind(layer), path, option, weights, _activation(getattr(layer, "activation", None)))


def _activation(found: Any) -> str | Described | None:
    """Return an activation by its name in Keras, as a layer, or as a text that is none of these."""
    if found is None:
        return None
    if _kind(found):
        return _described("activation", found)
    name = getattr(found, "__name__", type(found).__name__)
    module = str(getattr(found, "__module__", ""))
    return name if module.partition(".")[0] in _PACKAGES or not name.isidentifier() else f"{module}.{name}"


def _array_of(variable: Any) -> np.ndarray:
    """Return a variable of Keras as an array of NumPy."""
    value = getattr(variable, "value", None)  # of Keras 3: an array of the library behind it
    # Not its numpy(), which NumPy warns of in some releases, unless there is no other way.
    return host_copy(value if array_api_compat.is_array_api_obj(value) else variable.numpy())


def _is_sequential(model: Any) -> bool:
    return _kind(model) == "Sequential"


def _leaves(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of a model in their order, each behind its path."""
    for layer in model.layers:
        name = f"{path}.{layer.name}" if path else layer.name
        if _is_sequential(layer):
            yield from _leaves(layer, name)
        else:
            yield name, layer


def _input_shape(model: Any) -> tuple[int | None, ...]:
    """Return the shape that a model takes, the batch included, or raise `DataError` where it is not built."""
    try:
        return tuple(model.input_shape)
    except (AttributeError, ValueError, TypeError):
        raise DataError(
            "the model has no weights yet, since the shape of its input is not known; call "
            "model.build((None, *shape)) and train it or load its weights"
        ) from None
