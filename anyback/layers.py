"""Layers: what a network is made of. A layer is its fields and the op that it calls; an activation is a layer too."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, overload

from anyback import activations, backends
from anyback._typing import Array
from anyback.backends import is_float
from anyback.errors import AnybackError, DataError, ShapeError
from anyback.network import Builder, Network, arrays_in, is_network, map_arrays
from anyback.ops import OPS, Op, is_op
from anyback.ops._casts import KEEP
from anyback.plan import Shape

__all__ = [
    "AveragePool",
    "BatchNorm",
    "Conv",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool",
    "Pixels",
    "Reshape",
    "Residual",
    "Scale",
    "Sequential",
]

#: A number for every axis, or one number for each.
Sizes: TypeAlias = int | tuple[int, ...]
#: How much is added around an axis: a number for both ends of every axis, one for each axis, or a pair for each axis.
Padding: TypeAlias = int | tuple[int, ...] | tuple[tuple[int, int], ...]


class Layer(Protocol):
    """What is asked of a layer: the calls that it makes. Any function of one array is a layer as well."""

    def calls(self, given: int, into: Builder) -> int:
        """Add the layer's calls to a network, given the number of its input, and return the number of its output."""


class _Callable:
    """What makes a layer a function of arrays."""

    def calls(self, given: int, into: Builder) -> int:
        raise NotImplementedError

    def __call__(self, x: Array) -> Array:
        """Return the layer's output for one sample, or for a batch with one more axis in front."""
        # Of `calls`, whatever a subclass does when it is called: it may call this.
        into = Builder()
        into.where = type(self).__name__
        return Network(*into.fields([self.calls(0, into)]))(x)


@dataclass(frozen=True, eq=False)
class Linear(_Callable):
    """A fully connected layer: ``x @ weight + bias``, of shape (n, in_features) to (n, out_features).

    Parameters
    ----------
    weight : array, floating-point
        Shape (in_features, out_features).
    bias : array, floating-point, or None
        Shape (out_features,).

    Raises
    ------
    DataError
        If the weight is no array of floating-point numbers.
    ShapeError
        If the shapes do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> Linear(np.ones((3, 2)), np.zeros(2))(np.ones(3))
    array([3., 3.])
    """

    weight: Array
    bias: Array | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight, "(in_features, out_features)", 2)
        _check_array("bias", self.bias, (self.weight.shape[1],), self.weight)

    def calls(self, given: int, into: Builder) -> int:
        """Call `linear`."""
        return into.call(OPS["linear"], given, into.array(self.weight), into.array(self.bias))


