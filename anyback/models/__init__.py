"""From weights to a network: the named networks, and any multilayer perceptron in a file."""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from anyback import activations, backends, weights
from anyback._files import shown
from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.datasets import _download
from anyback.errors import OperatorError, WeightsError
from anyback.layers import Flatten, Sequential
from anyback.models._arrays import Activation, Arrays, pixels_layers
from anyback.models.convnets import DEEP, SIMPLE, deep_convnet, simple_convnet
from anyback.models.mlp import mlp, mlp_shapes
from anyback.network import Network
from anyback.numbers import FLOATS, dtype_name, float_name
from anyback.plan import Shape

__all__ = ["NETWORKS", "Named", "load_model"]


@dataclass(frozen=True)
class Named:
    """A network that has a name: where its weights are, what they become, and what its images look like.

    Parameters
    ----------
    path : callable
        Returns the path of the weights file, downloading it if it must.
    build : callable
        Takes the arrays of the file by name, and ``pixels=``; also ``hidden=`` and ``output=`` where `fixed` is empty.
        Returns the network.
    arrays : mapping of str to tuple of int
        The shapes of the arrays by name.
    shape : tuple of int
        Shape of one image. Images may also be flat, or have an axis of one channel before it.
    pixels : float
        The largest pixel value.
    data : str
        Name of the data set that the network was made for.
    fixed : mapping of str to str
        What `hidden` and `output` are where they cannot be chosen; else empty.
    dtype : str or None
        The floating-point type that the weights get unless another is asked for; None is that of the file.

    Examples
    --------
    >>> row = NETWORKS["mnist-cnn"]
    >>> row.shape, row.pixels, row.data, row.dtype
    ((28, 28), 255, 'mnist', 'float32')
    >>> isinstance(row, Named), row.sketch().output_shape()
    (True, (10,))

    """

    path: Callable[[], Path]
    build: Callable[..., Sequential]
    arrays: Mapping[str, Shape]
    shape: Shape
    pixels: float
    data: str
    fixed: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None

    def sketch(self) -> Sequential:
        """Return the network with random weights of its shapes, in float32, for what depends on shapes alone."""
        rng = np.random.default_rng(0)
        # Of a size that keeps the spread of the numbers from layer to layer.
        spread = {name: 1 / math.sqrt(math.prod(s[1:] if len(s) > 2 else s[:-1])) for name, s in self.arrays.items()}
        arrays = {name: spread[name] * rng.standard_normal(shape) for name, shape in self.arrays.items()}
        return self.build({name: x.astype(np.float32) for name, x in arrays.items()}, pixels=self.pixels)

    def options(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `build` is given beside the arrays, or raise `WeightsError` where the network is another.

        Parameters
        ----------
        name : str
            The network's name, for the error.
        given : mapping of str to value
            Those of ``hidden``, ``output``, ``pixels`` and ``shape`` that were asked for.
        """
        options = {"pixels": self.pixels, **given}
        samples = (self.shape, (1, *self.shape), (math.prod(self.shape),))
        if (shape := options.pop("shape", self.shape)) not in samples:
            raise WeightsError(f"{name} takes images of shape {', '.join(map(str, samples))}; found shape={shape}")
        for which, fixed in self.fixed.items():
            found = activations.get(options.pop(which, fixed))
            if (found_name := getattr(found, "__name__", type(found).__name__)) != fixed:
                raise WeightsError(f"{name} has {which}={fixed!r}, found {found_name!r}; leave {which} out")
        return options


def _perceptron(*widths: int, shape: Shape, **row: Any) -> Named:
    return Named(build=functools.partial(mlp, shape=shape), arrays=mlp_shapes(*widths), shape=shape, **row)


def _convnet(file: str, build: Callable[..., Sequential], arrays: Mapping[str, Shape]) -> Named:
    return Named(
        path=lambda: _download.fetch(file),
        build=build,
        arrays=arrays,
        shape=(28, 28),
        pixels=255,
        data="mnist",
        fixed={"hidden": "relu", "output": "softmax"},
        dtype="float32",
    )


#: The networks by name.
NETWORKS: MappingProxyType[str, Named] = MappingProxyType(
    {
        "digits-mlp": _perceptron(
            *(64, 50, 100, 10),
            shape=(8, 8),
            path=lambda: Path(weights.__file__).with_name("digits-mlp.safetensors"),
            pixels=16,
            data="digits",
        ),
        "mnist-mlp": _perceptron(
            *(784, 50, 100, 10),
            shape=(28, 28),
            path=lambda: _download.fetch("sample_weight.pkl"),
            pixels=255,
            data="mnist",
        ),
        "mnist-cnn": _convnet("simple_convnet_params.pkl", simple_convnet, SIMPLE),
        "mnist-deep-cnn": _convnet("deep_convnet_params.pkl", deep_convnet, DEEP),
    }
)


def load_model(
    source: str | os.PathLike[str],
    *,
    hidden: Activation | None = None,
    output: Activation | None = None,
    pixels: float | None = None,
    shape: Shape | None = None,
    backend: BackendLike | None = None,
    dtype: str | DType | None = None,
) -> Network:
    """Return a trained network, by name, from an ONNX file or from a weights file.

    Parameters
    ----------
    source : str or path-like
        A name in `NETWORKS`, such as ``"mnist-mlp"`` or ``"mnist-cnn"``; or the path of an ``.onnx`` file, or of a
        file from `Network.save`, which say themselves what they compute; or that of a ``.pkl``, ``.npz`` or
        ``.safetensors`` file with the arrays ``W1, b1, W2, b2, ...``, each ``W`` of shape (in_features, out_features).
        The arrays may also be the linear layers of another library under its names:
        PyTorch's ``0.weight``, ``fc1.weight``, ``module.fc1.weight`` and their biases, each weight
        (out_features, in_features); Flax's ``Dense_0.kernel``; Keras' ``arr_0, arr_1, ...``, which are
        ``numpy.savez(path, *model.get_weights())``. And the file may be a ``.pt`` or ``.pth`` state dict,
        ``torch.save(module.state_dict(), path)``, or Keras' ``.weights.h5``, where h5py is installed; or a
        ``.keras`` archive of one layer behind another, which says itself what they compute: it takes and gives what the
        model takes and gives in Keras.
        Layers are in the order of the numbers in their names; without numbers, in the one order in which they fit.
    hidden : str, callable or None
        Activation between the layers; None is ``"sigmoid"``, or what the named network has.
    output : str, callable or None
        Activation of the last layer: ``"identity"`` for regression, ``"sigmoid"`` for two classes, ``"softmax"`` for
        many. None is ``"softmax"``, or what the named network has.
    pixels : float or None
        The largest pixel value: integer input is divided by it. None is the network's own for a name, and
        leaves input as it is for a file.
    shape : tuple of int or None
        Shape of one image, such as (28, 28): then images of this shape are taken, also flat, or with an axis of one
        channel before it. None is the network's own for a name, and flat input for a file.
    backend : str, Backend or None
        Where the weights go; None is the current choice.
    dtype : str, data type or None
        A floating-point type for the weights, such as ``"float64"`` or ``numpy.float64``, whatever numbers the file
        holds. None keeps the one floating-point type of the file; the convolution networks, whose files hold float64,
        then get float32.

    Returns
    -------
    Network
        A `Sequential`, but for an ONNX file, and for a file to which another network was saved.

    Raises
    ------
    WeightsError
        If there is no such network or file, the file does not hold a network, or a named network is asked to be
        another.
    OperatorError
        If an ONNX file uses operators that anyback does not have, or a Keras archive layers: all of them are named.
    DataError
        If a download fails, or the network would end in a softmax of one output.
    BackendError
        If the backend cannot be used.

    Warns
    -----
    UserWarning
        If the activation between the layers of a file was not given, which is never taken from it: a network trained
        with another than sigmoid would answer wrongly.

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
    chosen = None if dtype is None else float_name(dtype)
    asked = {"hidden": hidden, "output": output, "pixels": pixels, "shape": _checked_shape(shape)}
    options = {name: value for name, value in asked.items() if value is not None}
    if Path(source).suffix.lower() == ".onnx":
        if options:
            raise WeightsError(f"an ONNX file says itself what it computes; leave out {', '.join(options)}")
        return _from_onnx(source).to(place, dtype=chosen)
    # A path is a name where it is not a file; a string that is a name is never a file.
    named = NETWORKS.get(str(source)) if isinstance(source, str) or not os.path.lexists(source) else None
    build: Callable[..., Sequential] = mlp
    path: str | os.PathLike[str] = source
    if named is None:
        if not os.path.lexists(source) and Path(source).suffix.lower() not in weights.FORMATS:
            raise WeightsError(f"no network and no file {str(source)[:80]!r}; known networks: {', '.join(NETWORKS)}")
    else:
        options = named.options(str(source), options)
        path, build, chosen = named.path(), named.build, chosen or named.dtype
    file = weights.read_file(path)
    arrays = file.arrays if chosen is None else _of_one_type(file.arrays)
    if named is None and file.texts:  # it may say itself what it computes
        from anyback.network import NETWORK_TEXT
        from anyback.weights.hdf5 import KERAS_TEXT

        if NETWORK_TEXT in file.texts:
            return _from_saved(source, file.texts[NETWORK_TEXT], file.arrays, options).to(place, dtype=chosen)
        if KERAS_TEXT in file.texts:
            return _from_keras(source, file.texts[KERAS_TEXT], arrays, options).to(place, dtype=chosen)
    net = build(arrays, **options)
    if named is None and hidden is None and (assumed := _assumed(net, output)):
        warnings.warn(f"{shown(path)}: {assumed}", stacklevel=2)
    return net.to(place, dtype=chosen)


def _from_saved(path: str | os.PathLike[str], text: str, arrays: Arrays, options: Mapping[str, Any]) -> Network:
    """Return the network that was saved to a file, on NumPy; a shape of images is one that it takes."""
    if chosen := [name for name in options if name != "shape"]:
        raise WeightsError(f"{shown(path)} says itself what it computes; leave out {', '.join(chosen)}")
    from anyback.models._saved import saved_network

    try:
        net = saved_network(text, arrays)
    except WeightsError as error:
        raise WeightsError(f"{shown(path)}: {error}") from None
    _check_sample(path, net, options.get("shape"))
    return net


def _check_sample(path: str | os.PathLike[str], net: Network, shape: Shape | None) -> None:
    """Raise `WeightsError` where a network that says what it takes does not take samples of a shape."""
    samples = net.sample_shapes
    fits = [
        len(s) == len(shape) and all(b in (None, a) for a, b in zip(shape, s, strict=True)) for s in samples if shape
    ]
    if fits and not any(fits):
        said = " or ".join(map(str, samples)).replace("None", "size")
        raise WeightsError(
            f"{shown(path)} says itself that it takes shape {said}, found shape={shape}; leave out shape"
        )


def _from_keras(path: str | os.PathLike[str], text: str, arrays: Arrays, options: Mapping[str, Any]) -> Network:
    """Return the network that a Keras archive holds, on NumPy, for images of a shape and with integers divided."""
    if chosen := [name for name in options if name in ("hidden", "output")]:
        raise WeightsError(f"{shown(path)} says itself what it computes; leave out {', '.join(chosen)}")
    from anyback.models._keras import keras_network

    try:
        net = keras_network(text, arrays)
    except (OperatorError, WeightsError) as error:
        raise type(error)(f"{shown(path)}: {error}") from None
    layers, shape, sample = list(net), options.get("shape"), net.usual_sample
    if shape is not None and sample is not None and sample == (math.prod(shape),):
        layers.insert(0, Flatten(shape))
    else:
        _check_sample(path, net, shape)
    if "pixels" in options:  # behind the layer that says what one image looks like
        first = 1 if len(sample or ()) > 1 or len(layers) > len(net) else 0
        layers[first:first] = pixels_layers(options["pixels"], np.dtype(np.float32) if net.dtype is None else net.dtype)
    return Sequential(*layers)


def _assumed(net: Sequential, output: Activation | None) -> str:
    """Return, in words, what a network's activations were taken to be, where only its last one may be known."""
    if sum(hasattr(layer, "weight") for layer in net) < 2:
        return ""
    end = " and softmax at the end" if output is None else ""
    return (
        f"its activations were not given; taken are sigmoid between the layers{end}, and a network trained "
        "with others answers wrongly: give hidden= and output= (--hidden, --output), as hidden='relu', output='softmax'"
    )


def _from_onnx(path: str | os.PathLike[str]) -> Network:
    """Return the network in an ONNX file, on NumPy; what reads such files is imported by those who have one."""
    from anyback.onnx import load

    return load(path)


def _checked_shape(shape: Any) -> Shape | None:
    """Return the shape of an image as a tuple, or raise `WeightsError` where it is none."""
    if shape is None:
        return None
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise WeightsError(f"shape: expected the shape of one image, such as (28, 28), found {str(shape)[:40]}")
    return sizes


def _of_one_type(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return arrays in one floating-point type: numbers of several types in the widest, which keeps every weight."""
    types = {dtype_name(x.dtype) for x in arrays.values()}
    if len(types) <= 1 and types <= set(FLOATS):
        return arrays
    return {name: x.astype(np.float64) if _is_number(x) else x for name, x in arrays.items()}


def _is_number(x: np.ndarray) -> bool:
    return x.dtype.kind in "iu" or dtype_name(x.dtype) in FLOATS
