"""From a sequential model of Keras to a network: the classes that are known are rows of a table.

Keras keeps the channels of images last, anyback first. Images are turned once, at the first layer that needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.errors import DataError, OperatorError
from anyback.network import Network
from anyback.sources._keras_layers import LAYERS, Value, kind
from anyback.sources._objects import Refused, check_object, placed

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
    leaves = [(path, layer) for path, layer in _leaves(model) if kind(layer) != "InputLayer"]
    for path, layer in leaves:
        if kind(layer) not in LAYERS:
            refused.add(path, layer)
    refused.check()
    value = Value(_input_shape(model))
    for i, (path, layer) in enumerate(leaves):
        value.flat_next = _meets_dense([later for _, later in leaves[i + 1 :]])
        try:
            LAYERS[kind(layer)](layer, value)
        except OperatorError as error:
            refused.add(path, layer, error)
        value.shape = tuple(layer.compute_output_shape(value.shape))
    refused.check()
    value.as_keras()
    return placed(value.layers, backend, dtype)


def _is_sequential(model: Any) -> bool:
    return kind(model) == "Sequential"


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


#: Classes that do not care about the order of features.
_PASSING = (
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Rescaling", "Dropout", "AlphaDropout"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise"),
)


def _meets_dense(layers: Sequence[Any]) -> bool:
    """Return whether the first of layers that cares about the order of features is a Dense."""
    return next((kind(layer) == "Dense" for layer in layers if kind(layer) not in _PASSING), False)