@dataclass(frozen=True, eq=False)
class Conv(_Callable):
    """A convolution over one to three axes: (n, in_channels, *axes) to (n, out_channels, *windows).

    Parameters
    ----------
    weight : array, floating-point
        Shape (out_channels, in_channels / groups, *window), as the book's, PyTorch's and ONNX's.
    bias : array, floating-point, or None
        Shape (out_channels,).
    stride, dilation : int or tuple of int
        How far the window moves, and how far its places are apart; a number for every axis, or one for each.
    padding : int, tuple of int or tuple of (int, int)
        How many zeros are added at both ends of every axis; a number for each axis, or for each end of each axis.
    groups : int
        Channels are cut into so many groups, and each filter sees one of them.

    Raises
    ------
    DataError
        If the weight is no array of floating-point numbers.
    ShapeError
        If the shapes or numbers do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> Conv(np.ones((4, 1, 3, 3)), padding=1)(np.ones((5, 1, 28, 28))).shape
    (5, 4, 28, 28)
    """

    weight: Array
    bias: Array | None = None
    stride: Sizes = 1
    padding: Padding = 0
    dilation: Sizes = 1
    groups: int = 1

    def __post_init__(self) -> None:
        _check_weight(self.weight, "(out_channels, in_channels / groups, *window), of one to three axes", 3, 4, 5)
        _check_array("bias", self.bias, (self.weight.shape[0],), self.weight)
        axes = self.weight.ndim - 2
        object.__setattr__(self, "stride", _sizes("stride", self.stride, axes))
        object.__setattr__(self, "dilation", _sizes("dilation", self.dilation, axes))
        object.__setattr__(self, "padding", _pads(self.padding, axes))
        if not isinstance(self.groups, int) or self.groups < 1 or self.weight.shape[0] % self.groups:
            raise ShapeError(
                f"groups: expected a number that divides {self.weight.shape[0]} filters, found {self.groups}"
            )

    def calls(self, given: int, into: Builder) -> int:
        """Call `conv`."""
        return into.call(
            OPS["conv"],
            given,
            into.array(self.weight),
            into.array(self.bias),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@dataclass(frozen=True)
class MaxPool(_Callable):
    """The largest number of each window: (n, channels, *axes) to (n, channels, *windows).

    Parameters
    ----------
    size : tuple of int
        Of the window, along each axis.
    stride : int, tuple of int or None
        How far the window moves; None is its size.
    padding : int, tuple of int or tuple of (int, int)
        How much is added at the ends of the axes; it is never the largest.
    dilation : int or tuple of int
        How far the places of the window are apart.
    ceil : bool
        Whether a last window may reach beyond the padding.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool((2, 2))(np.ones((5, 4, 28, 28))).shape
    (5, 4, 14, 14)
    """

    size: tuple[int, ...]
    stride: Sizes | None = None
    padding: Padding = 0
    dilation: Sizes = 1
    ceil: bool = False

    def __post_init__(self) -> None:
        _set_window(self)
        object.__setattr__(self, "dilation", _sizes("dilation", self.dilation, len(self.size)))

    def calls(self, given: int, into: Builder) -> int:
        """Call `max_pool`."""
        fields = ("size", "stride", "padding", "dilation", "ceil")
        return into.call(OPS["max_pool"], given, **{name: getattr(self, name) for name in fields})


@dataclass(frozen=True)
class AveragePool(_Callable):
    """The mean of each window: (n, channels, *axes) to (n, channels, *windows).

    Parameters
    ----------
    size : tuple of int
        Of the window, along each axis.
    stride : int, tuple of int or None
        How far the window moves; None is its size.
    padding : int, tuple of int or tuple of (int, int)
        How many zeros are added at the ends of the axes.
    ceil : bool
        Whether a last window may reach beyond the padding.
    count_padding : bool
        Whether zeros of the padding count as numbers of a window.

    Examples
    --------
    >>> import numpy as np
    >>> AveragePool((2, 2))(np.ones((5, 4, 28, 28))).shape
    (5, 4, 14, 14)
    """

    size: tuple[int, ...]
    stride: Sizes | None = None
    padding: Padding = 0
    ceil: bool = False
    count_padding: bool = True

    def __post_init__(self) -> None:
        _set_window(self)

    def calls(self, given: int, into: Builder) -> int:
        """Call `average_pool`."""
        fields = ("size", "stride", "padding", "ceil", "count_padding")
        return into.call(OPS["average_pool"], given, **{name: getattr(self, name) for name in fields})


@dataclass(frozen=True, eq=False)
class BatchNorm(_Callable):
    """Batch normalization with the mean and variance of training: (n, channels, ...) to the same shape.

    Parameters
    ----------
    mean, variance : array, floating-point
        Shape (channels,).
    weight, bias : array, floating-point, or None
        Shape (channels,).
    epsilon : float
        What is added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> BatchNorm(np.ones(2), np.ones(2), epsilon=0.0)(np.asarray([[1.0, 3.0]]))
    array([[0., 2.]])
    """

    mean: Array
    variance: Array
    weight: Array | None = None
    bias: Array | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        _check_weight(self.mean, "(channels,)", 1, name="mean")
        for name in ("variance", "weight", "bias"):
            _check_array(name, getattr(self, name), tuple(self.mean.shape), self.mean)

    def calls(self, given: int, into: Builder) -> int:
        """Call `batch_norm`."""
        arrays = [into.array(x) for x in (self.mean, self.variance, self.weight, self.bias)]
        return into.call(OPS["batch_norm"], given, *arrays, epsilon=self.epsilon)


@dataclass(frozen=True, eq=False)
class LayerNorm(_Callable):
    """Layer normalization over the last axes, which must have `shape`: (n, ..., *shape) to the same shape.

    Parameters
    ----------
    shape : tuple of int
        The last axes.
    weight, bias : array, floating-point, or None
        Of `shape`.
    epsilon : float
        What is added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNorm((2,), epsilon=0.0)(np.asarray([[1.0, 3.0]]))
    array([[-1.,  1.]])
    """

    shape: tuple[int, ...]
    weight: Array | None = None
    bias: Array | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        for name in ("weight", "bias"):
            _check_array(name, getattr(self, name), self.shape)

    def calls(self, given: int, into: Builder) -> int:
        """Call `layer_norm`."""
        arrays = into.array(self.weight), into.array(self.bias)
        return into.call(OPS["layer_norm"], given, *arrays, shape=self.shape, epsilon=self.epsilon)


@dataclass(frozen=True)
class Flatten(_Callable):
    """Fold each row into one axis: (n, *shape) to (n, size).

    Parameters
    ----------
    shape : tuple of int or None
        Shape of one sample, such as (28, 28): then images may also have an axis of one channel, (n, 1, height, width),
        as PyTorch and the book's ``load_mnist`` give them, or be flat already. None is any shape.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten((28, 28))(np.zeros((5, 28, 28))).shape
    (5, 784)
    """

    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, "shape", tuple(self.shape))

    def calls(self, given: int, into: Builder) -> int:
        """Call `flatten`."""
        return into.call(OPS["flatten"], given, shape=self.shape)


