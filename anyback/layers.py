"""Layers: what a network is made of. A layer is its fields and its call; an activation function is one too.

A layer holds no state and changes nothing, so a network can be traced, compiled, differentiated, shared between
threads, and moved to another array library as a whole.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from array_api_compat import is_array_api_obj

from anyback import activations, backends, functional
from anyback._show import Table
from anyback._typing import Array, DType, Namespace
from anyback.backends import Backend, backend_of, dtype_of, is_float, is_integer
from anyback.errors import AnybackError, BackendError, DataError, ShapeError

__all__ = ["Flatten", "Linear", "Pixels", "Sequential", "Summary", "check_softmax", "checked_network"]

Layer: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Linear:
    """A fully connected layer: ``x @ weight + bias``.

    Parameters
    ----------
    weight : array, floating-point
        Shape (in_features, out_features).
    bias : array, floating-point, or None
        Shape (out_features,).
    integer_weight : array, floating-point, or None
        What integers are multiplied by, where it is another: ``weight / largest``, as `Sequential.folded` makes it.
        Booleans are multiplied by `weight`, as 0 and 1.
    largest : array, floating-point, or None
        Shape (): the largest pixel value, where there is an `integer_weight`.

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
    integer_weight: Array | None = None
    largest: Array | None = None

    def __post_init__(self) -> None:
        backends.array_namespace(*_array_fields(self).values(), self.weight)
        if not is_float(self.weight):
            raise DataError(f"weight: expected floating-point numbers, found {backends.dtype_name(self.weight.dtype)}")
        if self.weight.ndim != 2:
            raise ShapeError(f"weight: expected shape (in_features, out_features), found {tuple(self.weight.shape)}")
        wanted = (self.weight.shape[1],)
        if self.bias is not None and tuple(self.bias.shape) != wanted:
            raise ShapeError(f"bias: expected shape {wanted}, found {tuple(self.bias.shape)}")
        if self.integer_weight is not None and self.integer_weight.shape != self.weight.shape:
            raise ShapeError(
                f"integer_weight: expected shape {tuple(self.weight.shape)}, found {tuple(self.integer_weight.shape)}"
            )

    @property
    def sample_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that one sample may have."""
        return ((self.weight.shape[0],),)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output for one sample of `shape`."""
        return (*shape[:-1], self.weight.shape[1])

    def multiply_adds(self, shape: tuple[int, ...]) -> int:
        """Return how many products are added up for one sample of `shape`."""
        return math.prod(shape[:-1]) * math.prod(self.weight.shape)

    def __call__(self, x: Array) -> Array:
        """Return the layer's output: (n, in_features) to (n, out_features), or (in_features,) to (out_features,)."""
        integers = self.integer_weight is not None and is_integer(x)
        return functional.linear(x, self.integer_weight if integers else self.weight, self.bias)


