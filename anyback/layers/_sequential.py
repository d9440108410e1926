"""`Sequential`, and how its layers become the calls of a network."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, overload

from anyback import activations
from anyback._typing import Array
from anyback.errors import DataError
from anyback.layers._user import user_call
from anyback.network import Builder, Network, arrays_in, is_network, map_arrays
from anyback.ops import is_op

__all__ = ["Layer", "Sequential", "add_calls"]


class Layer(Protocol):
    """A layer: an object that adds its calls to a network. Any function of one array is a layer as well.

    Examples
    --------
    A layer of your own, of two calls:

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> from anyback.ops import OPS
    >>> @dataclass(frozen=True)
    ... class Twice(Layer):
    ...     name: str
    ...
    ...     def calls(self, given, into):
    ...         return into.call(OPS[self.name], into.call(OPS[self.name], given))
    >>> Sequential(Twice("tanh"))(np.asarray([[0.0, 100.0]]))
    array([[0.        , 0.76159416]])
    """

    def calls(self, given: int, into: Builder) -> int:
        """Add the layer's calls to a network, given the number of its input, and return the number of its output."""


#: What a `Sequential` derives from its layers.
_DERIVED = frozenset(field.name for field in dataclasses.fields(Network)) - {"classes"}


class Sequential(Network):
    """A network of layers, applied one after the other: ``Sequential(a, b)``, or ``Sequential((a, b))``.

    `len`, iteration and an index act on the tuple of its layers; a slice of it is a `Sequential`.

    Parameters
    ----------
    *layers : layer, callable or str
        Layers, networks, activations or their names, and functions of one array, in the order in which they are
        applied. All their arrays belong to one library.
    classes : sequence of (int or str), or None
        The class that each output stands for; two for one output that is a probability. A slice has none.

    Raises
    ------
    AnybackError
        If a layer cannot be called, or is an object of another library, such as a ``torch.nn.Module``.
    BackendError
        If the arrays of the layers belong to different libraries.
    DataError
        If there are more or fewer classes than outputs.
    ShapeError
        If a layer does not take what the one before it gives.

    Examples
    --------
    The network of chapter 3 of the book, with an identity output:

    >>> import numpy as np
    >>> from anyback.layers import Linear
    >>> net = Sequential(
    ...     Linear(np.asarray([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.asarray([0.1, 0.2, 0.3])), "sigmoid",
    ...     Linear(np.asarray([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), np.asarray([0.1, 0.2])), "sigmoid",
    ...     Linear(np.asarray([[0.1, 0.3], [0.2, 0.4]]), np.asarray([0.1, 0.2])), "identity",
    ... )
    >>> net(np.asarray([1.0, 0.5]))
    array([0.31682708, 0.69627909])
    """

    layers: tuple[Any, ...]

    def __init__(self, *layers: Any, classes: Iterable[Any] | None = None) -> None:
        if len(layers) == 1 and isinstance(layers[0], (tuple, list)) and not callable(layers[0]):
            layers = tuple(layers[0])
        layers = tuple(activations.get(layer) if isinstance(layer, str) else layer for layer in layers)
        into, value = Builder(), 0
        for number, layer in enumerate(layers):
            into.where = f"layer {number}"
            value = add_calls(layer, value, into)
        arrays, calls, inputs, outputs = into.fields([value])
        object.__setattr__(self, "layers", layers)
        super().__init__(arrays, calls, inputs, outputs, classes=None if classes is None else tuple(classes))
        if self.classes is not None:
            _check_classes(len(self.classes), self.width)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _DERIVED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        Sequential.__init__(self, *self.layers, classes=self.classes)

    def with_arrays(self, arrays: Iterable[Array]) -> Network:
        """Return the same network with other arrays, in the order of `arrays`.

        The result is a `Sequential` where its layers hold the very arrays that their calls use, else a `Network` of the
        same calls.
        """
        arrays = tuple(arrays)
        if {*map(id, arrays_in(self.layers))} != {*map(id, self.arrays)}:
            # A layer has computed arrays for its calls, or holds arrays that no call uses: only the calls are followed.
            return super().with_arrays(arrays)
        new = {id(old): x for old, x in zip(self.arrays, arrays, strict=True)}
        made = object.__new__(type(self))  # a class of the user's may be constructed from other things
        made.__setstate__({**self.__getstate__(), "layers": map_arrays(self.layers, lambda x: new[id(x)])})
        return made

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]


def _check_classes(count: int, outputs: int | None) -> None:
    if outputs not in (None, count) and (count, outputs) != (2, 1):
        raise DataError(f"classes: expected one for each of {outputs} outputs, found {count}")


def add_calls(layer: Any, given: int, into: Builder) -> int:
    """Add the calls of a layer, an op, a network or any function of one array, and return the number of its output."""
    if isinstance(layer, str):
        layer = activations.get(layer)
    if is_network(layer):
        return into.embed(layer, given)
    if is_op(layer):
        return into.call(layer, given)
    if isinstance(layer, functools.partial) and is_op(layer.func) and not layer.args and not arrays_in(layer.keywords):
        return into.call(layer.func, given, **layer.keywords)
    if _says_its_calls(layer):
        return int(layer.calls(given, into))
    return user_call(layer, given, into)


def _says_its_calls(layer: Any) -> bool:
    """Return whether a layer computes what its `calls` say: a subclass with a `__call__` of its own may not."""
    if isinstance(layer, type):
        return False
    first = next((kind for kind in type(layer).__mro__ if {"calls", "__call__"} & vars(kind).keys()), object)
    return "calls" in vars(first)