@dataclass(frozen=True)
class Reshape(_Callable):
    """Give each row another shape: flat rows, or images without an axis for their one channel, to (n, *shape).

    Parameters
    ----------
    shape : tuple of int
        Shape of one row, such as (1, 28, 28).

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((1, 28, 28))(np.zeros((5, 784))).shape
    (5, 1, 28, 28)
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))

    def calls(self, given: int, into: Builder) -> int:
        """Call `reshape`."""
        return into.call(OPS["reshape"], given, shape=self.shape)


@dataclass(frozen=True, eq=False)
class Pixels(_Callable):
    """Divide integer input by the largest pixel value; floating-point input passes as it is, booleans as 0 and 1.

    So images of bytes, images already scaled to [0, 1], and images of ink or none give the same answer. The dtype
    decides, never the values.

    Parameters
    ----------
    largest : array, floating-point
        Shape (): the largest pixel value, such as 255. Its dtype is the one that integers are cast to.

    Examples
    --------
    >>> import numpy as np
    >>> scale = Pixels(np.asarray(255.0, dtype=np.float32))
    >>> scale(np.asarray([[0, 51, 255]], dtype=np.uint8))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    largest: Array

    def calls(self, given: int, into: Builder) -> int:
        """Call `pixels`."""
        return into.call(OPS["pixels"], given, into.array(self.largest))


@dataclass(frozen=True)
class Scale(_Callable):
    """Multiply every number by a factor, as dropout does at inference where training did not.

    Parameters
    ----------
    factor : float
        What every number is multiplied by.

    Examples
    --------
    >>> import numpy as np
    >>> Scale(0.5)(np.asarray([[1.0, 2.0]]))
    array([[0.5, 1. ]])
    """

    factor: float

    def calls(self, given: int, into: Builder) -> int:
        """Call `scale`."""
        return into.call(OPS["scale"], given, factor=self.factor)


@dataclass(frozen=True)
class Dropout(_Callable):
    """Dropout at inference, where nothing is dropped: the input as it is.

    Networks whose training did not divide by ``1 - ratio``, as the book's, take `Scale` in its place.

    Parameters
    ----------
    ratio : float
        The share that was dropped in training; it changes nothing here.

    Examples
    --------
    >>> import numpy as np
    >>> Dropout(0.5)(np.asarray([[1.0, 2.0]]))
    array([[1., 2.]])
    """

    ratio: float = 0.5

    def calls(self, given: int, into: Builder) -> int:
        """Call `identity`."""
        return into.call(OPS["identity"], given, name="dropout")


