"""The two convolution networks of the book, from their named arrays.

References
----------
Koki Saitoh, *Deep Learning from Scratch*, O'Reilly Japan, 2016: chapters 7 (``simple_convnet.py``) and 8
(``deep_convnet.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from anyback import layers
from anyback.models._arrays import Arrays, name_faults, pixels_layers, refuse, type_fault
from anyback.numbers import dtype_name
from anyback.plan import Shape

__all__ = ["DEEP", "SIMPLE", "deep_convnet", "simple_convnet"]


def _with_biases(*weights: Shape) -> Mapping[str, Shape]:
    """Return the shapes of W1, b1, W2, b2, ...: of filters (out, in, height, width) and of linear layers (in, out)."""
    shapes: dict[str, Shape] = {}
    for number, shape in enumerate(weights, start=1):
        shapes |= {f"W{number}": shape, f"b{number}": (shape[0] if len(shape) == 4 else shape[1],)}
    return MappingProxyType(shapes)


#: The shapes of the arrays of each network by name.
SIMPLE = _with_biases((30, 1, 5, 5), (4320, 100), (100, 10))
DEEP = _with_biases(
    (16, 1, 3, 3),
    (16, 16, 3, 3),
    (32, 16, 3, 3),
    (32, 32, 3, 3),
    (64, 32, 3, 3),
    (64, 64, 3, 3),
    (1024, 50),
    (50, 10),
)

#: One image, as the first convolution takes it.
_IMAGE = (1, 28, 28)


def simple_convnet(arrays: Arrays, *, pixels: float | None = None) -> layers.Sequential:
    """Return the network of chapter 7, on NumPy: one convolution with pooling, and two linear layers.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        ``W1, b1, W2, b2, W3, b3`` of the shapes of `SIMPLE`, all of one floating-point type.
    pixels : float or None
        The largest pixel value, by which integer input is divided.

    Returns
    -------
    Sequential
        Takes images of shape (n, 1, 28, 28), (n, 28, 28) or (n, 784), and gives probabilities (n, 10).

    Raises
    ------
    WeightsError
        If arrays are missing, extra or of another shape or type; all faults in one message.

    Examples
    --------
    >>> import numpy as np
    >>> net = simple_convnet({name: np.zeros(shape) for name, shape in SIMPLE.items()})
    >>> net(np.zeros((5, 28, 28))).shape
    (5, 10)
    """
    _check(arrays, SIMPLE)
    return layers.Sequential(
        layers.Reshape(_IMAGE),
        *pixels_layers(pixels, arrays["W1"].dtype),
        *(layers.Conv(arrays["W1"], arrays["b1"]), "relu", layers.MaxPool((2, 2))),
        *(layers.Flatten(), layers.Linear(arrays["W2"], arrays["b2"]), "relu"),
        *(layers.Linear(arrays["W3"], arrays["b3"]), "softmax"),
    )


def deep_convnet(arrays: Arrays, *, pixels: float | None = None) -> layers.Sequential:
    """Return the network of chapter 8, on NumPy: three times two convolutions with pooling, and two linear layers.

    The book's dropout does not divide by what is kept in training, so that it multiplies by 0.5 here.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        ``W1, b1, ..., W8, b8`` of the shapes of `DEEP`, all of one floating-point type.
    pixels : float or None
        The largest pixel value, by which integer input is divided.

    Returns
    -------
    Sequential
        Takes images of shape (n, 1, 28, 28), (n, 28, 28) or (n, 784), and gives probabilities (n, 10).

    Raises
    ------
    WeightsError
        If arrays are missing, extra or of another shape or type; all faults in one message.

    Examples
    --------
    >>> import numpy as np
    >>> net = deep_convnet({name: np.zeros(shape) for name, shape in DEEP.items()})
    >>> net(np.zeros((5, 28, 28))).shape
    (5, 10)
    """
    _check(arrays, DEEP)

    def conv(number: int, padding: int = 1) -> tuple[Any, str]:
        return layers.Conv(arrays[f"W{number}"], arrays[f"b{number}"], padding=padding), "relu"

    pool = layers.MaxPool((2, 2))
    return layers.Sequential(
        layers.Reshape(_IMAGE),
        *pixels_layers(pixels, arrays["W1"].dtype),
        *(*conv(1), *conv(2), pool),
        *(*conv(3), *conv(4, padding=2), pool),
        *(*conv(5), *conv(6), pool),
        *(layers.Flatten(), layers.Linear(arrays["W7"], arrays["b7"]), "relu", layers.Scale(0.5)),
        *(layers.Linear(arrays["W8"], arrays["b8"]), layers.Scale(0.5), "softmax"),
    )


def _check(arrays: Arrays, shapes: Mapping[str, Shape]) -> None:
    """Raise `WeightsError` where arrays are not of these names and shapes and of one floating-point type."""
    faults = name_faults(arrays, list(shapes), lambda extra: ", ".join(shapes))
    present = [name for name in shapes if name in arrays]
    for name in present:
        if fault := type_fault(arrays, name, dtype_name(arrays[present[0]].dtype)):
            faults.append(fault)
        if arrays[name].shape != shapes[name]:
            faults.append(f"{name}: expected shape {shapes[name]}, found {arrays[name].shape}")
    refuse(faults)