@dataclass(frozen=True)
class Flatten:
    """Fold the last axes of an array, which must have `shape`, into one; a flat array passes as it is.

    Images may have an axis of one channel: (n, 1, height, width), as PyTorch and the book's ``load_mnist`` give them.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample, such as (28, 28).

    Examples
    --------
    >>> import numpy as np
    >>> Flatten((28, 28))(np.zeros((5, 28, 28))).shape
    (5, 784)
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))

    @property
    def sample_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that one sample may have."""
        return ((1, *self.shape), (math.prod(self.shape),), self.shape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output for one sample of `shape`."""
        kept = self._kept(shape)
        return shape if kept is None else (*shape[:kept], math.prod(self.shape))

    def _kept(self, shape: tuple[int, ...]) -> int | None:
        """Return how many axes in front stay; None where there is nothing to fold."""
        kept = len(shape) - len(self.shape)
        if shape[kept:] != self.shape:
            return None
        # An array of (1, *shape) is a batch of one; behind the axis of the batch, the 1 is that of the channel.
        return kept - 1 if kept > 1 and shape[kept - 1] == 1 else kept

    def __call__(self, x: Array) -> Array:
        """Return the flat array: (n, *shape) or (n, 1, *shape) to (n, size), or `shape` to (size,)."""
        kept = self._kept(tuple(x.shape))
        if kept is None:
            return x
        return backends.array_namespace(x).reshape(x, (*x.shape[:kept], math.prod(self.shape)))


@dataclass(frozen=True, eq=False)
class Pixels:
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
    >>> scale(np.asarray([0, 51, 255], dtype=np.uint8))
    array([0. , 0.2, 1. ], dtype=float32)
    """

    largest: Array

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output for one sample of `shape`."""
        return shape

    def __call__(self, x: Array) -> Array:
        """Return `x` scaled to [0, 1], of the same shape."""
        if is_float(x):
            return x
        xp = backends.array_namespace(x, self.largest)
        numbers = xp.astype(x, self.largest.dtype)
        return numbers / self.largest if is_integer(x) else numbers


@dataclass(frozen=True, eq=False)
class Sequential:
    """A network: layers, applied one after the other.

    Parameters
    ----------
    layers : tuple of callable
        Layers and activation functions, first to last. Their arrays belong to one library.

    Raises
    ------
    AnybackError
        If a layer cannot be called.
    BackendError
        If the arrays of the layers belong to different libraries.
    ShapeError
        If a linear layer does not take what the one before it gives.

    Examples
    --------
    The network of chapter 3 of the book, with an identity output:

    >>> import numpy as np
    >>> from anyback.activations import identity, sigmoid
    >>> net = Sequential((
    ...     Linear(np.asarray([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.asarray([0.1, 0.2, 0.3])), sigmoid,
    ...     Linear(np.asarray([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), np.asarray([0.1, 0.2])), sigmoid,
    ...     Linear(np.asarray([[0.1, 0.3], [0.2, 0.4]]), np.asarray([0.1, 0.2])), identity,
    ... ))
    >>> net(np.asarray([1.0, 0.5]))
    array([0.31682708, 0.69627909])
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        width = None
        for number, layer in enumerate(self.layers):
            if not callable(layer):
                raise AnybackError(f"layer {number}: expected a layer or a function, found {type(layer).__name__}")
            if isinstance(layer, Linear):
                if width not in (None, layer.weight.shape[0]):
                    raise ShapeError(
                        f"layer {number}: expected {width} input features, as the layer before gives, "
                        f"found {layer.weight.shape[0]}"
                    )
                width = layer.weight.shape[1]
            elif not _keeps_width(layer):
                width = None  # what it gives, it alone knows
        backends.array_namespace(*self.arrays)
        # Kept from here on, since torch.compile cannot enter the lock that Python 3.11 holds around it.
        _ = self.sample_shapes

    def __getstate__(self) -> dict[str, Any]:
        # What is derived is derived again; compiled programs do not travel to other processes.
        return {"layers": self.layers}

    # -- The arrays inside ---------------------------------------------------------------------------

    @functools.cached_property  # derived from fields that never change, and asked for at every call
    def arrays(self) -> tuple[Array, ...]:
        """The arrays of all layers, first to last."""
        return tuple(x for layer in self.layers for x in _arrays_of(layer))

    @functools.cached_property  # kept here, and not in a table of networks, so that they go when the network goes
    def programs(self) -> dict[Hashable, Any]:
        """The compiled forms of the network, which `predict` makes when it first needs them."""
        return {}

    def with_arrays(self, arrays: tuple[Array, ...]) -> Sequential:
        """Return the same network with other arrays, in the order of `arrays`."""
        rest = iter(arrays)
        return self.map(lambda x: next(rest))

    def map(self, function: Callable[[Array], Array]) -> Sequential:
        """Return the same network with `function` applied to each array inside.

        Parameters
        ----------
        function : callable
            Takes an array and returns one of the same shape.

        Returns
        -------
        Sequential
        """
        return dataclasses.replace(self, layers=tuple(_map_layer(function, layer) for layer in self.layers))

    def folded(self) -> Sequential:
        """Return the same network with each `Pixels` folded into the linear layer behind it.

        Dividing the weights once saves dividing every input. Floating-point input is computed as before; integer input
        with one rounding of each weight in place of one of each pixel, so its last bits differ.

        Returns
        -------
        Sequential

        Examples
        --------
        >>> import numpy as np
        >>> net = Sequential((Pixels(np.asarray(255.0)), Linear(np.ones((3, 2)))))
        >>> net.folded()(np.asarray([0, 51, 204], dtype=np.uint8))
        array([1., 1.])
        """
        layers: list[Layer] = []
        for layer in self.layers:
            before = layers[-1] if layers else None
            if isinstance(before, Pixels) and isinstance(layer, Linear) and layer.integer_weight is None:
                with backend_of(layer.weight).unwatched(layer.weight):
                    scaled = layer.weight / before.largest
                layers[-1] = dataclasses.replace(layer, integer_weight=scaled, largest=before.largest)
            else:
                layers.append(layer)
        return Sequential(tuple(layers))

    @functools.cached_property
    def rowwise(self) -> bool:
        """Whether all layers are known to take each row for itself; of what the user wrote nothing is known."""
        return type(self) is Sequential and all(
            layer.rowwise
            if isinstance(layer, Sequential)
            else type(layer) in (Linear, Flatten, Pixels) or any(layer is f for f in activations.ACTIVATIONS.values())
            for layer in self.layers
        )

    @property
    def xp(self) -> Namespace | None:
        """The namespace of the network's arrays; None where it has none."""
        return backends.array_namespace(*self.arrays)

    @property
    def backend(self) -> Backend | None:
        """The backend and the device of the network's arrays; None where it has none."""
        arrays = self.arrays
        return backend_of(arrays[0], device=True) if arrays else None

    @property
    def dtype(self) -> DType | None:
        """The dtype of the network's arrays, in its library's words; None where it has none."""
        arrays = self.arrays
        return arrays[0].dtype if arrays else None

    def to(self, backend: str | Backend | None = None, *, dtype: str | None = None) -> Sequential:
        """Return the same network with its arrays elsewhere.

        Parameters
        ----------
        backend : str, Backend or None
            Where to, such as ``"cupy"``, ``"torch:cuda:1"`` or ``"jax:cpu"``; None is where it is.
        dtype : str or None
            Another floating-point type for all its arrays, such as ``"float64"``; None keeps theirs.

        Returns
        -------
        Sequential

        Raises
        ------
        BackendError
            If the backend cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> net = Sequential((Linear(np.ones((3, 2), dtype=np.float32)),))
        >>> net.to("numpy", dtype="float64").dtype
        dtype('float64')
        """
        place = (self.backend or backends.get_backend()) if backend is None else backends.resolve(backend)
        return self.map(lambda x: backends.asarray(x, dtype=dtype, backend=place))

    @functools.cached_property
    def last(self) -> Layer | None:
        """The last layer; None where there is none."""
        return next(reversed(tuple(self.flat())), None)

    @functools.cached_property
    def outputs(self) -> int | None:
        """The number of outputs for one sample; None where a layer that the user wrote alone knows."""
        rows = self.summary()
        shape = rows[-1].output if rows else None
        return shape[-1] if shape else None

    @functools.cached_property
    def largest_pixel(self) -> Array | None:
        """The number that integer input is divided by, an array of shape (); None where it is taken as it is."""
        layers = (x for x in self.flat() if isinstance(x, (Pixels, Linear)))
        return next((x.largest for x in layers), None)

    # -- The call ------------------------------------------------------------------------------------

    @functools.cached_property
    def sample_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes that one sample may have: those of the first layer that asks for any; else empty."""
        for layer in self.layers:
            if hasattr(layer, "sample_shapes"):
                return layer.sample_shapes
            if not _keeps_width(layer):
                break  # what it takes, it alone knows
        return ()

    def is_batch(self, x: Array) -> bool:
        """Return whether `x` is a batch rather than one sample, or raise `ShapeError` where it is neither."""
        shape, shapes = tuple(x.shape), self.sample_shapes
        if not shapes:
            return len(shape) > 1
        if shape[1:] in shapes:  # before the other: a sample with an axis of one channel is a batch of one as well
            return True
        if shape in shapes:
            return False
        wanted = " or ".join(str(s) for sample in shapes for s in (f"(n, {str(sample)[1:-1].rstrip(',')})", sample))
        raise ShapeError(f"the network takes shape {wanted}; found {shape}")

    def __call__(self, x: Array) -> Array:
        """Return the network's output for one sample or a batch.

        Parameters
        ----------
        x : array, real
            Of the network's library, on its device: one sample, or a batch with one more axis in front.

        Returns
        -------
        array
            Shape (out_features,) or (n, out_features), of the same library.

        Raises
        ------
        BackendError
            If `x` belongs to another library or lives on another device.
        DataError
            If `x` is no array of numbers.
        ShapeError
            If the shape is neither that of a sample nor of a batch.
        """
        backend = backend_of(x, device=True)
        dtype_of(x)
        self.is_batch(x)
        arrays, here = self.arrays, backend.device
        if arrays:
            backends.array_namespace(arrays[0], x)
            there = backend.device_of(arrays[0])
            if here and there and here != there:
                raise BackendError(
                    f"the network is on {backend.name}:{there}, the input on {backend.name}:{here}; move one: "
                    f"net.to('{backend.name}:{here}') or anyback.asarray(x, backend='{backend.name}:{there}')"
                )
        with backends.scope(backend):
            return self.forward(x)

    def forward(self, x: Array) -> Array:
        """Return the output without the checks at the door: for tiles, which were checked as a whole."""
        for layer in self.layers:
            x = layer.forward(x) if isinstance(layer, Sequential) else layer(x)
        return x

    # -- To look at ----------------------------------------------------------------------------------

    def flat(self) -> Iterator[Any]:
        """Yield the layers, first to last; those of networks inside one by one."""
        for layer in self.layers:
            if isinstance(layer, Sequential):
                yield from layer.flat()
            else:
                yield layer

    def summary(self) -> tuple[Summary, ...]:
        """Return what each layer makes of one sample; the layers of networks inside come one by one.

        Returns
        -------
        tuple of Summary

        Examples
        --------
        >>> import numpy as np
        >>> Sequential((Linear(np.ones((3, 2)), np.zeros(2)),)).summary()
        (Summary(name='Linear', input=(3,), output=(2,), parameters=8, multiply_adds=6),)
        """
        rows: list[Summary] = []
        shape = self.sample_shapes[-1] if self.sample_shapes else None
        for layer in self.flat():
            if shape is None and hasattr(layer, "sample_shapes"):  # after a function that may change the shape
                shape = layer.sample_shapes[-1]
            rows.append(_summed_up(layer, shape))
            shape = rows[-1].output
        return tuple(rows)

    def _title(self) -> str:
        backend = self.backend
        return f"Sequential on {backend}, {backends.dtype_name(self.dtype)}" if backend else "Sequential"

    def _table(self) -> Table:
        """Return the table of layers, the sums in the last row."""
        rows = self.summary()
        total = Summary("total", None, None, sum(r.parameters for r in rows), sum(r.multiply_adds for r in rows))
        header = ("layer", "input", "output", "parameters", "multiply-adds")
        return Table(header, [row.cells() for row in (*rows, total)], self._title())

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()


@dataclass(frozen=True)
class Summary:
    """What a layer makes of one sample.

    Parameters
    ----------
    name : str
        The layer.
    input, output : tuple of int or None
        Shapes of one sample; None where they are not known.
    parameters : int
        Numbers that were trained.
    multiply_adds : int
        Products that are added up.
    """

    name: str
    input: tuple[int, ...] | None
    output: tuple[int, ...] | None
    parameters: int
    multiply_adds: int

    def cells(self) -> tuple[str, ...]:
        """Return the fields in words, blank where there is nothing to say."""
        shapes = ["×".join(map(str, shape)) if shape else "" for shape in (self.input, self.output)]
        return (self.name, *shapes, *(f"{count:,}" if count else "" for count in (self.parameters, self.multiply_adds)))


def _summed_up(layer: Any, shape: tuple[int, ...] | None) -> Summary:
    """Return what is known of a layer that is given a sample of `shape`."""
    name = str(getattr(layer, "__name__", type(layer).__name__))
    # The largest pixel value is an array, but nobody trained it; nor the weight that it was folded into.
    fields = {} if isinstance(layer, Pixels) else _array_fields(layer)
    if isinstance(layer, Linear) and layer.integer_weight is not None:
        fields = {key: fields[key] for key in ("weight", "bias") if key in fields}
        name += ", integers scaled"
    parameters = sum(math.prod(x.shape) for x in fields.values())
    if shape is None or (_keeps_width(layer) and not hasattr(layer, "output_shape")):
        return Summary(name, shape, shape, parameters, 0)
    output = layer.output_shape(shape) if hasattr(layer, "output_shape") else None
    products = layer.multiply_adds(shape) if hasattr(layer, "multiply_adds") else 0
    return Summary(name, shape, output, parameters, products)


def checked_network(net: Any) -> Sequential:
    """Return `net`, or raise an error where it is no network, or one that gives the same whatever it is given."""
    if not isinstance(net, Sequential):
        raise AnybackError(f"expected a network, found {type(net).__name__}; load one with anyback.load_model(...)")
    check_softmax(net.last, net.outputs)
    return net


def check_softmax(last: Layer | None, outputs: int | None) -> None:
    """Raise `DataError` where the last layer is a softmax of one output, which is always 1."""
    if outputs == 1 and any(last is f for f in (activations.softmax, activations.log_softmax)):
        raise DataError(
            "a softmax of one output is always 1, whatever the input; two classes from one output take "
            "output='sigmoid', a number takes output='identity'"
        )


def _keeps_width(layer: Any) -> bool:
    """Return whether a layer is known to give as many features as it takes."""
    return isinstance(layer, (Flatten, Pixels)) or any(layer is f for f in activations.ACTIVATIONS.values())


def _array_fields(layer: Any) -> dict[str, Array]:
    if not dataclasses.is_dataclass(layer):
        return {}
    values = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)}
    return {name: value for name, value in values.items() if is_array_api_obj(value)}


def _arrays_of(layer: Any) -> tuple[Array, ...]:
    return layer.arrays if isinstance(layer, Sequential) else tuple(_array_fields(layer).values())


def _map_layer(function: Callable[[Array], Array], layer: Any) -> Any:
    if isinstance(layer, Sequential):
        return layer.map(function)
    changed = {name: function(value) for name, value in _array_fields(layer).items()}
    return dataclasses.replace(layer, **changed) if changed else layer
