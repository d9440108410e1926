"""Whose names the arrays of a file have, and how they become W1, b1, W2, b2, ...

PyTorch's ``weight`` is (out_features, in_features), the ``kernel`` of Keras and Flax (in_features, out_features): which
of them an array is, its name says. Its shape never does, which may be square.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from anyback.models._arrays import Arrays, refuse, shown_name

__all__ = ["NamedLayer", "as_perceptron", "in_order", "is_training_state"]


@dataclass(frozen=True)
class _Layout:
    """How a library names the arrays of linear layers.

    Parameters
    ----------
    pattern : str
        What fits a name, with the groups ``layer``, which may be missing, and ``part``.
    weight, bias : str
        The parts.
    turned : bool
        Whether the weight is (out_features, in_features).
    first_is_bare : bool
        Whether the first of several layers has no number: dense, dense_1, dense_2.
    """

    pattern: str
    weight: str
    bias: str
    turned: bool = False
    first_is_bare: bool = False


_LAYOUTS = (
    _Layout(r"(?s:(?P<layer>.+)[./])?(?P<part>weight|bias)", "weight", "bias", turned=True),
    _Layout(r"(?s:(?P<layer>.+)[./])?(?P<part>kernel|bias)(?::0)?", "kernel", "bias", first_is_bare=True),
    _Layout(r"(?s:(?P<layer>.+)/)?vars/(?P<part>[01])", "0", "1", first_is_bare=True),
)
_UNNAMED = re.compile(r"arr_([0-9]{1,6})")
#: What Keras keeps beside the weights: the state of the training.
_TRAINING = re.compile(r"optimizer(_weights)?/.*|(.*/)?seed_generator(_[0-9]+)?/.*|(.*/)?seed_generator_state(:0)?")
_MOST_STEPS = 10_000
_MOST_SHOWN = 12
_ELSEWHERE = (
    "export the network as ONNX (torch.onnx.export(...)), or pass the module itself to anyback.from_torch(module)"
)


@dataclass
class NamedLayer:
    """A linear layer: its name, those of its arrays, and its weight as (in_features, out_features)."""

    name: str
    weight: str
    matrix: np.ndarray
    bias: str | None = None

    @property
    def widths(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def __str__(self) -> str:
        return f"{shown_name(self.name) or shown_name(self.weight)} ({self.widths[0]} to {self.widths[1]})"


def as_perceptron(arrays: Arrays) -> Arrays:
    """Return the arrays of linear layers under the names W1, b1, W2, b2, ..., each W (in_features, out_features).

    The layers are in the order of the numbers in their names. Where those do not say it (``hidden``, ``out``), they are
    in the one order in which each takes what the one before gives. Where no layer has a bias, the biases are zeros.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Named as PyTorch, Keras or Flax name them, or as ``numpy.savez(path, *model.get_weights())`` does.

    Returns
    -------
    mapping of str to numpy.ndarray
        The arrays as they are, where their names are others.

    Raises
    ------
    WeightsError
        If they are more or other than the linear layers of a multilayer perceptron, or if their order is not clear.

    Examples
    --------
    >>> import numpy as np
    >>> made = as_perceptron({"fc1.weight": np.ones((2, 3)), "fc1.bias": np.zeros(2)})
    >>> {name: x.shape for name, x in made.items()}
    {'W1': (3, 2), 'b1': (2,)}
    """
    if arrays and all(_UNNAMED.fullmatch(name) for name in arrays):
        layers = _unnamed(arrays)
    else:
        layout = next((row for row in _LAYOUTS if any(_part(row, name) == row.weight for name in arrays)), None)
        if layout is None:
            return arrays
        layers = in_order(_named(arrays, layout), layout.first_is_bare)
    _refuse_misfits(layers, arrays)
    found: dict[str, np.ndarray] = {}
    for number, layer in enumerate(layers, start=1):
        zeros = np.zeros(layer.widths[1], layer.matrix.dtype)
        found |= {f"W{number}": layer.matrix, f"b{number}": zeros if layer.bias is None else arrays[layer.bias]}
    return found


def is_training_state(name: str) -> bool:
    """Return whether an array is part of what Keras keeps of the training."""
    return _TRAINING.fullmatch(name) is not None


def _part(layout: _Layout, name: str) -> str | None:
    found = re.fullmatch(layout.pattern, name)
    return found["part"] if found and not is_training_state(name) else None


def _weight_fault(name: str, x: np.ndarray, turned: bool) -> str | None:
    """Return, in words, why an array is not the weight of a linear layer; else None."""
    if x.ndim == 2:
        return None
    if x.ndim in (3, 4, 5):
        return (
            f"{shown_name(name)} {x.shape} has the axes of a convolution, whose strides and padding are not in such a "
            f"file: {_ELSEWHERE}"
        )
    expected = "(out_features, in_features)" if turned else "(in_features, out_features)"
    return f"{shown_name(name)} {x.shape} is not of a linear layer, {expected}: {_ELSEWHERE}"


def _named(arrays: Arrays, layout: _Layout) -> list[NamedLayer]:
    """Return the layers in the order of the file, or raise `WeightsError`."""
    layers: dict[str, NamedLayer] = {}
    biases: dict[str, str] = {}
    faults, extra = [], []
    for name, x in arrays.items():
        if is_training_state(name):
            continue
        found = re.fullmatch(layout.pattern, name)
        stem = (found["layer"] or "") if found else ""
        if found is None:
            extra.append(name)
        elif found["part"] == layout.bias:
            biases[stem] = name
        elif fault := _weight_fault(name, x, layout.turned):
            faults.append(fault)
        else:
            layers[stem] = NamedLayer(stem, name, x.T if layout.turned else x)
    if faults:  # a convolution has a bias, and a normalization more: the first fault says enough
        refuse([*faults[:1], f"found {_listed([*arrays])}"])
    for stem, name in biases.items():
        if stem in layers:
            layers[stem].bias = name
        else:
            extra.append(name)
    if extra:
        refuse([f"{_listed(extra)} belong to no linear layer: {_ELSEWHERE}"])
    return list(layers.values())


def _unnamed(arrays: Arrays) -> list[NamedLayer]:
    """Return the layers of arr_0, arr_1, ...: each kernel, and the bias behind it where there is one."""
    layers: list[NamedLayer] = []
    for i in range(len(arrays)):
        name = f"arr_{i}"
        if name not in arrays:
            refuse([f"missing {name}; found {_listed([*arrays])}"])
        x = arrays[name]
        if x.ndim == 1 and layers and layers[-1].bias is None:
            layers[-1].bias = name
        elif fault := _weight_fault(name, x, turned=False):
            refuse([fault, f"found {', '.join(f'{n} {arrays[n].shape}' for n in [*arrays][:_MOST_SHOWN])}"])
        else:
            layers.append(NamedLayer("", name, x))
    return layers


def _refuse_misfits(layers: list[NamedLayer], arrays: Arrays) -> None:
    """Raise `WeightsError` with everything that keeps layers from being a network in their order."""
    faults = []
    without = [layer for layer in layers if layer.bias is None]
    if without and len(without) < len(layers):
        said = ", ".join(shown_name(layer.weight) for layer in without[:_MOST_SHOWN])
        faults.append(f"no bias beside {said}, while other layers have one; add zeros where there is none")
    for before, layer in zip([None, *layers], layers, strict=False):
        if before is not None and before.widths[1] != layer.widths[0]:
            faults.append(f"{layer} does not take what {before}, the layer before, gives")
        if layer.bias is not None and arrays[layer.bias].shape != layer.widths[1:]:
            shape = arrays[layer.bias].shape
            faults.append(f"{shown_name(layer.bias)}: expected shape {layer.widths[1:]}, found {shape}")
    refuse(faults[:_MOST_SHOWN])


def in_order(layers: list[NamedLayer], first_is_bare: bool = False) -> list[NamedLayer]:
    """Return layers in the order of the network, or raise `WeightsError` where their names and widths do not say it."""
    groups: dict[str, list[tuple[tuple[int, ...], NamedLayer]]] = {}
    for layer in layers:
        words, numbers = _words_and_numbers(layer.name, first_is_bare)
        groups.setdefault(words, []).append((numbers, layer))
    rows = [[layer for _, layer in sorted(group, key=lambda item: item[0])] for group in groups.values()]
    if len({(words, numbers) for words, group in groups.items() for numbers, _ in group}) < len(layers):
        refuse([f"two layers have one number: found {_all(layers)}"])
    if len(rows) == 1:
        return rows[0]
    orders = list(_orders(rows))
    if len(orders) != 1:
        fits = "fit in more than one order" if orders else "fit in no order, each to the one before"
        refuse(
            [f"the layers {fits}: found {_all(layers)}; name them by number (fc1, fc2, ...), or W1, b1, W2, b2, ..."]
        )
    return orders[0]


def _words_and_numbers(name: str, first_is_bare: bool) -> tuple[str, tuple[int, ...]]:
    """Return a layer's name without its numbers, and the numbers: those of one kind of name are in their order."""
    if first_is_bare:
        name = "/".join(part if re.search(r"_[0-9]+\Z", part) else f"{part}_0" for part in re.split("[/.]", name))
    return re.sub("[0-9]+", "#", name), tuple(int(number) for number in re.findall("[0-9]+", name))


def _orders(rows: list[list[NamedLayer]]) -> Iterator[list[NamedLayer]]:
    """Yield at most two orders in which each layer takes what the one before gives and no row is turned around."""
    total, steps, found = sum(map(len, rows)), 0, 0
    waiting: list[tuple[tuple[int, ...], list[NamedLayer]]] = [((0,) * len(rows), [])]
    while waiting and found < 2:
        taken, order = waiting.pop()
        if len(order) == total:
            found += 1
            yield order
        for i, row in enumerate(rows):
            if taken[i] < len(row) and (not order or order[-1].widths[1] == row[taken[i]].widths[0]):
                steps += 1
                if steps > _MOST_STEPS:
                    refuse([f"too many orders of {total} layers to try; name them by number, or W1, b1, W2, b2, ..."])
                waiting.append(((*taken[:i], taken[i] + 1, *taken[i + 1 :]), [*order, row[taken[i]]]))


def _all(layers: list[NamedLayer]) -> str:
    more = f" and {len(layers) - _MOST_SHOWN} more" if len(layers) > _MOST_SHOWN else ""
    return ", ".join(map(str, layers[:_MOST_SHOWN])) + more


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(map(shown_name, names[:_MOST_SHOWN])) + more
