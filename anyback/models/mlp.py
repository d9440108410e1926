"""From W1, b1, W2, b2, ... to a multilayer perceptron, or to everything that is wrong with them."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

from anyback import activations
from anyback.layers import Flatten, Linear, Sequential
from anyback.models._arrays import Activation, Arrays, name_faults, pixels_layers, refuse, type_fault
from anyback.models._layouts import as_perceptron
from anyback.network import checked_network
from anyback.numbers import dtype_name
from anyback.plan import Shape

__all__ = ["mlp", "mlp_shapes"]


def mlp(
    arrays: Arrays,
    *,
    hidden: Activation = "sigmoid",
    output: Activation = "softmax",
    pixels: float | None = None,
    shape: Shape | None = None,
) -> Sequential:
    """Return the multilayer perceptron that named weights make, on NumPy.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        ``W1, b1, W2, b2, ...``: each ``W`` of shape (in_features, out_features), each ``b`` (out_features,), all
        of one floating-point type. Or the linear layers of PyTorch (``0.weight``, (out_features, in_features)), Flax
        and Keras (``Dense_0.kernel``, ``layers/dense/vars/0``, ``arr_0``) under their names there.
    hidden, output : str or callable
        Activation between the layers, and after the last.
    pixels : float or None
        The largest pixel value, by which integer input is divided.
    shape : tuple of int or None
        Shape of one image, where images may come unflattened.

    Returns
    -------
    Sequential

    Raises
    ------
    WeightsError
        If arrays are missing, extra or do not fit each other or the shape of the images; all faults in one message.
    DataError
        If the network would end in a softmax of one output, which is always 1.

    Examples
    --------
    >>> import numpy as np
    >>> mlp({"W1": np.ones((3, 2)), "b1": np.zeros(2)}, output="identity")(np.ones(3))
    array([3., 3.])
    """
    between, last = activations.get(hidden), activations.get(output)
    arrays = as_perceptron(arrays)
    depth = sum(1 for name in arrays if name[:1] == "W")
    if faults := _faults(arrays, depth, shape):
        turned = {name: x.T if name[:1] == "W" else x for name, x in arrays.items()}
        if not _faults(turned, depth, shape):
            faults.append("each W fits transposed, as PyTorch keeps it: pass W.T")
    refuse(faults)
    layers: list[Any] = [] if shape is None else [Flatten(shape)]
    layers += pixels_layers(pixels, arrays["W1"].dtype)
    for i in range(1, depth + 1):
        layers += [Linear(arrays[f"W{i}"], arrays[f"b{i}"]), between]
    layers[-1] = last
    net = Sequential(*layers)
    checked_network(net)
    return net


def mlp_shapes(*widths: int) -> dict[str, Shape]:
    """Return the shapes of the arrays of a multilayer perceptron by name.

    Parameters
    ----------
    *widths : int
        Numbers of features: of the input, of each hidden layer, and of the output.

    Returns
    -------
    dict of str to tuple of int

    Examples
    --------
    >>> mlp_shapes(6, 4, 3)
    {'W1': (6, 4), 'b1': (4,), 'W2': (4, 3), 'b2': (3,)}
    """
    shapes: dict[str, Shape] = {}
    for number, (before, behind) in enumerate(itertools.pairwise(widths), start=1):
        shapes |= {f"W{number}": (before, behind), f"b{number}": (behind,)}
    return shapes


#: Names of arrays in other libraries' files: a pattern, whose they seem to be, and how they become W1, b1, ...
_FOREIGN = ((r"(coef|intercept)s?_.*", "scikit-learn", "each of coefs_ is a W, each of intercepts_ a b"),)


def _expected_names(extra: list[str]) -> str:
    """Return which names are expected, and whose the others seem to be and what to do where that is known."""
    for pattern, library, cure in _FOREIGN:
        if any(re.fullmatch(pattern, name) for name in extra):
            said = f"; these seem to be of {library}: {cure}, numbered in the order of the layers"
            break
    else:
        said = ""
    return f"W1, b1, W2, b2, ...{said}"


def _faults(arrays: Arrays, depth: int, shape: Shape | None) -> list[str]:
    """Return everything that keeps `arrays` from being `depth` layers for images of a shape, in words."""
    wanted = [f"{letter}{i}" for i in range(1, max(depth, 1) + 1) for letter in "Wb"]
    faults = name_faults(arrays, wanted, _expected_names)
    first = next((dtype_name(arrays[name].dtype) for name in wanted if name in arrays), "")
    width, given = (None, "") if shape is None else (math.prod(shape), f"one for each number of an image {shape}")
    for name in wanted:
        if name not in arrays:
            width, given = (None, "") if name[0] == "W" else (width, given)
            continue
        x = arrays[name]
        if fault := type_fault(arrays, name, first):
            faults.append(fault)
        if name[0] == "W":
            if x.ndim != 2:
                faults.append(f"{name}: expected shape (in_features, out_features), found {x.shape}")
            elif width not in (None, x.shape[0]):
                faults.append(f"{name}: expected {width} rows, {given}, found {x.shape[0]}")
            width, given = (x.shape[1] if x.ndim == 2 else None), "as the layer before gives"
        elif width is None:
            if x.ndim != 1:
                faults.append(f"{name}: expected shape (out_features,), found {x.shape}")
        elif x.shape != (width,):
            faults.append(f"{name}: expected shape ({width},), found {x.shape}")
    return faults