@dataclass(frozen=True, eq=False)
class Residual(_Callable):
    """What a branch makes of its input, added to its input: ``branch(x) + shortcut(x)``.

    Parameters
    ----------
    branch : layer
        Such as a `Sequential`.
    shortcut : layer or None
        What the input passes on the other way; None is as it is.

    Examples
    --------
    >>> import numpy as np
    >>> Residual(Linear(np.eye(2)))(np.asarray([[1.0, 3.0]]))
    array([[2., 6.]])
    """

    branch: Any
    shortcut: Any = None

    def calls(self, given: int, into: Builder) -> int:
        """Call `add` on what the two give."""
        found = add_calls(self.branch, given, into)
        return into.call(OPS["add"], found, given if self.shortcut is None else add_calls(self.shortcut, given, into))


#: What a `Sequential` derives from its layers.
_DERIVED = frozenset(field.name for field in dataclasses.fields(Network))


class Sequential(Network):
    """A network of layers, applied one after the other: ``Sequential(a, b)``, or ``Sequential((a, b))``.

    It has a length, is iterated over and indexed like a tuple of its layers, and a slice of it is a network.

    Parameters
    ----------
    *layers : layer, callable or str
        Layers, networks, activations or their names, and any functions of one array, first to last. Their arrays
        belong to one library.

    Raises
    ------
    AnybackError
        If a layer cannot be called, or is another library's.
    BackendError
        If the arrays of the layers belong to different libraries.
    ShapeError
        If a layer does not take what the one before it gives.

    Examples
    --------
    The network of chapter 3 of the book, with an identity output:

    >>> import numpy as np
    >>> net = Sequential(
    ...     Linear(np.asarray([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.asarray([0.1, 0.2, 0.3])), "sigmoid",
    ...     Linear(np.asarray([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), np.asarray([0.1, 0.2])), "sigmoid",
    ...     Linear(np.asarray([[0.1, 0.3], [0.2, 0.4]]), np.asarray([0.1, 0.2])), "identity",
    ... )
    >>> net(np.asarray([1.0, 0.5]))
    array([0.31682708, 0.69627909])
    """

    layers: tuple[Any, ...]

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], (tuple, list)) and not callable(layers[0]):
            layers = tuple(layers[0])
        layers = tuple(activations.get(layer) if isinstance(layer, str) else layer for layer in layers)
        into, value = Builder(), 0
        for number, layer in enumerate(layers):
            into.where = f"layer {number}"
            value = add_calls(layer, value, into)
        arrays, calls, inputs, outputs = into.fields([value])
        object.__setattr__(self, "layers", layers)
        super().__init__(arrays, calls, inputs, outputs)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _DERIVED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        Sequential.__init__(self, *self.layers)

    def with_arrays(self, arrays: Iterable[Array]) -> Network:
        """Return the same network with other arrays, in the order of `arrays`.

        It is a `Sequential` again where its layers hold the very arrays that they call with, and a `Network` of the
        same calls elsewhere.
        """
        arrays = tuple(arrays)
        if {*map(id, arrays_in(self.layers))} != {*map(id, self.arrays)}:
            # A layer calls with arrays that it has made, or has some that it does not call with: the calls know.
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


# -- From layers to calls -----------------------------------------------------------------------------


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
    _check_callable(layer, into.where)
    arrays = tuple(dict.fromkeys(map(_Same, arrays_in(layer))))
    name = str(getattr(layer, "__name__", type(layer).__name__))
    op = Op(name, _Foreign(layer, tuple(a.x for a in arrays), name), _unknown, casts=KEEP)
    return into.call(op, given, *[into.array(a.x) for a in arrays])


def _says_its_calls(layer: Any) -> bool:
    """Return whether a layer's `calls` say what it computes: a subclass may compute something else when called."""
    if isinstance(layer, type):
        return False
    first = next((kind for kind in type(layer).__mro__ if {"calls", "__call__"} & vars(kind).keys()), object)
    return "calls" in vars(first)


@dataclass(frozen=True, eq=False)
class _Same:
    """An array, which is equal to itself alone."""

    x: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.x is self.x

    def __hash__(self) -> int:
        return id(self.x)


