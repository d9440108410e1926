"""Layers that multiply, shape and scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anyback._typing import Array
from anyback.errors import ShapeError
from anyback.layers._base import LayerBase, check_array, check_weight, sample_shape
from anyback.layers._sequential import add_calls
from anyback.network import Builder
from anyback.ops import OPS

__all__ = ["Dropout", "Flatten", "Linear", "Permute", "Pixels", "Reshape", "Residual", "Scale"]


@dataclass(frozen=True, eq=False)
class Linear(LayerBase):
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
        If the weight is not floating-point.
    ShapeError
        If the weight does not have two axes, or the bias does not have shape (out_features,).

    Examples
    --------
    >>> import numpy as np
    >>> Linear(np.ones((3, 2)), np.zeros(2))(np.ones(3))
    array([3., 3.])
    """

    weight: Array
    bias: Array | None = None

    def __post_init__(self) -> None:
        check_weight(self.weight, "(in_features, out_features)", 2)
        check_array("bias", self.bias, (self.weight.shape[1],), self.weight)

    def calls(self, given: int, into: Builder) -> int:
        """Call `linear`."""
        return into.call(OPS["linear"], given, into.array(self.weight), into.array(self.bias))


@dataclass(frozen=True)
class Flatten(LayerBase):
    """Put all numbers of each sample along one axis: (n, *shape) to (n, size).

    Parameters
    ----------
    shape : tuple of int or None
        Shape of one sample, such as (28, 28). Samples with an axis of one channel before it, (n, 1, height, width), as
        PyTorch and the book's ``load_mnist`` give them, and flat samples are taken too. None takes any shape.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten((28, 28))(np.zeros((5, 28, 28))).shape
    (5, 784)
    """

    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, "shape", sample_shape(self.shape))

    def calls(self, given: int, into: Builder) -> int:
        """Call `flatten`."""
        return into.call(OPS["flatten"], given, shape=self.shape)


@dataclass(frozen=True)
class Reshape(LayerBase):
    """Give each sample another shape of as many numbers: (n, ...) to (n, *shape).

    Behind other layers, samples of any shape are taken. As the first layer it says what the network takes: samples that
    are flat or have this shape, images without the axis of their one channel, and for a `shape` of one axis samples of
    any shape. Put `Flatten` before it to take samples of any shape.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample, such as (1, 28, 28).

    Raises
    ------
    ShapeError
        If a sample has another number of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> Reshape((1, 28, 28))(np.zeros((5, 784))).shape
    (5, 1, 28, 28)
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", sample_shape(self.shape))

    def calls(self, given: int, into: Builder) -> int:
        """Call `reshape`."""
        return into.call(OPS["reshape"], given, shape=self.shape)


@dataclass(frozen=True)
class Permute(LayerBase):
    """Put the axes of each sample in another order, for example the channels first: (n, ...) to (n, ...).

    Parameters
    ----------
    axes : tuple of int
        For each axis of the result behind the batch, the number of that axis in the input: the first behind the batch
        is 1, and each number comes once.

    Raises
    ------
    ShapeError
        If `axes` is not each number from 1 to its length once.

    Examples
    --------
    >>> import numpy as np
    >>> Permute((3, 1, 2))(np.zeros((5, 28, 30, 3))).shape
    (5, 3, 28, 30)
    """

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", sample_shape(self.axes))
        if sorted(self.axes) != list(range(1, len(self.axes) + 1)):
            raise ShapeError(f"axes: expected each number from 1 to {len(self.axes)} once, found {self.axes}")

    def calls(self, given: int, into: Builder) -> int:
        """Call `permute`."""
        return into.call(OPS["permute"], given, axes=self.axes)


@dataclass(frozen=True, eq=False)
class Pixels(LayerBase):
    """Divide integer input by the largest pixel value; floating-point input passes as it is, booleans as 0 and 1.

    So images of bytes, images that are already scaled to [0, 1], and booleans (True is full ink) give the same answer.
    The dtype decides, never the values.

    Parameters
    ----------
    largest : array, floating-point
        Shape (): the largest pixel value, such as 255. Integers are cast to its dtype.

    Examples
    --------
    >>> import numpy as np
    >>> scale = Pixels(np.asarray(255.0, dtype=np.float32))
    >>> scale(np.asarray([[0, 51, 255]], dtype=np.uint8))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    largest: Array

    def __post_init__(self) -> None:
        check_weight(self.largest, "()", 0, name="largest")

    def calls(self, given: int, into: Builder) -> int:
        """Call `pixels`."""
        return into.call(OPS["pixels"], given, into.array(self.largest))


@dataclass(frozen=True)
class Scale(LayerBase):
    """Multiply every number by a factor, as dropout does at inference in networks that did not scale in training.

    Parameters
    ----------
    factor : float
        The factor of every number.

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
class Dropout(LayerBase):
    """Dropout at inference: it returns its input unchanged.

    A network whose training did not divide by ``1 - ratio``, such as the book's, needs ``Scale(1 - ratio)`` instead.

    Parameters
    ----------
    ratio : float
        The share of numbers that was dropped in training; it changes nothing at inference.

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
class Residual(LayerBase):
    """The sum of two branches of one input, ``branch(x) + shortcut(x)``: both have the shape of the result.

    Parameters
    ----------
    branch : layer
        Any layer, such as a `Sequential`.
    shortcut : layer or None
        The other branch; None adds the input itself.

    Examples
    --------
    >>> import numpy as np
    >>> Residual(Linear(np.eye(2)))(np.asarray([[1.0, 3.0]]))
    array([[2., 6.]])
    """

    branch: Any
    shortcut: Any = None

    def calls(self, given: int, into: Builder) -> int:
        """Call `add` on the results of the two branches."""
        found = add_calls(self.branch, given, into)
        return into.call(OPS["add"], found, given if self.shortcut is None else add_calls(self.shortcut, given, into))
