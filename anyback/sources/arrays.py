"""From arrays to a multilayer perceptron: a list, a dict, or the tree of parameters that another library keeps."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import array_api_compat
import numpy as np

from anyback._typing import DType
from anyback.backends import BackendLike
from anyback.errors import DataError, WeightsError
from anyback.models._arrays import Activation
from anyback.models._layouts import NamedLayer, in_order
from anyback.models.mlp import mlp
from anyback.network import Network
from anyback.numbers import FLOATS, dtype_name, float_name
from anyback.plan import Shape
from anyback.sources._objects import described, host_copy, is_flax, library_of, placed

__all__ = ["from_arrays"]


def from_arrays(
    arrays: Any,
    *,
    hidden: Activation | None = None,
    output: Activation = "softmax",
    pixels: float | None = None,
    shape: Shape | None = None,
    backend: BackendLike | None = None,
    dtype: str | DType | None = None,
) -> Network:
    """Return the multilayer perceptron of arrays.

    Parameters
    ----------
    arrays : list, dict or tree
        ``[W1, b1, W2, b2, ...]`` or ``[(W1, b1), (W2, b2), ...]``, each ``W`` of shape (in_features, out_features);
        or arrays by name, in dicts, lists and dataclasses at any depth, such as the parameters of Flax and of Equinox,
        or a state dict of PyTorch. By their names, ``kernel``, ``W`` and ``w`` have shape (in_features, out_features),
        and ``weight`` has (out_features, in_features); ``bias`` and ``b`` go with them. Layers are in the order
        of the numbers in their names; without numbers, in the one order in which they fit. A named layer without a bias
        gets one of zeros.
    hidden : str, callable or None
        Activation between the layers; None only where there is one layer.
    output : str or callable
        Activation of the last layer: ``"identity"`` for regression, ``"sigmoid"`` for two classes, ``"softmax"`` for
        many.
    pixels : float or None
        The largest pixel value, by which integer input is divided.
    shape : tuple of int or None
        Shape of one image, where images may come unflattened.
    backend : str, Backend or None
        Where the weights go; None is the current choice.
    dtype : str, data type or None
        A floating-point type for the weights, whatever numbers they are; None keeps theirs.

    Returns
    -------
    Network
        A `Sequential`.

    Raises
    ------
    WeightsError
        If the arrays are missing, extra or do not fit each other, or their names do not give an order.
    DataError
        If there is something else than arrays, no `hidden`, or the network would end in a softmax of one output.
    BackendError
        If the backend cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> w1, b1, w2, b2 = np.ones((3, 4)), np.zeros(4), np.ones((4, 2)), np.zeros(2)
    >>> net = from_arrays([w1, b1, w2, b2], hidden="relu", output="identity", backend="numpy")
    >>> net(np.ones(3))
    array([12., 12.])
    >>> tree = {"params": {"Dense_0": {"kernel": w1, "bias": b1}, "Dense_1": {"kernel": w2, "bias": b2}}}
    >>> from_arrays(tree, hidden="relu", output="identity", backend="numpy")(np.ones(3))
    array([12., 12.])
    """
    _check_tree(arrays)
    leaves = dict(_leaves(arrays))
    in_turn = isinstance(arrays, (list, tuple)) and not any(_words(path) for path in leaves)
    found = _in_turn(leaves) if in_turn else _by_name(leaves)
    layers = sum(name[0] == "W" for name in found)
    if hidden is None and layers > 1:
        raise DataError(f"hidden: say which activation is between the {layers} layers, such as hidden='relu'")
    if dtype is not None:
        wanted = float_name(dtype)
        found = {name: _as_float(x, wanted) for name, x in found.items()}
    net = mlp(found, hidden="identity" if hidden is None else hidden, output=output, pixels=pixels, shape=shape)
    return placed(net.layers, backend, dtype)


def _check_tree(found: Any) -> None:
    """Raise `DataError` where there are no arrays to be found."""
    library = library_of(found)
    if isinstance(found, type) or library is not None or is_flax(found) or not _is_tree(found):
        wrong = "one array" if array_api_compat.is_array_api_obj(found) else described(found, library)
        raise DataError(f"from_arrays: expected [W1, b1, W2, b2, ...] or a dict of arrays, found {wrong}")


def _is_tree(found: Any) -> bool:
    return isinstance(found, (Mapping, list, tuple)) or (
        dataclasses.is_dataclass(found) and not isinstance(found, type)
    )


def _leaves(
    tree: Any, path: tuple[str, ...] = (), *, inside: bool = False
) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yield the arrays of a tree, each behind its path; what else is `inside` a dataclass says nothing of them."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        parts, inside = [(f.name, getattr(tree, f.name, None)) for f in dataclasses.fields(tree)], True
    elif isinstance(tree, Mapping):
        parts = list(tree.items())
    elif isinstance(tree, (list, tuple)):
        parts = [(str(place), part) for place, part in enumerate(tree)]
    elif array_api_compat.is_array_api_obj(tree):
        yield path, _host_copy(tree, path)
        return
    elif tree is None or inside:
        return
    else:
        raise DataError(f"from_arrays: {'.'.join(path)}: expected an array, found {described(tree, library_of(tree))}")
    for name, part in parts:
        yield from _leaves(part, (*path, *re.split(r"[./]", str(name))), inside=inside)


def _host_copy(x: Any, path: tuple[str, ...]) -> np.ndarray:
    try:
        return host_copy(x)
    except (TypeError, ValueError, NotImplementedError):  # a key of random numbers, as the state of a Dropout in Flax
        raise DataError(
            f"from_arrays: {'.'.join(path)}: expected an array of numbers, found {type(x).__name__}; pass the "
            "parameters alone, such as flax.nnx.state(model, flax.nnx.Param)"
        ) from None


def _words(path: tuple[str, ...]) -> bool:
    """Return whether names say which array is which: not the places of lists alone."""
    return not all(part.isdigit() for part in path)


def _in_turn(leaves: Mapping[tuple[str, ...], np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays as W1, b1, W2, b2, ... in their order."""
    return {f"{'Wb'[i % 2]}{i // 2 + 1}": x for i, x in enumerate(leaves.values())}