class _Foreign:
    """A function of the user's as an op: the arrays that are found inside it come as arguments."""

    def __init__(self, layer: Callable[[Array], Array], arrays: tuple[Array, ...], name: str) -> None:
        self.layer, self.arrays, self.__name__ = layer, arrays, name

    def __call__(self, x: Array, *arrays: Array) -> Array:
        if all(a is b for a, b in zip(arrays, self.arrays, strict=True)):
            return self.layer(x)
        new = {id(old): new for old, new in zip(self.arrays, arrays, strict=True)}
        return map_arrays(self.layer, lambda a: new[id(a)])(x)


def _unknown(*shapes: Shape | None, **attributes: Any) -> None:
    return None


#: Where classes of other libraries come from, and how what they hold becomes layers.
_FOREIGN = {
    "torch": "anyback.layers.Linear(module.weight.detach().T, module.bias.detach()), and its like for other modules",
    "keras": "anyback.layers.Linear(*layer.get_weights()), and its like for other layers",
    "sklearn": "anyback.layers.Linear(weight, bias) for each of its coefs_ and intercepts_",
}


def _check_callable(layer: Any, where: str) -> None:
    """Raise `AnybackError` where a layer cannot be called, or is an object of another library."""
    for kind in type(layer).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in _FOREIGN and kind.__name__ in ("Module", "Layer", "BaseEstimator"):
            raise AnybackError(
                f"{where}: expected a layer or a function, found a {library} {type(layer).__name__}; convert it: "
                f"{_FOREIGN[library]}"
            )
    if not callable(layer) or isinstance(layer, type):
        found = f"the class {layer.__name__}; make one" if isinstance(layer, type) else type(layer).__name__
        raise AnybackError(f"{where}: expected a layer or a function, found {found}")


# -- Checking fields ----------------------------------------------------------------------------------


def _check_weight(weight: Array, wanted: str, *axes: int, name: str = "weight") -> None:
    if not is_float(weight):
        raise DataError(f"{name}: expected floating-point numbers, found {backends.dtype_name(weight.dtype)}")
    if weight.ndim not in axes:
        raise ShapeError(f"{name}: expected shape {wanted}, found {tuple(weight.shape)}")


def _check_array(name: str, x: Array | None, wanted: Shape, *beside: Array) -> None:
    """Raise an error where an array is there that has another shape, or belongs to another library than one beside."""
    if x is None:
        return
    backends.array_namespace(x, *beside)
    if tuple(x.shape) != tuple(wanted):
        raise ShapeError(f"{name}: expected shape {tuple(wanted)}, found {tuple(x.shape)}")


def _sizes(name: str, value: Any, axes: int, least: int = 1) -> tuple[int, ...]:
    """Return a number for each axis."""
    found = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(found) != axes or not all(isinstance(n, int) and n >= least for n in found):
        raise ShapeError(f"{name}: expected a whole number of at least {least}, or {axes} of them, found {value!r}")
    return found


def _pads(value: Any, axes: int) -> tuple[tuple[int, int], ...]:
    """Return for each axis what is added in front and behind."""
    found = (value,) * axes if isinstance(value, int) else tuple(value)
    pairs = tuple((n, n) if isinstance(n, int) else tuple(n) for n in found)
    if len(pairs) != axes or not all(len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p) for p in pairs):
        raise ShapeError(f"padding: expected a whole number, {axes} of them, or {axes} pairs, found {value!r}")
    return pairs  # type: ignore[return-value]


def _set_window(layer: Any) -> None:
    """Give a pooling layer one form of its size, stride and padding."""
    size = tuple(layer.size) if not isinstance(layer.size, int) else (layer.size,)
    object.__setattr__(layer, "size", _sizes("size", size, len(size)))
    object.__setattr__(layer, "stride", _sizes("stride", size if layer.stride is None else layer.stride, len(size)))
    object.__setattr__(layer, "padding", _pads(layer.padding, len(size)))
    if any(2 * max(pads) > k for pads, k in zip(layer.padding, size, strict=True)):
        raise ShapeError(f"padding: expected at most half of the window {size}, found {layer.padding}")
