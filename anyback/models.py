"""From weights to a network: the named networks, and any multilayer perceptron in a file."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from anyback import activations, backends, weights
from anyback._typing import Array, DType
from anyback.backends import Backend
from anyback.datasets import _download
from anyback.errors import DataError, WeightsError
from anyback.layers import Flatten, Linear, Pixels, Sequential
from anyback.network import checked_network
from anyback.numbers import FLOATS, dtype_name

__all__ = ["NETWORKS", "Network", "load_model", "mlp"]

Activation = str | Callable[[Array], Array]


@dataclass(frozen=True)
class Network:
    """A network that has a name: where its weights are, and what its images look like.

    Parameters
    ----------
    path : callable
        Returns the path of the weights file, downloading it if it must.
    shape : tuple of int
        Shape of one image.
    pixels : float
        The largest pixel value.
    data : str
        Name of the data set that the network was made for.
    widths : tuple of int
        Numbers of features: of the input, of each hidden layer, and of the output.
    """

    path: Callable[[], Path]
    shape: tuple[int, int]
    pixels: float
    data: str
    widths: tuple[int, ...]

    def sketch(self) -> Sequential:
        """Return a network of these shapes with weights of no meaning, for what depends on shapes alone."""
        rng = np.random.default_rng(0)
        arrays: dict[str, np.ndarray] = {}
        for number, shape in enumerate(itertools.pairwise(self.widths), start=1):
            arrays[f"W{number}"] = rng.standard_normal(shape).astype(np.float32)
            arrays[f"b{number}"] = np.zeros(shape[1], np.float32)
        return mlp(arrays)


#: The networks by name.
NETWORKS: MappingProxyType[str, Network] = MappingProxyType(
    {
        "digits-mlp": Network(
            path=lambda: Path(weights.__file__).with_name("digits-mlp.safetensors"),
            shape=(8, 8),
            pixels=16,
            data="digits",
            widths=(64, 50, 100, 10),
        ),
        "mnist-mlp": Network(
            path=lambda: _download.fetch("sample_weight.pkl"),
            shape=(28, 28),
            pixels=255,
            data="mnist",
            widths=(784, 50, 100, 10),
        ),
    }
)


def load_model(
    source: str | os.PathLike[str],
    hidden: Activation = "sigmoid",
    output: Activation = "softmax",
    pixels: float | None = None,
    backend: str | Backend | None = None,
    dtype: str | DType | None = None,
) -> Sequential:
    """Return a trained network, by name or from a weights file.

    Parameters
    ----------
    source : str or path-like
        A name (``"digits-mlp"``, ``"mnist-mlp"``), or the path of a ``.pkl``, ``.npz`` or ``.safetensors`` file
        with the arrays ``W1, b1, W2, b2, ...``, each ``W`` of shape (in_features, out_features).
    hidden : str or callable
        Activation between the layers.
    output : str or callable
        Activation of the last layer: ``"identity"`` for regression, ``"sigmoid"`` for two classes,
        ``"softmax"`` for many.
    pixels : float or None
        The largest pixel value: integer input is divided by it. None is the network's own for a name, and
        leaves input as it is for a file.
    backend : str, Backend or None
        Where the weights go; None is the current choice.
    dtype : str, data type or None
        A floating-point type for the weights, such as ``"float64"`` or ``numpy.float64``, whatever numbers the file
        holds; None keeps the one floating-point type of the file.

    Returns
    -------
    Sequential

    Raises
    ------
    WeightsError
        If there is no such network or file, or the file does not hold a network.
    DataError
        If a download fails, or the network would end in a softmax of one output.
    BackendError
        If the backend cannot be used.

    Examples
    --------
    >>> net = load_model("digits-mlp", backend="numpy")
    >>> print(net)
    Sequential on numpy:cpu, float32
    layer    input  output  parameters  multiply-adds
    flatten    8×8      64
    pixels      64      64
    linear      64      50       3,250          3,200
    sigmoid     50      50
    linear      50     100       5,100          5,000
    sigmoid    100     100
    linear     100      10       1,010          1,000
    softmax     10      10
    total                        9,360          9,200
    """
    place = backends.resolve(backend)
    if not isinstance(source, (str, os.PathLike)):
        raise WeightsError(f"expected a network's name or a path, found {type(source).__name__}")
    chosen = None if dtype is None else _float_name(dtype)
    # A path is a name where it is not a file; a string that is a name is never a file.
    named = NETWORKS.get(str(source)) if isinstance(source, str) or not os.path.lexists(source) else None
    if named is None and not os.path.lexists(source) and Path(source).suffix.lower() not in weights.FORMATS:
        raise WeightsError(f"no network and no file {str(source)[:80]!r}; known networks: {', '.join(NETWORKS)}")
    arrays = weights.read_weights(named.path() if named else source)
    if pixels is None and named:
        pixels = named.pixels
    types = {dtype_name(x.dtype) for x in arrays.values()}
    if chosen and (len(types) > 1 or not types <= set(FLOATS)):  # all to the widest first, which keeps every weight
        arrays = {name: x.astype(np.float64) if _is_number(x) else x for name, x in arrays.items()}
    net = mlp(arrays, hidden, output, pixels=pixels, shape=named.shape if named else None)
    return net.to(place, dtype=chosen)


def _float_name(dtype: Any) -> str:
    """Return the name of a floating-point type of any library, or raise `DataError` where it is none."""
    try:
        # The types of NumPy's and JAX's scalars, and float, are classes; other libraries' are values.
        name = dtype if isinstance(dtype, str) else dtype_name(np.dtype(dtype) if isinstance(dtype, type) else dtype)
    except TypeError:
        name = str(dtype)
    if name not in FLOATS:
        raise DataError(f"unknown dtype {str(dtype)[:40]!r} for a network; known: {', '.join(FLOATS)}")
    return name


def _is_number(x: np.ndarray) -> bool:
    return x.dtype.kind in "iu" or dtype_name(x.dtype) in FLOATS


def mlp(
    arrays: Mapping[str, np.ndarray],
    hidden: Activation = "sigmoid",
    output: Activation = "softmax",
    *,
    pixels: float | None = None,
    shape: tuple[int, ...] | None = None,
) -> Sequential:
    """Return the multilayer perceptron that named weights make, on NumPy.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        ``W1, b1, W2, b2, ...``: each ``W`` of shape (in_features, out_features), each ``b`` (out_features,), all
        of one floating-point type.
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
        If arrays are missing, extra or do not fit each other; all faults in one message.
    DataError
        If the network would end in a softmax of one output, which is always 1.

    Examples
    --------
    >>> import numpy as np
    >>> mlp({"W1": np.ones((3, 2)), "b1": np.zeros(2)}, output="identity")(np.ones(3))
    array([3., 3.])
    """
    between, last = activations.get(hidden), activations.get(output)
    depth = sum(1 for name in arrays if name[:1] == "W")
    if faults := _faults(arrays, depth):
        turned = {name: x.T if name[:1] == "W" else x for name, x in arrays.items()}
        if not _faults(turned, depth):
            faults.append("each W fits transposed, as PyTorch keeps it: pass W.T")
        raise WeightsError(f"the weights do not make a network: {'; '.join(faults)}")
    dtype = arrays["W1"].dtype
    layers: list[Any] = [] if shape is None else [Flatten(shape)]
    if pixels is not None:
        if not _is_positive(pixels):
            raise WeightsError(f"pixels: expected the largest pixel value, such as 255, found {str(pixels)[:40]}")
        layers.append(Pixels(np.asarray(pixels, dtype=dtype)))
    for i in range(1, depth + 1):
        layers += [Linear(arrays[f"W{i}"], arrays[f"b{i}"]), between]
    layers[-1] = last
    net = Sequential(*layers)
    checked_network(net)
    return net


#: What to do about numbers of other types.
_CAST = " (load_model(dtype=...) casts)"

_KERNEL = "each kernel is a W, each bias a b"
#: Names of arrays in other libraries' files: a pattern, whose they seem to be, and how they become W1, b1, ...
_LAYOUTS = (
    (r"(.*\.)?(weight|bias)", "PyTorch", "each weight, transposed, is a W, each bias a b"),
    (r"arr_[0-9]+", "np.savez without names, as of Keras' get_weights()", "name them W1, b1, W2, b2, ... in turn"),
    (r"(.*/)?vars/[01]", "Keras", "each vars/0 is a W, each vars/1 a b"),
    (r"(.*/)?(kernel|bias)(:0)?", "Keras or Flax", _KERNEL),
    (r"(.*\.)?kernel", "Flax", _KERNEL),
    (r"(coef|intercept)s?_.*", "scikit-learn", "each of coefs_ is a W, each of intercepts_ a b"),
)


def _whose(names: list[str]) -> str:
    """Return, as the end of a sentence, whose names these seem to be and what to do; empty where nobody knows."""
    for pattern, library, cure in _LAYOUTS:
        if any(re.fullmatch(pattern, name) for name in names):
            return f"; these seem to be of {library}: {cure}, numbered in the order of the layers"
    return ""


def _is_positive(number: Any) -> bool:
    return isinstance(number, (int, float)) and 0 < number < float("inf")


def _faults(arrays: Mapping[str, np.ndarray], depth: int) -> list[str]:
    """Return everything that keeps `arrays` from being `depth` layers, in words."""
    wanted = [f"{letter}{i}" for i in range(1, max(depth, 1) + 1) for letter in "Wb"]
    faults = []
    if missing := [name for name in wanted if name not in arrays]:
        faults.append(f"missing {', '.join(missing[:20])}")
    if extra := [name for name in arrays if name not in wanted]:
        found = ", ".join(ascii(name)[1:-1][:40] for name in extra[:20])
        faults.append(f"unexpected {found} (expected names are W1, b1, W2, b2, ...{_whose(extra)})")
    width = None
    first = next((dtype_name(arrays[name].dtype) for name in wanted if name in arrays), "")
    for name in wanted:
        if name not in arrays:
            width = None if name[0] == "W" else width
            continue
        x, dtype = arrays[name], dtype_name(arrays[name].dtype)
        if dtype not in FLOATS:
            faults.append(f"{name}: expected a floating-point type, found {dtype}{_CAST}")
        elif dtype != first:
            faults.append(f"{name}: expected {first} as the first array, found {dtype}{_CAST}")
        if name[0] == "W":
            if x.ndim != 2:
                faults.append(f"{name}: expected shape (in_features, out_features), found {x.shape}")
            elif width not in (None, x.shape[0]):
                faults.append(f"{name}: expected {width} rows, as the layer before gives, found {x.shape[0]}")
            width = x.shape[1] if x.ndim == 2 else None
        elif width is None:
            if x.ndim != 1:
                faults.append(f"{name}: expected shape (out_features,), found {x.shape}")
        elif x.shape != (width,):
            faults.append(f"{name}: expected shape ({width},), found {x.shape}")
    return faults