#: What the last word of a name says: a weight as it is, a weight to be transposed, or a bias; and the layer's number.
_LEAF = re.compile(r"(?:(?P<W>kernel|W|w)|(?P<turned>weight)|(?P<b>bias|b))_?(?P<number>\d*)(?::0)?")


def _by_name(leaves: Mapping[tuple[str, ...], np.ndarray]) -> dict[str, np.ndarray]:
    """Return named arrays as W1, b1, W2, b2, ..., or raise `WeightsError` where names do not say which is which."""
    layers: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
    unknown, twice = [], []
    for path, x in leaves.items():
        if (match := _LEAF.fullmatch(path[-1] if path else "")) is None:
            unknown.append(".".join(path))
            continue
        layer = layers.setdefault((*path[:-1], match["number"]), {})
        kind = "b" if match["b"] else "W"
        twice += [".".join(path)] if kind in layer else []
        layer[kind] = np.ascontiguousarray(x.T) if match["turned"] and x.ndim == 2 else x
    faults = [f"unknown {', '.join(unknown[:20])} (known are kernel, W, w, weight, bias, b)"] if unknown else []
    faults += [f"two weights or biases in one layer: {', '.join(twice[:20])}"] if twice else []
    if not faults:
        faults = [f"{_said(path)} has a bias and no weight" for path, layer in layers.items() if "W" not in layer]
    if faults or not layers:
        raise WeightsError(f"the arrays do not make a network: {'; '.join(faults) or 'there are none'}")
    found: dict[str, np.ndarray] = {}
    for number, path in enumerate(_ordered({path: layer["W"] for path, layer in layers.items()}), start=1):
        layer = layers[path]
        weight = layer["W"]
        zeros = np.zeros(weight.shape[-1:], weight.dtype)
        found |= {f"W{number}": weight, f"b{number}": layer.get("b", zeros)}
    return found


def _ordered(layers: Mapping[tuple[str, ...], np.ndarray]) -> list[tuple[str, ...]]:
    """Return the names of layers by the numbers in them, or in the one order in which each takes what one gives."""
    if not all(weight.ndim == 2 for weight in layers.values()):
        return list(layers)  # what is no linear layer is refused by who makes the network
    named = [NamedLayer(_said(path), _said(path), weight) for path, weight in layers.items()]
    paths = {id(layer): path for layer, path in zip(named, layers, strict=True)}
    return [paths[id(layer)] for layer in in_order(named)]


def _said(path: tuple[str, ...]) -> str:
    return ".".join(part for part in path if part) or "a layer without a name"


def _as_float(x: np.ndarray, name: str) -> np.ndarray:
    """Return numbers of any kind in float64, from which they are rounded once; those of type `name` as they are."""
    kind = dtype_name(x.dtype)
    return x.astype(np.float64) if kind != name and (x.dtype.kind in "iu" or kind in FLOATS) else x
