"""Ops that give the numbers of each row another shape or order."""

from __future__ import annotations

import functools
import math
from typing import TypeAlias

from anyback._typing import Array
from anyback.backends import array_namespace
from anyback.errors import ShapeError
from anyback.ops._casts import KEEP
from anyback.ops._op import op
from anyback.plan import Rows, Shape

__all__ = ["flatten", "permute", "pick", "reshape"]

#: A number of a place along an axis, from 0 on.
Place: TypeAlias = int

_shaped = functools.partial(op, rows=Rows.ALONE, casts=KEEP)


def _flat_shape(x: Shape | None, *, shape: Shape | None = None) -> Shape | None:
    if x == ():
        raise ShapeError("flatten expected shape (n, ...), found ()")
    if x is not None and shape is not None and math.prod(x[1:]) != math.prod(shape):
        raise ShapeError(f"flatten expected rows of shape {shape}, found {tuple(x)}")
    return None if x is None else (x[0], math.prod(x[1:]))


def _may_be_flat(*, shape: Shape | None = None) -> tuple[Shape, ...]:
    return () if shape is None else ((1, *shape), (math.prod(shape),), shape)


@_shaped(_flat_shape, takes=_may_be_flat)
def flatten(x: Array, *, shape: Shape | None = None) -> Array:
    """Return each row with all its numbers along one axis.

    Parameters
    ----------
    x : array
        Shape (n, ...).
    shape : tuple of int or None
        The shape of a row; a row may also have an axis of one channel before it, or be flat. None is any shape.

    Returns
    -------
    array
        Shape (n, size).

    Examples
    --------
    >>> import numpy as np
    >>> flatten(np.zeros((5, 3, 4))).shape
    (5, 12)
    """
    return x if x.ndim == 2 else array_namespace(x).reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def _permuted(x: Shape | None, *, axes: Shape) -> Shape | None:
    if x is None:
        return None
    if len(x) != len(axes) + 1:
        raise ShapeError(f"permute expected rows of {len(axes)} axes, found {tuple(x)}")
    return (x[0], *[x[axis] for axis in axes])


def _any_sizes(*, axes: Shape) -> tuple[tuple[None, ...], ...]:
    return ((None,) * len(axes),)


@_shaped(_permuted, takes=_any_sizes)
def permute(x: Array, *, axes: Shape) -> Array:
    """Return each row with its axes in another order.

    Parameters
    ----------
    x : array
        Shape (n, ...).
    axes : tuple of int
        For each axis of the result behind the batch, the number of that axis in `x`; the first behind the batch is 1.

    Returns
    -------
    array
        Shape (n, ...): the sizes of `x` in the new order.

    Raises
    ------
    ShapeError
        If a row has more or fewer axes than `axes` has numbers.

    Examples
    --------
    Images whose channels come last, with them first:

    >>> import numpy as np
    >>> permute(np.zeros((5, 28, 30, 3)), axes=(3, 1, 2)).shape
    (5, 3, 28, 30)
    """
    return array_namespace(x).permute_dims(x, (0, *axes))


def _samples(*, shape: Shape) -> tuple[Shape, ...]:
    """Return the shapes that a sample may have to become `shape`: flat, without an axis of one channel, and `shape`."""
    flat, bare = (math.prod(shape),), shape[1:]
    return tuple(dict.fromkeys((flat, bare, shape) if shape[0] == 1 and bare else (flat, shape)))


def _new_shape(x: Shape | None, *, shape: Shape) -> Shape | None:
    if x is None:
        return None
    if math.prod(x[1:]) != math.prod(shape):
        raise ShapeError(f"reshape expected rows of {math.prod(shape)} numbers, shape {shape}, found {tuple(x)}")
    return (x[0], *shape)


@_shaped(_new_shape, takes=_samples)
def reshape(x: Array, *, shape: Shape) -> Array:
    """Return each row in another shape.

    Parameters
    ----------
    x : array
        Shape (n, ...), with as many numbers in a row as `shape` has.
    shape : tuple of int
        Shape of one row.

    Returns
    -------
    array
        Shape (n, *shape).

    Raises
    ------
    ShapeError
        If a row has more or fewer numbers than `shape`.

    Examples
    --------
    >>> import numpy as np
    >>> reshape(np.zeros((5, 12)), shape=(3, 4)).shape
    (5, 3, 4)
    """
    return x if tuple(x.shape[1:]) == shape else array_namespace(x).reshape(x, (x.shape[0], *shape))


def _without(x: Shape | None, *, axis: int, index: Place) -> Shape | None:
    if x is None:
        return None
    if not 0 < axis < len(x) or not 0 <= index < x[axis]:
        raise ShapeError(f"pick expected an axis {axis} behind the rows, of a size above {index}, found {tuple(x)}")
    return (*x[:axis], *x[axis + 1 :])


@_shaped(_without)
def pick(x: Array, *, axis: int, index: Place) -> Array:
    """Return what lies at one place of an axis, without that axis.

    Parameters
    ----------
    x : array
        Shape (n, ...).
    axis : int
        The number of the axis; the first behind the batch is 1.
    index : int
        The place, from 0 on.

    Returns
    -------
    array
        Shape of `x` without that axis.

    Raises
    ------
    ShapeError
        If there is no such axis or place.

    Examples
    --------
    >>> import numpy as np
    >>> pick(np.asarray([[[1, 2], [3, 4]]]), axis=2, index=1)
    array([[2, 4]])
    """
    return x[(*(slice(None),) * axis, index, ...)]
